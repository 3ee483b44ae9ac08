"""What the discriminators of the training make of samples: their scores, and sources that are changed for them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from transgan.api.protocols import DiscriminatorOutput, Translation
from transgan.graph import Key
from transgan.networks import Networks
from transgan.plan.plan import DiscriminatorUse

#: How far a source is changed for discriminators, 2/255 of the range of samples; and in how many steps.
RADIUS, STEPS = 4 / 255, 10


def adversaries(networks: Networks, translation: Translation) -> list[DiscriminatorUse]:
    """Return the discriminators that a translation's fakes are to be real for, as far as they are there."""
    uses = networks.plan.discriminators.get(translation, [])
    return [use for use in uses if use.network in networks and use.fake == "fake" and use.real != "source"]


def adversarial_source(
    networks: Networks,
    inputs: Mapping[Key, Any],
    translation: Translation,
    uses: Sequence[DiscriminatorUse],
    most: int,
) -> Tensor:
    """Return the first sources of a batch, changed so little that nothing is to be seen, for discriminators a lot.

    Projected gradient ascent (Madry et al., 2018) with steps of RADIUS / 4, within RADIUS of the source (maximum norm),
    on the sum of the discriminators' mean logits and, where they have a class head, the target's log-probability.
    """

    def first(value: Any) -> Any:
        return value[:most] if isinstance(value, Tensor) else value

    source: Tensor = first(inputs[translation, "source"])
    known = (_discriminator_conditions(networks, inputs, translation, use) for use in uses)
    conditions = {name: first(value) for each in known for name, value in each.items()}
    values = {"target_domain": first(inputs[translation, "target_domain"])}
    low = torch.minimum(source, (source - RADIUS).clamp(min=-1))
    high = torch.maximum(source, (source + RADIUS).clamp(max=1))
    beside = {name: first(_given(networks, inputs, translation, name)) for use in uses for name in use.given}
    x = source
    for _ in range(STEPS):
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            score = torch.zeros((), device=x.device)
            for use in uses:
                seen = torch.cat([*(beside[name] for name in use.given), x], 1)
                output: DiscriminatorOutput = networks(use.network, seen, conditions, full_precision=True)
                for logits in output.logits:
                    score = score + logits.flatten(1).mean(1).sum()
                if output.class_logits is not None:
                    target = values["target_domain"][:, None]
                    score = score + output.class_logits.log_softmax(1).gather(1, target).sum()
            (gradient,) = torch.autograd.grad(score, x)
        x = torch.minimum(torch.maximum(x.detach() + RADIUS / 4 * gradient.sign(), low), high)
    return x


def discriminator_scores(
    networks: Networks, inputs: Mapping[Key, Any], translation: Translation, use: DiscriminatorUse, x: Tensor
) -> Tensor:
    """Return a discriminator's mean logit of each sample of x (N, C, *space), (N,)."""
    seen = torch.cat([*(_given(networks, inputs, translation, name) for name in use.given), x], 1)
    conditions = _discriminator_conditions(networks, inputs, translation, use)
    output: DiscriminatorOutput = networks(use.network, seen, conditions, full_precision=True)
    return torch.stack([logits.flatten(1).mean(1) for logits in output.logits]).mean(0)


def _discriminator_conditions(
    networks: Networks, inputs: Mapping[Key, Any], translation: Translation, use: DiscriminatorUse
) -> dict[str, Tensor]:
    """Return what a discriminator is conditioned on beside the target; what is not known here: zeros."""
    conditions = {name: inputs[translation, each] for name, each in (("task", "task"), ("domain", "target_domain"))}
    conditions |= {"origin": inputs[translation, "source_domain"], **inputs[translation, "target_attributes"]}
    source: Tensor = inputs[translation, "source"]
    for name, length in networks.plan.networks[use.network].spec.attributes.items():
        conditions.setdefault(name, source.new_zeros(len(source), length))
    return conditions


def _given(networks: Networks, inputs: Mapping[Key, Any], translation: Translation, name: str) -> Tensor:
    """Return what a discriminator gets beside its input."""
    found: Tensor = networks.compute(inputs, translation, [name])[name]
    return found
