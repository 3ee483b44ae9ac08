"""Training steps of a voice recipe against explicit computation: masks, discriminators, learning rates, identity."""

import copy
import inspect
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transgan_voice.nodes import VoiceTranslationNodes, VoiceTranslationOptions

from transgan.api import Clock, Translation
from transgan.data.inputs import Side, assemble_inputs, domain_index
from transgan.plan import Plan
from transgan.rng import CounterRng
from transgan.training.engine import Engine

RECIPE = """
[data]
source = "synthetic_voices"
media = { use = "voice", bands = 16 }
size = 16
[domains]
anna = "low"
bert = "high"
[tasks.voice]
between = ["anna", "bert"]
[train]
steps = 4
batch = 3
[optimizers]
generator.lr = { from = 2e-4, to = 0.0, between = [1, 3] }
discriminator.lr = { from = 1e-4, to = 0.0, between = [0.0, 1.0] }
[nodes]
use = "voice_translation"
longest_gap = 8
[generators.g]
use = "gated_2_1_2d"
per = "translation"
width = 2
blocks = 1
mask = true
[discriminators.first]
use = "gated_patch"
width = 2
layers = 1
[discriminators.second]
use = "gated_patch"
width = 2
layers = 1
real = "source"
fake = "reconstruction"
[losses]
lsgan = 1.0
cycle = 10.0
identity = { from = 5.0, curve = "steps", at = [2], values = [0.0] }
"""
ENDS = {"anna": "bert", "bert": "anna"}


def samples_of(step: int) -> tuple[dict[str, Tensor], dict[str, CounterRng]]:
    """Return the samples and the random numbers of a step, by domain."""
    generator = torch.Generator().manual_seed(step)
    x = {name: torch.randn(3, 16, 16, generator=generator, dtype=torch.float64) for name in ENDS}
    index = np.arange(3) + 3 * step
    rng = {name: CounterRng((7, name), np.zeros(3), index, dtype=torch.float64) for name in ENDS}
    return x, rng


def batch_inputs(plan: Plan, step: int, clock: Clock) -> dict[Any, Any]:
    x, rng = samples_of(step)
    sides = {name: Side(x[name], domain_index(plan, name, 3, "cpu")) for name in ENDS}
    inputs: dict[Any, Any] = {}
    for t in plan.translations:
        inputs.update(assemble_inputs(plan, t, sides[t.source], sides[t.target], rng[t.source], clock, training=True))
    return inputs


def gap(rng: CounterRng, frames: int, longest: int) -> Tensor:
    """Return the mask, computed sample by sample."""
    uniform = rng.uniform("gap", 2)
    mask = torch.ones(len(uniform), 1, frames, dtype=torch.float64)
    for i, (first, second) in enumerate(uniform.tolist()):
        length = int(first * (longest + 1))
        start = int(second * (frames - length + 1))
        mask[i, :, start : start + length] = 0.0
    return mask


def square(logits: Tensor, target: float) -> Tensor:
    return F.mse_loss(logits, torch.full_like(logits, target))


