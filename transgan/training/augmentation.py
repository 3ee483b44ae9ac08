"""Augmentation of discriminator inputs (Zhao et al., 2020), with an adaptive probability where the recipe says so."""

import torch
from torch import Tensor

from transgan.api.protocols import Augmentation, DiscriminatorOutput
from transgan.api.samples import SampleRng
from transgan.errors import PluginFault
from transgan.graph import error_context
from transgan.plan.plan import DiscriminatorUse, Plan
from transgan.rng import ScopedRng
from transgan.schedule import Clock
from transgan.training.buffers import LossBuffers
from transgan.tree import changed_in_place, described, shape_of, versions

#: The probability is adapted every N steps, as in Karras et al. (2020).
EVERY = 4


class Augmenter:
    """Augments discriminator inputs, real and fake by the same random numbers.

    An augmentation applies to every sample, or with `adapt` to each with a probability that follows the sign statistic
    (Karras et al., 2020, section 3.1 and equation 1): a fixed amount up while the mean sign of the logits of real
    samples is above its target, and down while it is below. Logits count from the loss's decision logit.
    """

    def __init__(self, plan: Plan, loss_buffers: LossBuffers):
        self.plan = plan
        self.loss_buffers = loss_buffers
        self.adaptive = {use.network: use.adapt for uses in plan.discriminators.values() for use in uses if use.adapt}
        losses = {network: plan.adversarial_loss(network) for network in self.adaptive}
        self.decision_logit = {name: loss.decision_logit or 0.0 if loss else 0.0 for name, loss in losses.items()}

    def __call__(
        self, use: DiscriminatorUse, x: Tensor, given: int, rng: SampleRng, phase: str, clock: Clock
    ) -> Tensor:
        """Return a discriminator's input (N, C, *space), augmented.

        Args:
            given: how many of the first channels belong to `given`, what the discriminator sees beside the sample.
            phase: part of the random numbers' purpose.
        """
        beside, own = x[:, :given], x[:, given:]
        for name, augmentation in use.augment:
            scoped = ScopedRng(rng, f"{use.name}|{phase}|{name}")
            which = None
            if use.network in self.adaptive:
                which = scoped.uniform("whether").to(x) < self._probability(use.network, x)
            own = _where(which, _augmented(augmentation, own, scoped, clock), own)
            if given and augmentation.geometric:
                beside = _where(which, _augmented(augmentation, beside, scoped, clock), beside)
        return torch.cat([beside, own], 1) if given else own

    def observe(self, use: DiscriminatorUse, real: DiscriminatorOutput) -> None:
        """Count the signs of a discriminator's logits for real samples."""
        if use.network in self.adaptive:
            known = self.loss_buffers.of(f"augment/{use.network}")
            decision = self.decision_logit[use.network]
            signs = torch.cat([(each.detach() - decision).sign().flatten() for each in real.logits])
            new = {"signs": signs.sum(), "count": torch.full_like(signs[0], len(signs))}
            values = {key: value + known.get(key, 0) for key, value in new.items()}
            self.loss_buffers.record(f"augment/{use.network}", values)

    def adapt(self, clock: Clock) -> None:
        """End a step: adapt the probabilities where it is time."""
        for network, options in self.adaptive.items():
            known = self.loss_buffers.of(f"augment/{network}")
            if "signs" in known:
                probability = known.get("share", torch.zeros_like(known["signs"]))
                if (clock.step + 1) % EVERY == 0:
                    amount = EVERY * self.plan.stage_at(clock.step).batch / options.samples
                    sign = (known["signs"] - options.target * known["count"]).sign()
                    probability = (probability + amount * sign).clamp(0, options.most)
                    known = {key: torch.zeros_like(value) for key, value in known.items()}
                for key, value in {**known, "share": probability}.items():
                    self.loss_buffers.values[f"augment/{network}|{key}"] = value

    def figures(self) -> dict[str, Tensor]:
        """Return the adaptive probabilities, for the log."""
        known = {network: self.loss_buffers.of(f"augment/{network}") for network in self.adaptive}
        return {f"augment/{network}": each["share"] for network, each in known.items() if "share" in each}

    def _probability(self, network: str, like: Tensor) -> Tensor:
        return self.loss_buffers.of(f"augment/{network}").get("share", like.new_zeros(()))


def _augmented(augmentation: Augmentation, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
    """Return what an augmentation makes of samples.

    Raises:
        PluginFault: something else than samples of the same form.
    """
    before = versions({"x": x})
    with error_context(f"augmenting by '{type(augmentation).__name__}'", augmentation):
        y = augmentation(x, rng, clock)
    if wrong := changed_in_place({"x": x}, before):
        raise PluginFault(augmentation, wrong)
    if shape_of(y) != tuple(x.shape):
        raise PluginFault(augmentation, f"__call__ returned {described(y)}, expected a tensor {tuple(x.shape)}")
    return y


def _where(which: Tensor | None, changed: Tensor, x: Tensor) -> Tensor:
    """Return `changed` for the samples in `which` (N,), else x; `changed` for all where `which` is None."""
    return changed if which is None else torch.where(which.view(-1, *[1] * (x.ndim - 1)), changed, x)
