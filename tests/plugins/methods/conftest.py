"""Fixtures of the tests of published systems."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from transgan.api import Clock


@pytest.fixture(params=[("always", 1), ("never", 2)], ids=lambda p: f"{p[0]}-{p[1]}")
def execution(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Overrides that must make no difference: merged or separate passes, whole batches or micro-batches."""
    return (f'train.merge="{request.param[0]}"', f"train.accumulate={request.param[1]}")


@pytest.fixture
def trains_like(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any, assert_same_weights: Any
) -> Callable[..., None]:
    """`trains_like(recipe, loop, overrides, unused)`: engine and loop train the same weights in three steps.

    The loop gets the networks with their conditionings; `unused` names those that no loss reaches.
    """

    def match(recipe: str, loop: Callable[..., None], overrides: tuple[str, ...], unused: Sequence[str] = ()) -> None:
        plan = planned(recipe, overrides=overrides)
        engine, copies = double_engine(plan)
        start = {name: [p.detach().clone() for p in each.parameters()] for name, each in copies.items()}
        samples = [random_samples(plan, step) for step in range(3)]
        for step, each in enumerate(samples):
            clock = Clock(step=step, run=step / plan.recipe.train.steps)
            engine.train_step(micro_batches(plan, each, plan.recipe.train.accumulate, clock), clock)
        loop(copies, samples)
        for name, network in engine.networks.items():
            changed = max(
                float((p.detach() - q).abs().max()) for p, q in zip(network.parameters(), start[name], strict=True)
            )
            assert (changed > 1e-4) != (name in unused), name
        assert_same_weights(engine, copies)

    return match
