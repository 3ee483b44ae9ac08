"""Augmentation of discriminator inputs: equal for real and fake, in both phases; and its adaptive probability."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from transgan import storage
from transgan.api import Augmentation, Clock, Register, SampleRng, hookimpl
from transgan.errors import RecipeError
from transgan.rng import CounterRng

SHIFT = """
[train]
steps = 4
batch = 4
[tasks.age]
from = "young"
to = "old"
paired = true
[generators]
g = { use = "resnet", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", per = "run", given = "source", width = 4, layers = 1, augment = ["lighter", "rolled"] }
[losses]
vanilla = 1.0
[[phases]]
side = "discriminator"
[[phases]]
side = "generator"
"""


class Lighter(Augmentation):
    """Raises all values by a random amount."""

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        return x + rng.uniform("by").to(x)[:, None, None, None]


class Rolled(Augmentation):
    """Rolls sideways by a random distance."""

    geometric = True

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        by = (rng.uniform("by") * x.shape[-1]).long().tolist()
        return torch.stack([each.roll(n, -1) for each, n in zip(x, by, strict=True)])


class Plugin:
    @hookimpl
    def register_augmentations(self, register: Register) -> None:
        register("lighter", Lighter)
        register("rolled", Rolled)


@pytest.fixture
def batch_inputs(random_samples: Any, micro_batches: Any) -> Callable[..., list[dict[Any, Any]]]:
    """`batch_inputs(plan, step)`: the micro-batches of a step."""

    def build(plan: Any, step: int) -> list[dict[Any, Any]]:
        return list(micro_batches(plan, random_samples(plan, step), plan.recipe.train.accumulate, Clock(step=step)))

    return build


@pytest.mark.parametrize("count", [1, 2])
def test_real_and_fake_are_augmented_alike_and_geometric_changes_apply_to_given_too(
    planned: Any, double_engine: Any, random_samples: Any, batch_inputs: Any, assert_same_weights: Any, count: int
) -> None:
    plan = planned(SHIFT, Plugin(), (f"train.accumulate={count}",))
    engine, copies = double_engine(plan)
    g, d = copies["g"].network, copies["d"].network
    og, od = (torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (g, d))
    for step in range(3):
        engine.train_step(batch_inputs(plan, step), Clock(step=step))
        source, target = random_samples(plan, step)["age", "young"], random_samples(plan, step)["age", "old"]
        rng = CounterRng(7, np.full(4, step), np.arange(4), dtype=torch.float64)

        def augmented(x: Tensor, phase: int, source: Tensor = source, rng: Any = rng) -> Tensor:
            x = x + rng.uniform(f"d|{phase}|lighter|by")[:, None, None, None]
            by = (rng.uniform(f"d|{phase}|rolled|by") * 16).long().tolist()
            pairs = torch.cat([source, x], 1)
            return torch.stack([pair.roll(n, -1) for pair, n in zip(pairs, by, strict=True)])

        fake = g(source)
        real_logits, fake_logits = d(augmented(target, 0)).logits[0], d(augmented(fake.detach(), 0)).logits[0]
        od.zero_grad()
        (0.5 * (F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean())).backward()
        od.step()
        og.zero_grad()
        F.softplus(-d(augmented(fake, 1)).logits[0]).mean().backward()
        og.step()
    assert_same_weights(engine, copies)


ADAPT = """
[train]
steps = 8
batch = 4
log_every = 1
checkpoint_every = 4
sample_every = 8
[generators]
g = { use = "resnet", per = "direction", width = 4, blocks = 1, norm = "group" }
[discriminators.d]
use = "patch"
width = 4
layers = 1
norm = "group"
history = 3
augment = ["colour", "translation", "cutout", "noise"]
adapt = { samples = 40, target = 0.1, most = 0.9 }
[losses]
vanilla = 1.0
cycle = 10.0
"""


def test_probabilities_follow_the_signs_of_the_logits_of_real_samples(
    planned: Any, double_engine: Any, batch_inputs: Any
) -> None:
    plan = planned(ADAPT)
    engine, _ = double_engine(plan)
    observed: dict[str, list[Tensor]] = {"d.old": [], "d.young": []}
    observe = engine.objective.augmenter.observe

    def record(use: Any, real: Any) -> None:
        observed[use.network].append(real.logits[0].detach())
        observe(use, real)

    engine.objective.augmenter.observe = record
    probabilities = dict.fromkeys(observed, 0.0)
    rises: list[bool] = []
    for step in range(12):
        assert {name: float(value) for name, value in engine.objective.augmenter.figures().items()} == (
            {f"augment/{name}": pytest.approx(value) for name, value in probabilities.items()} if step else {}
        )
        engine.train_step(batch_inputs(plan, step), Clock(step=step))
        if step % 4 == 3:
            for name, logits in observed.items():
                mean = float(torch.cat([each.sign().flatten() for each in logits]).mean())
                by = 4 * 4 / 40 if mean > 0.1 else -4 * 4 / 40
                probabilities[name] = min(0.9, max(0.0, probabilities[name] + by))
                rises.append(by > 0)
                logits.clear()
    assert set(rises) == {True, False}, "this has to test both directions"


def test_two_processes_and_a_resumed_run_adapt_to_the_same_probability(
    start_processes: Any, trained: Any, recipe_file: Any, assert_same_state: Any, tmp_path: Path
) -> None:
    recipe = recipe_file(ADAPT)
    rising = "discriminators.d.adapt.target=-0.99"  # a target that every discriminator is above
    whole = trained(recipe, tmp_path / "whole", rising)
    probability = whole.groups["loss_buffers"]["augment/d.old|share"]
    assert 0.5 < float(probability) <= 0.9
    codes = start_processes(2, "-m", "transgan", "run", recipe, "--set", rising, "--out", tmp_path / "two", "-q")
    assert [code for code, _ in codes] == [0, 0], codes
    two = storage.load(tmp_path / "two" / "checkpoints" / "step-00000008")
    # Where a gradient is nothing but rounding, Adam moves a weight by the learning rate either way.
    assert_same_state(whole, two, loss_buffers=0.0, networks=5e-4)
    last = tmp_path / "whole" / "checkpoints" / "step-00000008"
    for path in last.iterdir():
        path.unlink()
    last.rmdir()
    assert start_processes(1, "-m", "transgan", "resume", tmp_path / "whole", "-q")[0][0] == 0
    again = storage.load(last)
    for group, tensors in whole.groups.items():
        assert all(torch.equal(again.groups[group][name], tensor) for name, tensor in tensors.items()), group


def refused(planned: Any, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        planned(ADAPT, overrides=overrides)
    return str(caught.value)


def test_invalid_options_of_adapt_are_refused(planned: Any) -> None:
    assert "needs augment, the augmentations whose probability it adapts" in refused(
        planned, "discriminators.d.augment=[]"
    )
    assert "loss with a decision_logit, such as hinge, lsgan" in refused(planned, "losses={wasserstein=1.0}")
    assert "no augmentation 'color'. Did you mean 'colour'?" in refused(planned, 'discriminators.d.augment=["color"]')
    assert "from 0 to 1" in refused(planned, "augmentations.translation.share=2.0")


def test_augmentations_that_discriminators_name_are_written_to_the_recipe(planned: Any) -> None:
    plan = planned(ADAPT, overrides=("augmentations.cutout.share=0.25",))
    assert list(plan.recipe.augmentations) == ["cutout", "colour", "translation", "noise"]
    [use] = plan.discriminators[plan.translations[0]]
    assert [name for name, _ in use.augment] == ["colour", "translation", "cutout", "noise"]
    assert use.augment[2][1].options.share == 0.25
    assert plan.filled["augmentations", "translation"]["share"] == 0.125
