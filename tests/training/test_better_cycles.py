"""Better cycles: feature distances, quality weights and falling weights, each compared with a hand-written loop."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transgan_standard.cycles import Cycle

from transgan.api import Clock
from transgan.errors import RecipeError
from transgan.plan import Plan
from transgan.training.trace import trace_phases

Samples = Mapping[Any, Tensor]
Match = Callable[..., Plan]

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
ENDING = 'losses.cycle.quality={from=1.0, curve="steps", at=[0.25], values=[0.0]}'
DECAY = "losses.cycle={from=10.0, to=1.0}"


def square(logits: Tensor, target: float) -> Tensor:
    return F.mse_loss(logits, torch.full_like(logits, target))


def update(networks: list[nn.Module], losses: list[Tensor], optimizers: dict[int, Any]) -> None:
    key = id(networks[0])
    if key not in optimizers:
        parameters = chain(*(n.parameters() for n in networks))
        optimizers[key] = torch.optim.Adam(parameters, 2e-4, (0.5, 0.999))
    optimizers[key].zero_grad()
    torch.stack(losses).sum().backward()
    optimizers[key].step()


def cycle_terms(rec: Tensor, source: Tensor, discriminators: list[Any], share: float, layer: int = -1) -> Tensor:
    """Return one direction's cycle term of each sample, (N,); the discriminators are those of the source domain."""
    distances = []
    for discriminator in discriminators:
        found, expected = discriminator(rec), discriminator(source)
        layers = len(found.features) // len(found.logits)
        for scale in range(len(found.logits)):
            at = scale * layers + layer % layers
            distances.append((found.features[at] - expected.features[at].detach()).abs().flatten(1).mean(1))
    return share * torch.stack(distances).mean(0) + (1 - share) * (rec - source).abs().flatten(1).mean(1)


def quality(fake: Tensor, discriminators: list[Any]) -> Tensor:
    """Return the authors' weight of each sample, (N,): 1 minus its least-squares loss, clamped to [0.1, 1]."""
    outputs = [discriminator(fake) for discriminator in discriminators]
    errors = [(logits - 1).square().flatten(1).mean(1) for output in outputs for logits in output.logits]
    return (1 - torch.stack(errors).mean(0)).clamp(0.1, 1.0).detach()


def loop(
    features: bool = False,
    weighted: bool = False,
    falling: bool = False,
    layer: int = -1,
    until: int = 99,
    every: int = 1,
) -> Any:
    def train(nets: Mapping[str, Any], steps: list[Samples]) -> None:
        there = {"old": nets["g.young-old"].network, "young": nets["g.old-young"].network}
        discriminators = {name: [nets[f"d.{name}"].network, nets[f"e.{name}"].network] for name in there}
        optimizers: dict[int, Any] = {}
        for number, samples in enumerate(steps):
            weight = 10.0 - 9.0 * number / 4 if falling else 10.0
            share = min(0.8, 0.2 + 0.6 * number / 2) if features else 0.0
            g_losses, d_losses = [], []
            for one, two in (("young", "old"), ("old", "young")):
                source, target = samples["age", one], samples["age", two]
                fake = there[two](source)
                cycle = cycle_terms(there[one](fake), source, discriminators[one], share, layer)
                if weighted and number < until:
                    cycle = quality(fake, discriminators[two]) * cycle
                if number % every == 0:
                    g_losses.append(every * weight * cycle.mean())
                for discriminator in discriminators[two]:
                    scales = [square(logits, 1) for logits in discriminator(fake).logits]
                    g_losses.append(torch.stack(scales).mean())
                    on_real = torch.stack([square(logits, 1) for logits in discriminator(target).logits]).mean()
                    on_fake = torch.stack([square(logits, 0) for logits in discriminator(fake.detach()).logits]).mean()
                    d_losses.append(0.5 * (on_real + on_fake))
            update(list(there.values()), g_losses, optimizers)
            update([*discriminators["old"], *discriminators["young"]], d_losses, optimizers)

    return train


