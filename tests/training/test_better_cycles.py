"""Cycles in features, weighted by quality, with weights that fall: as each of them written out by hand."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transgan.dry_run import play
from transgan.errors import RecipeError
from transgan.plan import Plan

Drawn = Mapping[Any, Tensor]
Matched = Callable[..., Plan]

BETTER = """
[train]
steps = 4
batch = 4
[generators]
g = { use = "resnet", per = "translation", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", width = 4, layers = 1, scales = 2 }
e = { use = "pixel", width = 4 }
[losses]
lsgan = 1.0
cycle = 10.0
"""
FEATURES = "losses.cycle.features={from=0.2, to=0.8, between=[0.0, 0.5]}"
QUALITY = "losses.cycle.quality=true"
DECAY = "losses.cycle={from=10.0, to=1.0}"


def square(logits: Tensor, target: float) -> Tensor:
    return F.mse_loss(logits, torch.full_like(logits, target))


def move(networks: list[nn.Module], losses: list[Tensor], optimizers: dict[int, Any]) -> None:
    key = id(networks[0])
    if key not in optimizers:
        parameters = chain(*(n.parameters() for n in networks))
        optimizers[key] = torch.optim.Adam(parameters, 2e-4, (0.5, 0.999))
    optimizers[key].zero_grad()
    torch.stack(losses).sum().backward()
    optimizers[key].step()


def better(rec: Tensor, source: Tensor, discriminators: list[Any], share: float, layer: int = -1) -> Tensor:
    """(N,) one direction's cycle term, the judges being those of the source domain."""
    gaps = []
    for judge in discriminators:
        seen, wanted = judge(rec), judge(source)
        layers = len(seen.features) // len(seen.logits)
        for scale in range(len(seen.logits)):
            at = scale * layers + layer % layers
            gaps.append((seen.features[at] - wanted.features[at].detach()).abs().flatten(1).mean(1))
    return share * torch.stack(gaps).mean(0) + (1 - share) * (rec - source).abs().flatten(1).mean(1)


def quality(fake: Tensor, discriminators: list[Any]) -> Tensor:
    """(N,) the authors' weight: 1 less the least-squares loss of the translation, from 0.1 to 1."""
    errors = [(logits - 1).square().flatten(1).mean(1) for judge in discriminators for logits in judge(fake).logits]
    return (1 - torch.stack(errors).mean(0)).clamp(0.1, 1.0).detach()


def by_hand(features: bool = False, weighed: bool = False, falling: bool = False, layer: int = -1) -> Any:
    def train(nets: Mapping[str, Any], steps: list[Drawn]) -> None:
        there = {"old": nets["g.young-old"].network, "young": nets["g.old-young"].network}
        discriminators = {name: [nets[f"d.{name}"].network, nets[f"e.{name}"].network] for name in there}
        optimizers: dict[int, Any] = {}
        for number, drawn in enumerate(steps):
            weight = 10.0 - 9.0 * number / 4 if falling else 10.0
            share = min(0.8, 0.2 + 0.6 * number / 2) if features else 0.0
            g_losses, d_losses = [], []
            for one, two in (("young", "old"), ("old", "young")):
                source, target = drawn["age", one], drawn["age", two]
                fake = there[two](source)
                cycle = better(there[one](fake), source, discriminators[one], share, layer)
                if weighed:
                    cycle = quality(fake, discriminators[two]) * cycle
                g_losses.append(weight * cycle.mean())
                for judge in discriminators[two]:
                    seen = [square(logits, 1) for logits in judge(fake).logits]
                    g_losses.append(torch.stack(seen).mean())
                    real = torch.stack([square(logits, 1) for logits in judge(target).logits]).mean()
                    false = torch.stack([square(logits, 0) for logits in judge(fake.detach()).logits]).mean()
                    d_losses.append(0.5 * (real + false))
            move(list(there.values()), g_losses, optimizers)
            move([*discriminators["old"], *discriminators["young"]], d_losses, optimizers)

    return train


CASES = {
    "features": ((FEATURES,), {"features": True}),
    "first layer": ((FEATURES, "losses.cycle.layer=0"), {"features": True, "layer": 0}),
    "quality": ((QUALITY,), {"weighed": True}),
    "decay": ((DECAY,), {"falling": True}),
    "all": ((FEATURES, QUALITY, DECAY), {"features": True, "weighed": True, "falling": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_better_cycles_are_as_by_hand(matched: Matched, case: str) -> None:
    overrides, switches = CASES[case]
    matched(BETTER, by_hand(**switches), overrides)


def test_in_parts_and_unmerged_they_are_the_same(matched: Matched) -> None:
    overrides, switches = CASES["all"]
    matched(BETTER, by_hand(**switches), (*overrides, 'train.merge="never"', "train.accumulate=2"))


METRIC_ARGUMENTS = """
[train]
steps = 4
batch = 4
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"] }
[conditionings]
domain = { use = "embedding", width = 3 }
[generators]
g = { use = "resnet", per = "run", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", per = "run", conditionings = ["domain"], width = 4, layers = 1 }
[losses]
vanilla = 1.0
cycle = { weight = 10.0, features = 0.5, quality = true }
"""


def test_a_discriminator_that_is_told_the_domain_is_told_that_of_the_source(matched: Matched) -> None:
    def train(nets: Mapping[str, Any], steps: list[Drawn]) -> None:
        numbers = {name: number for number, name in enumerate(("young", "old", "white", "black"))}

        def told(name: str, domain: str) -> Any:
            def ask(x: Tensor) -> Any:
                return nets[name].network(x, nets[name].conditionings[0].table.weight[numbers[domain]].expand(4, -1))

            return ask

        optimizers: dict[int, Any] = {}
        for drawn in steps:
            g_losses, d_losses = [], []
            for task, a, b in (("age", "young", "old"), ("race", "white", "black")):
                for one, two in ((a, b), (b, a)):
                    source, target = drawn[task, one], drawn[task, two]
                    fake = told("g", two)(source)
                    cycle = better(told("g", one)(fake), source, [told("d", one)], 0.5)
                    said = told("d", two)(fake).logits[0]
                    realness = said.sigmoid().flatten(1).mean(1).clamp(0.1, 1).detach()
                    g_losses += [10 * (realness * cycle).mean(), F.softplus(-said).mean()]
                    real, false = told("d", two)(target).logits[0], told("d", two)(fake.detach()).logits[0]
                    d_losses.append(0.5 * (F.softplus(-real).mean() + F.softplus(false).mean()))
            move([nets["g"]], g_losses, optimizers)
            move([nets["d"]], d_losses, optimizers)

    matched(METRIC_ARGUMENTS, train)


@pytest.mark.parametrize("recipe", [BETTER, METRIC_ARGUMENTS])
def test_they_cost_no_pass_where_passes_are_merged(planned: Any, recipe: str) -> None:
    plan = planned(recipe, overrides=(FEATURES, QUALITY))
    [generator] = [act for act in play(plan, plan.stages[0]) if act.side == "generator"]
    networks = [each.network for each in generator.passes]
    assert sorted(networks) == sorted(name for name in plan.networks if plan.networks[name].side == "discriminator")
    assert sum(each.samples for each in generator.passes) == 3 * 4 * len(plan.translations) * (
        2 if recipe is BETTER else 1
    )


def test_a_plain_cycle_asks_no_discriminator(planned: Any) -> None:
    plan = planned(BETTER)
    assert {t.asked for t in plan.terms if t.loss == "cycle"} == {("source", "reconstruction")}


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["losses.cycle={from=10.0, to=0.0}"], "falls to 0; 'cycle' may become small, but never vanish"),
        (["losses.cycle.features=1.5"], "expected shares from 0 to 1"),
        ([QUALITY, "losses={wasserstein=1.0, cycle={quality=true}}"], "learns by vanilla, hinge or lsgan"),
        (
            [FEATURES, 'discriminators.d.translations=["* -> old"]', 'discriminators.e.translations=["* -> old"]'],
            "no discriminator judges the way back of [age: young -> old]",
        ),
    ],
)
def test_what_cannot_be_done_is_refused(planned: Any, overrides: list[str], line: str) -> None:
    with pytest.raises(RecipeError) as caught:
        planned(BETTER, overrides=tuple(overrides))
    assert line in str(caught.value)


def test_a_layer_that_is_not_there_is_named(planned: Any) -> None:
    plan = planned(BETTER, overrides=(FEATURES, "losses.cycle.layer=2"))
    with pytest.raises(RecipeError, match="layer = 2: the discriminator has 2 layers of features"):
        play(plan, plan.stages[0])
