"""R3GAN's objective: parity with a loop after the authors' trainer, with everything that it schedules."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transgan_standard.losses import AdversarialOptions, Relativistic

from transgan.api import DiscriminatorOutput

R3GAN = """
train = { steps = 4, batch = 4 }
[tasks.age]
from = "young"
to = "old"
[optimizers.generator]
lr = { from = 2e-3, to = 5e-4, curve = "cosine" }
betas = [0.0, { from = 0.9, to = 0.99, curve = "cosine" }]
[optimizers.discriminator]
lr = { from = 2e-3, to = 5e-4, curve = "cosine" }
betas = [0.0, { from = 0.9, to = 0.99, curve = "cosine" }]
[generators.g]
use = "resnet"
width = 4
blocks = 1
[discriminators.d]
use = "patch"
width = 4
layers = 2
norm = "none"
[losses]
relativistic = 1.0
r1 = { weight = { from = 2.0, to = 0.2, curve = "cosine" } }
r2 = { weight = { from = 2.0, to = 0.2, curve = "cosine" } }
[[phases]]
side = "discriminator"
[[phases]]
side = "generator"
"""


def cosine(step: int, start: float, end: float) -> float:
    """Return a value of the authors' cosine schedule, of 4 steps."""
    return end + 0.5 * (start - end) * (1 + math.cos(math.pi * step / 4))


def penalty(x: Tensor, logits: Tensor) -> Tensor:
    """The authors' `ZeroCenteredGradientPenalty`; of a patch discriminator the mean logit."""
    (gradient,) = torch.autograd.grad(logits.mean((1, 2, 3)).sum(), x, create_graph=True)
    return gradient.square().sum([1, 2, 3])


def loop(by: Any, nets: Mapping[str, Any], steps: list[Mapping[Any, Tensor]]) -> None:
    """`AccumulateDiscriminatorGradients`, then `AccumulateGeneratorGradients` with the new discriminator."""
    g, d = nets["g"], nets["d.old"]
    optimizers = [torch.optim.Adam(each.parameters(), 2e-3, (0.0, 0.9)) for each in (g, d)]
    for step, samples in enumerate(steps):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"], group["betas"] = cosine(step, 2e-3, 5e-4), (0.0, cosine(step, 0.9, 0.99))
        gamma = cosine(step, 2.0, 0.2)
        made = g(samples["age", "young"])
        real, fake = (x.detach().requires_grad_() for x in (samples["age", "old"], made))
        on_real, on_fake = d(real).logits[0], d(fake).logits[0]
        penalties = penalty(real, on_real) + penalty(fake, on_fake)
        by.update(optimizers[1], F.softplus(-(on_real - on_fake)).mean() + (gamma / 2 * penalties).mean())
        on_fake, on_real = d(made).logits[0], d(samples["age", "old"]).logits[0]
        by.update(optimizers[0], F.softplus(-(on_fake - on_real)).mean())


def test_the_objective_matches_the_authors_loop(trains_like: Any, execution: tuple[str, ...]) -> None:
    trains_like(R3GAN, loop, execution)


def outputs(*levels: float, kept: Tensor | None = None) -> list[DiscriminatorOutput]:
    made = []
    for seed, level in enumerate(levels):
        generator = torch.Generator().manual_seed(seed)
        logits = level + torch.randn(3, 1, 2, 2, generator=generator, dtype=torch.float64)
        made.append(DiscriminatorOutput([logits], kept_logits=[] if kept is None else [logits.expand(-1, 2, -1, -1)]))
    return made


def test_what_is_added_to_all_logits_changes_nothing() -> None:
    loss = Relativistic(AdversarialOptions())
    low, high = outputs(0.0, 0.0), outputs(7.0, 7.0)
    torch.testing.assert_close(loss.for_discriminator(*low), loss.for_discriminator(*high))
    torch.testing.assert_close(loss.for_generator(*low), loss.for_generator(*high))


def test_equal_logits_cost_both_sides_the_logarithm_of_2() -> None:
    loss, (same,) = Relativistic(AdversarialOptions()), outputs(3.0)
    assert float(loss.for_discriminator(same, same)) == pytest.approx(math.log(2))
    assert float(loss.for_generator(same, same)) == pytest.approx(math.log(2))


def test_a_real_sample_is_compared_with_every_negative() -> None:
    loss = Relativistic(AdversarialOptions(negatives="other_domains"))
    real, fake, negative = outputs(0.0, 1.0, 2.0)
    expected = sum(F.softplus(-(real.logits[0] - x.logits[0])).mean() for x in (fake, negative))
    torch.testing.assert_close(loss.for_discriminator(real, fake, negative), expected)