@pytest.mark.parametrize("merge", ["always", "never"])
def test_steps_of_maskcyclegan_vc_equal_explicit_computation(planned: Callable[..., Plan], merge: str) -> None:
    plan = planned(RECIPE, overrides=(f'train.merge="{merge}"',))
    engine = Engine(plan)
    for network in engine.networks.values():
        network.double()
    twins: dict[str, Any] = {name: copy.deepcopy(network) for name, network in engine.networks.items()}
    for step in range(3):
        clock = Clock(step=step, run=step / 4)
        engine.train_step([batch_inputs(plan, step, clock)], clock)

    g = {(a, b): twins[f"g.{a}-{b}"].network for a, b in ENDS.items()}
    discriminators = {kind: {name: twins[f"{kind}.{name}"].network for name in ENDS} for kind in ("first", "second")}
    both = torch.optim.Adam(chain(*(n.parameters() for n in g.values())), betas=(0.5, 0.999))
    others = [n for each in discriminators.values() for n in each.values()]
    opposed = torch.optim.Adam(chain(*(n.parameters() for n in others)), betas=(0.5, 0.999))
    for step, (g_rate, d_rate, identity) in enumerate([(2e-4, 1e-4, 5), (2e-4, 0.75e-4, 5), (1e-4, 0.5e-4, 0)]):
        both.param_groups[0]["lr"], opposed.param_groups[0]["lr"] = g_rate, d_rate
        x, rng = samples_of(step)
        g_loss, d_loss = torch.zeros(()), torch.zeros(())
        for a, b in ENDS.items():
            mask = gap(rng[a], 16, 8)
            fake = g[a, b](x[a] * mask, mask=mask)
            back = g[b, a](fake)
            g_loss = g_loss + square(discriminators["first"][b](fake).logits[0], 1) + 10 * F.l1_loss(back, x[a])
            g_loss = g_loss + square(discriminators["second"][a](back).logits[0], 1)
            g_loss = g_loss + identity * F.l1_loss(g[a, b](x[b]), x[b])
            for discriminator, real, generated in (
                (discriminators["first"][b], x[b], fake),
                (discriminators["second"][a], x[a], back),
            ):
                d_loss = (
                    d_loss
                    + square(discriminator(real).logits[0], 1)
                    + square(discriminator(generated.detach()).logits[0], 0)
                )
        for optimizer, loss in ((both, g_loss), (opposed, 0.5 * d_loss)):
            optimizer.zero_grad()
            gradients = torch.autograd.grad(loss, optimizer.param_groups[0]["params"])
            for parameter, gradient in zip(optimizer.param_groups[0]["params"], gradients, strict=True):
                parameter.grad = gradient
        both.step()
        opposed.step()
    for name, network in engine.networks.items():
        for (key, ours), theirs in zip(network.state_dict().items(), twins[name].state_dict().values(), strict=True):
            assert torch.allclose(ours, theirs, atol=1e-9), f"{name}.{key}"


def test_gaps_have_random_lengths_within_bounds_and_only_in_training() -> None:
    nodes = VoiceTranslationNodes(VoiceTranslationOptions(longest_gap=5))
    rng = CounterRng(0, np.zeros(400), np.arange(400))
    x = torch.ones(400, 3, 12)
    mask = nodes.mask(x, rng, True)
    lengths = (1 - mask).sum(2).flatten()
    assert set(lengths.tolist()) == {0, 1, 2, 3, 4, 5}
    assert torch.equal((mask[:, 0].diff(dim=1) < 0).sum(1) <= 1, torch.ones(400, dtype=torch.bool))  # one gap
    assert float(mask[..., 0].mean()) < 1 and float(mask[..., -1].mean()) < 1  # at the ends too
    assert float(nodes.mask(x, rng, False).min()) == 1.0
    assert set(
        VoiceTranslationNodes(VoiceTranslationOptions(longest_gap=50)).mask(x, rng, True).sum(2).flatten().tolist()
    ) == set(range(13))


def test_a_discriminator_has_its_own_learning_rate(planned: Callable[..., Plan]) -> None:
    engine = Engine(planned(RECIPE))
    clock = Clock(step=2, run=0.5)
    assert engine.optimizers.learning_rates(clock)["generator"] == pytest.approx(1e-4)
    assert engine.optimizers.learning_rates(clock)["discriminator"] == pytest.approx(0.5e-4)


def test_a_generator_is_conditioned_on_both_speakers(planned: Callable[..., Plan]) -> None:
    plan = planned(RECIPE)
    there = Translation("voice", "anna", "bert")
    conditions: dict[str, Any] = {}
    values = batch_inputs(plan, 0, Clock())
    for name in ("fake", "reconstruction", "identity"):
        function = plan.graph.functions[name]
        zero, one = torch.zeros(3, dtype=torch.long), torch.ones(3, dtype=torch.long)
        x = values[there, "source"]
        nodes = plan.nodes
        target = nodes.to_target(zero, zero, one, {})  # type: ignore[attr-defined]
        source = nodes.to_source(zero, zero, one, {})  # type: ignore[attr-defined]
        arguments = {"source": x, "fake": x, "target": x, "mask": x[:, :1], "to_target": target, "to_source": source,
                     "target_domain": one}  # fmt: skip
        call = function(**{each: arguments[each] for each in inspect.signature(function).parameters})
        conditions[name] = (int(call.conditions["origin"][0]), int(call.conditions["domain"][0]))
    assert conditions == {"fake": (0, 1), "reconstruction": (1, 0), "identity": (1, 1)}
