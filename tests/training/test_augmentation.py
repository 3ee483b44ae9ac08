"""What discriminators see: both kinds under one draw, in both phases; and shares that follow the sign statistic."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

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
    """All numbers raised by chance."""

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        return x + rng.uniform("by").to(x)[:, None, None, None]


class Rolled(Augmentation):
    """Rolled sideways by chance."""

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
def batch_inputs(drawn: Any, in_parts: Any) -> Callable[..., list[dict[Any, Any]]]:
    """`batch_inputs(plan, step)`: a batch in parts."""

    def make(plan: Any, step: int) -> list[dict[Any, Any]]:
        return list(in_parts(plan, drawn(plan, step), plan.recipe.train.accumulate, Clock(step=step)))

    return make


@pytest.mark.parametrize("parts", [1, 2])
def test_both_kinds_are_shown_alike_and_what_is_beside_them_moves_with_them(
    planned: Any, in_double: Any, drawn: Any, batch_inputs: Any, as_by_hand: Any, parts: int
) -> None:
    plan = planned(SHIFT, Plugin(), (f"train.accumulate={parts}",))
    engine, nets = in_double(plan)
    g, d = nets["g"].network, nets["d"].network
    og, od = (torch.optim.Adam(n.parameters(), 2e-4, (0.5, 0.999)) for n in (g, d))
    for step in range(3):
        engine.play(batch_inputs(plan, step), Clock(step=step))
        source, target = drawn(plan, step)["age", "young"], drawn(plan, step)["age", "old"]
        chance = CounterRng(7, np.full(4, step), np.arange(4), dtype=torch.float64)

        def seen(x: Tensor, phase: int, source: Tensor = source, chance: Any = chance) -> Tensor:
            x = x + chance.uniform(f"d|{phase}|lighter|by")[:, None, None, None]
            by = (chance.uniform(f"d|{phase}|rolled|by") * 16).long().tolist()
            pairs = torch.cat([source, x], 1)
            return torch.stack([pair.roll(n, -1) for pair, n in zip(pairs, by, strict=True)])

        fake = g(source)
        real, judged = d(seen(target, 0)).logits[0], d(seen(fake.detach(), 0)).logits[0]
        od.zero_grad()
        (0.5 * (F.softplus(-real).mean() + F.softplus(judged).mean())).backward()
        od.step()
        og.zero_grad()
        F.softplus(-d(seen(fake, 1)).logits[0]).mean().backward()
        og.step()
    as_by_hand(engine, nets)


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


def test_shares_follow_the_signs_of_what_is_said_of_real_samples(
    planned: Any, in_double: Any, batch_inputs: Any
) -> None:
    plan = planned(ADAPT)
    engine, _ = in_double(plan)
    heard: dict[str, list[Tensor]] = {"d.old": [], "d.young": []}
    watch = engine.objective.augmenter.watch

    def listen(judge: Any, real: Any) -> None:
        heard[judge.network].append(real.logits[0].detach())
        watch(judge, real)

    engine.objective.augmenter.watch = listen  # type: ignore[method-assign]
    shares = dict.fromkeys(heard, 0.0)
    ups: list[bool] = []
    for step in range(12):
        assert {name: float(share) for name, share in engine.objective.augmenter.figures().items()} == (
            {f"augment/{name}": pytest.approx(share) for name, share in shares.items()} if step else {}
        )
        engine.play(batch_inputs(plan, step), Clock(step=step))
        if step % 4 == 3:
            for name, said in heard.items():
                mean = float(torch.cat([each.sign().flatten() for each in said]).mean())
                by = 4 * 4 / 40 if mean > 0.1 else -4 * 4 / 40
                shares[name] = min(0.9, max(0.0, shares[name] + by))
                ups.append(by > 0)
                said.clear()
    assert set(ups) == {True, False}, "one way only is half a test"


def test_a_learned_share_is_that_of_the_run_that_nobody_stopped_or_shared(
    started: Any, trained: Any, written: Any, agree: Any, tmp_path: Path
) -> None:
    recipe = written(ADAPT)
    always = "discriminators.d.adapt.target=-0.99"  # what is learned goes up
    whole = trained(recipe, tmp_path / "whole", always)
    share = whole.groups["memory"]["augment/d.old|share"]
    assert 0.5 < float(share) <= 0.9
    codes = started(2, "-m", "transgan", "run", recipe, "--set", always, "--out", tmp_path / "two", "-q")
    assert [code for code, _ in codes] == [0, 0], codes
    two = runs.load(tmp_path / "two" / "checkpoints" / "step-00000008")
    agree(whole, two, memory=0.0, networks=5e-5)
    halfway = tmp_path / "whole" / "checkpoints" / "step-00000008"
    for path in halfway.iterdir():
        path.unlink()
    halfway.rmdir()
    assert started(1, "-m", "transgan", "resume", tmp_path / "whole", "-q")[0][0] == 0
    again = runs.load(halfway)
    for group, tensors in whole.groups.items():
        assert all(torch.equal(again.groups[group][name], tensor) for name, tensor in tensors.items()), group


def refused(planned: Any, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        planned(ADAPT, overrides=overrides)
    return str(caught.value)


def test_what_cannot_be_learned_is_refused(planned: Any) -> None:
    assert "needs augment" in refused(planned, "discriminators.d.augment=[]")
    assert "vanilla, hinge and lsgan do" in refused(planned, "losses={wasserstein=1.0}")
    assert "no augmentation 'color'. Did you mean 'colour'?" in refused(planned, 'discriminators.d.augment=["color"]')
    assert "from 0 to 1" in refused(planned, "augmentations.translation.share=2.0")


def test_augmentations_that_are_named_are_written_out(planned: Any) -> None:
    plan = planned(ADAPT, overrides=("augmentations.cutout.share=0.25",))
    assert list(plan.recipe.augmentations) == ["cutout", "colour", "translation", "noise"]
    [judge] = plan.discriminators[plan.translations[0]]
    assert [name for name, _ in judge.augment] == ["colour", "translation", "cutout", "noise"]
    assert judge.augment[2][1].options.share == 0.25
    assert plan.filled["augmentations", "translation"]["share"] == 0.125