CASES = {
    "features": ((FEATURES,), {"features": True}),
    "first layer": ((FEATURES, "losses.cycle.layer=0"), {"features": True, "layer": 0}),
    "quality": ((QUALITY,), {"weighted": True}),
    "quality that ends": ((ENDING,), {"weighted": True, "until": 1}),
    "quality that ends, with features": ((FEATURES, ENDING), {"features": True, "weighted": True, "until": 1}),
    "decay": ((DECAY,), {"falling": True}),
    "every second step": (("losses.cycle.every=2",), {"every": 2}),
    "every second step, quality": (
        (QUALITY, FEATURES, "losses.cycle.every=2"),
        {"features": True, "weighted": True, "every": 2},
    ),
    "all": ((FEATURES, QUALITY, DECAY), {"features": True, "weighted": True, "falling": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_better_cycles_match_a_loop(assert_matches_loop: Match, case: str) -> None:
    overrides, switches = CASES[case]
    assert_matches_loop(BETTER, loop(**switches), overrides)


def test_micro_batches_and_separate_passes_make_no_difference(assert_matches_loop: Match) -> None:
    overrides, switches = CASES["all"]
    assert_matches_loop(BETTER, loop(**switches), (*overrides, 'train.merge="never"', "train.accumulate=2"))


CONDITIONED = """
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


def test_a_conditioned_discriminator_gets_the_source_domain_for_source_and_reconstruction(
    assert_matches_loop: Match,
) -> None:
    def train(nets: Mapping[str, Any], steps: list[Samples]) -> None:
        numbers = {name: number for number, name in enumerate(("young", "old", "white", "black"))}

        def conditioned(name: str, domain: str) -> Any:
            def run(x: Tensor) -> Any:
                return nets[name].network(x, nets[name].conditionings[0].table.weight[numbers[domain]].expand(4, -1))

            return run

        optimizers: dict[int, Any] = {}
        for samples in steps:
            g_losses, d_losses = [], []
            for task, a, b in (("age", "young", "old"), ("race", "white", "black")):
                for one, two in ((a, b), (b, a)):
                    source, target = samples[task, one], samples[task, two]
                    fake = conditioned("g", two)(source)
                    cycle = cycle_terms(conditioned("g", one)(fake), source, [conditioned("d", one)], 0.5)
                    logits = conditioned("d", two)(fake).logits[0]
                    realness = logits.sigmoid().flatten(1).mean(1).clamp(0.1, 1).detach()
                    g_losses += [10 * (realness * cycle).mean(), F.softplus(-logits).mean()]
                    on_real, on_fake = (conditioned("d", two)(x).logits[0] for x in (target, fake.detach()))
                    d_losses.append(0.5 * (F.softplus(-on_real).mean() + F.softplus(on_fake).mean()))
            update([nets["g"]], g_losses, optimizers)
            update([nets["d"]], d_losses, optimizers)

    assert_matches_loop(CONDITIONED, train)


@pytest.mark.parametrize("recipe", [BETTER, CONDITIONED])
def test_they_need_no_extra_pass_where_passes_are_merged(planned: Any, recipe: str) -> None:
    plan = planned(recipe, overrides=(FEATURES, QUALITY))
    [generator] = [trace for trace in trace_phases(plan, plan.stages[0]) if trace.side == "generator"]
    networks = [each.network for each in generator.passes]
    assert sorted(networks) == sorted(name for name in plan.networks if plan.networks[name].side == "discriminator")
    assert sum(each.samples for each in generator.passes) == 3 * 4 * len(plan.translations) * (
        2 if recipe is BETTER else 1
    )


def test_a_plain_cycle_needs_no_discriminator(planned: Any) -> None:
    plan = planned(BETTER)
    assert {t.arguments for t in plan.terms if t.loss == "cycle"} == {("source", "reconstruction")}


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["losses.cycle={from=10.0, to=0.0}"], "ends at 0; the weight of 'cycle' must stay above 0"),
        (["losses.cycle.features=1.5"], "expected shares from 0 to 1"),
        (
            [QUALITY, "losses={wasserstein=1.0, cycle={quality=true}}"],
            "an adversarial loss with a decision_logit, such as hinge",
        ),
        (
            [FEATURES, 'discriminators.d.translations=["* -> old"]', 'discriminators.e.translations=["* -> old"]'],
            "no discriminator is trained on the way back of [age: young -> old]",
        ),
        (
            [FEATURES, 'tasks.age={from="young", to="old"}'],
            'this direction alone, and between = ["young", "old"], in place of from and to, gives both',
        ),
    ],
)
def test_invalid_combinations_are_refused(planned: Any, overrides: list[str], line: str) -> None:
    with pytest.raises(RecipeError) as caught:
        planned(BETTER, overrides=tuple(overrides))
    assert line in str(caught.value)


def test_a_layer_that_does_not_exist_is_reported(planned: Any) -> None:
    plan = planned(BETTER, overrides=(FEATURES, "losses.cycle.layer=2"))
    with pytest.raises(RecipeError, match="layer = 2: the discriminator has 2 layers of features"):
        trace_phases(plan, plan.stages[0])


@pytest.mark.parametrize(("share", "weight"), [(0.0, 1.0), (0.5, 0.7), (1.0, 0.4), (True, 0.4), (False, 1.0)])
def test_a_share_of_quality_weights_in_part(share: float | bool, weight: float) -> None:
    loss = Cycle(Cycle.Options.model_validate({"quality": share}))
    source = torch.zeros(2, 1, 2, 2)
    more = {"fake_realness": torch.tensor([0.4, 0.4]), "clock": Clock()}
    used = {name: value for name, value in more.items() if name not in loss.unused_inputs}
    assert loss.for_generator(source, source + 1, **used).item() == pytest.approx(weight)


@pytest.mark.parametrize("share", [1.5, -0.1, {"from": 0.5, "to": 2.0}])
def test_shares_of_quality_outside_of_the_unit_interval_are_refused(share: Any) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Cycle.Options.model_validate({"quality": share})
