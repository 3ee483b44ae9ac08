"""Fixtures of the tests of published systems."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transgan.api import Clock
from transgan.rng import CounterRng


class ByHand:
    """What hand-written loops have in common."""

    @staticmethod
    def adam(*networks: nn.Module) -> torch.optim.Optimizer:
        """Return the optimizer of CycleGAN."""
        return torch.optim.Adam(chain(*(n.parameters() for n in networks)), 2e-4, (0.5, 0.999))

    @staticmethod
    def update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @staticmethod
    def square(logits: Tensor, target: float) -> Tensor:
        """Return the least-squares loss."""
        return F.mse_loss(logits, torch.full_like(logits, target))

    def distinguish(self, network: Any, real: Tensor, fake: Tensor) -> Tensor:
        """Return half of a discriminator's least-squares loss."""
        return 0.5 * (self.square(network(real).logits[0], 1) + self.square(network(fake.detach()).logits[0], 0))

    @staticmethod
    def normal(step: int, purpose: str, *shape: int) -> Tensor:
        """Return the random numbers of a step for a purpose, (4, *shape)."""
        return CounterRng(7, np.full(4, step), np.arange(4), dtype=torch.float64).normal(purpose, *shape)


@pytest.fixture
def by_hand() -> ByHand:
    """Helpers of hand-written loops."""
    return ByHand()


@pytest.fixture(params=[("always", 1), ("never", 2)], ids=lambda p: f"{p[0]}-{p[1]}")
def execution(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Overrides that must make no difference: merged or separate passes, whole batches or micro-batches."""
    return (f'train.merge="{request.param[0]}"', f"train.accumulate={request.param[1]}")


@pytest.fixture
def trains_like(
    planned: Any,
    double_engine: Any,
    random_samples: Any,
    micro_batches: Any,
    assert_same_weights: Any,
    by_hand: ByHand,
) -> Callable[..., None]:
    """`trains_like(recipe, loop, overrides, unused)`: engine and loop train the same weights in three steps.

    The loop gets `by_hand`, the networks with their conditionings, and samples; `unused` names networks that no loss
    reaches.
    """

    def match(recipe: str, loop: Callable[..., None], overrides: tuple[str, ...], unused: Sequence[str] = ()) -> None:
        plan = planned(recipe, overrides=overrides)
        engine, copies = double_engine(plan)
        start = {name: [p.detach().clone() for p in each.parameters()] for name, each in copies.items()}
        samples = [random_samples(plan, step) for step in range(3)]
        for step, each in enumerate(samples):
            clock = Clock(step=step, run=step / plan.recipe.train.steps)
            engine.train_step(micro_batches(plan, each, plan.recipe.train.accumulate, clock), clock)
        loop(by_hand, copies, samples)
        for name, network in engine.networks.items():
            changed = max(
                float((p.detach() - q).abs().max()) for p, q in zip(network.parameters(), start[name], strict=True)
            )
            assert (changed > 1e-4) != (name in unused), name
        assert_same_weights(engine, copies)

    return match
