"""Each fault is found in a run that was made to have it, and counted as often as it has to be."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import Generator, Register, hookimpl
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.errors import RecipeError
from transgan.monitoring.detect import degraded, of_gradients, of_held_out, of_state
from transgan.monitoring.diagnostics import roles
from transgan.monitoring.faults import WORDS, LossRoles, found, told
from transgan.monitoring.guardian import HELD_OUT, Guardian, Verdict
from transgan.plan.fallback import fallen_back
from transgan.recipe import parse_recipe
from transgan.recipe.schema import Guard
from transgan.training.engine import Engine

RECIPE = """
[data]
source = { use = "synthetic_faces", count = 32 }
size = 16
[train]
steps = 120
batch = 4
log_every = 2
[optimizers]
generator.lr = 1e-3
discriminator.lr = 1e-3
[generators]
g = { use = "resnet", per = "direction", width = 6, blocks = 1, output = "residual" }
[discriminators]
d = { use = "patch", width = 6, layers = 1 }
[losses]
lsgan = 1.0
cycle = 5.0
[guard]
warmup = 20
looks = 10
check_every = 20
"""


class Copier(Generator):
    """Its mask is closed."""

    def __init__(self, options: Any, spec: Any):
        super().__init__(options, spec)
        self.mask = nn.Parameter(torch.tensor(-9.0))

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sigmoid(self.mask) * (1 - x)


class Constant(Generator):
    """Knows one sample."""

    def __init__(self, options: Any, spec: Any):
        super().__init__(options, spec)
        self.picture = nn.Parameter(torch.zeros(1, spec.channels, *spec.space))

    def forward(self, x: Tensor) -> Tensor:
        return self.picture.tanh() + 0 * x


class Hider(Generator):
    """Makes one sample of everything, with the source in it, 200 times fainter; the way back finds it there."""

    def __init__(self, options: Any, spec: Any):
        super().__init__(options, spec)
        self.picture = nn.Parameter(torch.zeros(1, spec.channels, *spec.space), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        faint = x.abs().mean() < 0.02
        return self.picture + self.scale * (200 * x if faint else x / 200)


class Plugin:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        for cls in (Copier, Constant, Hider):
            register(cls.__name__.lower(), cls)


def watched(planned: Any, *overrides: str) -> tuple[list[Verdict], dict[str, float]]:
    """What a run was told, and its last figures."""
    plan = planned(RECIPE, Plugin(), overrides)
    engine, domains = Engine(plan), Domains(plan)
    guardian = Guardian(plan.recipe.guard, LossRoles(**roles(plan)))
    verdicts: list[Verdict] = []
    figures: dict[str, float] = {}
    for step, losses in engine.train(Batches(plan, domains)):
        if plan.recipe.train.logs(step):
            read = {name: float(x) for name, x in {**losses, **engine.objective.state.figures()}.items()}
            norms = {name: float(x) for name, x in engine.optimizers.norms.items()}
            figures, said = guardian.look(step, read, norms)
            verdicts += said
        if step % plan.recipe.guard.check_every == 0:
            held_out, said = guardian.look_held_out(step, of_held_out(plan, domains, engine.networks, step, "cpu"))
            figures, verdicts = figures | held_out, verdicts + said
    return verdicts, figures


#: Where a generator is as bad as these, its discriminator wins too.
WON = 'guard.actions.discriminator_wins="off"'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "overrides"),
    [
        ("copying", ('generators.g={use="copier",per="direction"}',)),
        ("collapse", ('generators.g={use="constant",per="direction"}', WON)),
        ("collapse", ('generators.g={use="constant",per="direction"}', WON, "train.batch=1", "data.held_out=0.4")),
        ("hiding", ('generators.g={use="hider",per="run"}', WON, 'guard.actions.collapse="off"')),
        ("exploding", ('losses.cycle={from=0.1,curve="steps",at=[80],values=[1000.0]}', "train.steps=90")),
        (
            "discriminator_wins",
            ("optimizers.discriminator.lr=1e-2", "optimizers.generator.lr=2e-6", 'generators.g.output="image"',
             "train.steps=250", 'guard.actions.collapse="off"'),
        ),
    ],
)  # fmt: skip
def test_a_fault_made_on_purpose_is_found(planned: Any, fault: str, overrides: tuple[str, ...]) -> None:
    verdicts, figures = watched(planned, *overrides)
    assert {each.fault for each in verdicts} == {fault}, [str(each) for each in verdicts]
    wheres = {"g.forward", "g.backward"} if fault == "exploding" else {"age: young -> old", "age: old -> young"}
    assert {each.where for each in verdicts} <= wheres
    assert len(verdicts) == len({each.where for each in verdicts})  # each is told once
    assert f"guard/{fault}/{verdicts[0].where}" in figures


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_run_without_a_fault_is_left_alone(planned: Any, seed: int) -> None:
    verdicts, figures = watched(planned, f"train.seed={seed}", "train.steps=300")
    assert not verdicts, [str(each) for each in verdicts]
    kinds = {name.split("/")[1] for name in figures}
    assert kinds == {"not_finite", "collapse", "copying", "discriminator_wins", "hiding", "exploding"}


WHERE = "t: a -> b"
HEALTHY = {
    f"{WHERE}/state/change": 0.1, f"{WHERE}/state/distance": 0.2,
    f"{WHERE}/state/spread": 0.15, f"{WHERE}/state/spread_of_target": 0.2,
    f"{WHERE}/state/recognised": 0.8, f"{WHERE}/discriminator/gan": 0.2, f"{WHERE}/generator/gan": 0.5,
}  # fmt: skip
NAMES = LossRoles(adversarial=["gan"])


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"state/spread": 0.059}, "collapse"),
        ({"state/spread": 0.061}, None),
        ({"state/change": 0.0019}, "copying"),
        ({"state/change": 0.0021}, None),
        ({"state/recognised": 0.99, "discriminator/gan": 0.01}, "discriminator_wins"),
        ({"state/recognised": 0.99, "discriminator/gan": 0.1}, None),
        ({"state/recognised": 0.97, "discriminator/gan": 0.01}, None),
        ({"state/recognised": 0.99, "discriminator/gan": -3.0}, None),  # a critic has no floor
    ],
)
def test_each_fault_has_its_limit(changed: Mapping[str, float], fault: str | None) -> None:
    figures = HEALTHY | {f"{WHERE}/{name}": value for name, value in changed.items()}
    found = [each.fault for each in of_state(figures, Guard(), NAMES) if each.bad]
    assert found == ([fault] if fault else [])


def test_what_was_not_measured_says_nothing_and_losses_of_other_translations_do_not_count() -> None:
    two = LossRoles(adversarial=["gan", "of_another_task"])
    won = HEALTHY | {f"{WHERE}/state/recognised": 0.99, f"{WHERE}/discriminator/gan": 0.01}
    assert [each.fault for each in of_state(won, Guard(), two) if each.bad] == ["discriminator_wins"]
    for name in HEALTHY:
        left = {key: value for key, value in won.items() if key != name}
        assert all(each.fault == "discriminator_wins" or not each.bad for each in of_state(left, Guard(), two)), name


def test_words_have_the_figure_its_limit_and_the_losses_of_the_recipe() -> None:
    names = LossRoles(cycle=["back"], identity=["stay"], adversarial=["gan"])
    for fault in WORDS:
        text = told(found(fault, WHERE, 0.123, rules := Guard(skip=7)), rules, names)
        assert "{" not in text and "cycle" not in text
    assert "12.3%" in told(found("collapse", WHERE, 0.123, rules), rules, names)
    assert "expected 7 at most" in told(found("not_finite", "", 8, rules), rules, names)
    assert "'back' and 'stay'" in told(found("copying", WHERE, 0.123, rules), rules, names)
    assert "part of 'gan'" in told(found("discriminator_wins", WHERE, 0.99, rules), rules, names)


def test_a_gradient_explodes_beside_its_own_median() -> None:
    before = {"g": [1.0] * 15 + [3.0] * 10, "new": [1.0] * 5}
    norms = {"g": 150.0, "new": 1e6}
    [found] = of_gradients(norms, before, Guard())
    assert (found.where, found.figure, found.bad) == ("g", 150.0, True)
    [found] = of_gradients({"g": 90.0}, before, Guard())
    assert not found.bad


def looks(guardian: Guardian, figures: Mapping[str, float], steps: Iterator[int] | range) -> list[tuple[int, str]]:
    return [(step, v.fault) for step in steps for v in guardian.look(step, figures, {})[1]]


def test_a_fault_counts_after_the_warm_up_and_so_many_looks_in_a_row() -> None:
    sick = HEALTHY | {f"{WHERE}/state/spread": 0.01}
    guardian = Guardian(Guard(warmup=10, looks=5), NAMES)
    assert looks(guardian, sick, range(1, 11)) == []
    assert not guardian.healthy  # a checkpoint of now would not be good
    assert looks(guardian, sick, range(11, 15)) == []
    assert looks(guardian, HEALTHY, range(15, 16)) == []
    assert guardian.healthy
    assert looks(guardian, sick, range(16, 40)) == [(20, "collapse")]  # and is told of once


def test_what_looked_bad_does_until_it_is_looked_at_again() -> None:
    """A step may show one task alone."""
    guardian = Guardian(Guard(), NAMES)
    sick = HEALTHY | {f"{WHERE}/state/spread": 0.01}
    other = {name.replace(WHERE, "u: c -> d"): value for name, value in HEALTHY.items()}
    looks(guardian, sick, range(1, 2))
    looks(guardian, other, range(2, 4))
    assert not guardian.healthy
    looks(guardian, HEALTHY, range(4, 5))
    assert guardian.healthy


def test_what_a_guardian_knows_goes_through_a_checkpoint() -> None:
    sick = HEALTHY | {f"{WHERE}/state/spread": 0.01}
    first = Guardian(Guard(warmup=0, looks=6, action="stop"), NAMES)
    looks(first, sick, range(1, 4))
    first.skip(3)
    second = Guardian(first.rules, NAMES)
    second.load(json.loads(json.dumps(first.state())))
    assert second.state() == first.state()
    told = looks(first, sick, range(4, 9))
    assert told == looks(second, sick, range(4, 9)) == [(step, "collapse") for step in (6, 7, 8)]


def test_steps_that_were_skipped_long_ago_do_not_count() -> None:
    guardian = Guardian(Guard(skip=2), NAMES)
    assert [guardian.skip(step) for step in (5, 6, 1006, 1007)] == [None] * 4
    verdict = guardian.skip(1008)
    assert verdict and (verdict.fault, verdict.action) == ("not_finite", "stop")  # a watcher stops too
    assert guardian.look(1008, HEALTHY, {})[0]["guard/not_finite"] == 3


def test_held_out_samples_are_looked_at_three_times() -> None:
    guardian = Guardian(Guard(warmup=0, actions={"hiding": "rollback"}), NAMES)
    plan_says = [list(of_state(HEALTHY | {f"{WHERE}/state/spread": 0.01}, Guard(), NAMES))]
    told = [guardian.look_held_out(step, plan_says[0])[1] for step in (1, 2, 3)]
    assert [len(each) for each in told] == [0] * (HELD_OUT - 1) + [1]


def test_what_is_off_is_neither_logged_nor_told() -> None:
    guardian = Guardian(Guard(warmup=0, looks=1, actions={"collapse": "off"}), NAMES)
    record, verdicts = guardian.look(1, HEALTHY | {f"{WHERE}/state/spread": 0.01}, {})
    assert not verdicts and guardian.healthy
    assert f"guard/copying/{WHERE}" in record and f"guard/collapse/{WHERE}" not in record


def test_what_is_degraded_looks_the_same() -> None:
    x = torch.rand(2, 3, 16, 16) * 2 - 1
    gap = (degraded(x) - x).abs()
    assert 0.005 < gap.mean() < 0.01 and gap.max() <= 2.5 * 2 / 255 + 1e-6
    assert torch.equal(degraded(x), degraded(x))


FALLING = """
data = { source = { use = "synthetic_faces", count = 24 }, size = 16 }
domains = { young = { age = [20, 30] }, old = { age = [50, 60] } }
tasks = { age = { between = ["young", "old"] } }
train = { steps = 4, batch = 2 }
generators = { g = { use = "resnet", per = "direction", width = 4, blocks = 1 } }
discriminators = { d = { use = "patch", width = 4, layers = 1, history = 5 } }
losses = { hinge = 2.0, r1 = 1.0, cycle = 10.0 }
guard = { action = "fallback" }
stages = [{ share = 0.5, losses = { hinge = 1.0, cycle = 5.0 } }, { share = 0.5 }]
[[phases]]
side = "generator"
losses = ["cycle", "hing*"]
[[phases]]
side = "discriminator"
every = 2
"""


def test_a_fallback_changes_the_objective_and_nothing_else(planned: Any) -> None:
    plan = planned(FALLING)
    document = parse_recipe(FALLING)
    new = fallen_back(document, plan.losses).recipe
    assert list(new.losses) == ["wasserstein", "gradient_penalty", "cycle"]
    assert [new.losses[name].weight.start for name in new.losses] == [1.0, 10.0, 10.0]
    assert [(p.side, p.every, set(p.losses)) for p in new.phases] == [
        ("generator", 5, {"cycle", "wasserstein", "gradient_penalty"}),
        ("discriminator", 2, {"*"}),
    ]
    assert [set(stage.losses) for stage in new.stages] == [{"cycle"}, set()]
    assert new.discriminators["d"].history == 0
    assert new.optimizers.generator.lr.start == new.optimizers.discriminator.lr.start == 1e-4
    assert new.guard.action == "stop"
    kept = ("data", "domains", "tasks", "train", "generators", "metrics", "evaluate", "nodes")
    assert all(getattr(new, name) == getattr(document.recipe, name) for name in kept)


def test_a_phase_of_nothing_but_what_has_gone_is_left_out(planned: Any) -> None:
    text = FALLING + '[[phases]]\nside = "discriminator"\nlosses = ["r1"]\nevery = 4\n'
    plan = planned(text, overrides=("phases.1.losses=['hinge']",))
    new = fallen_back(parse_recipe(text, "recipe", ("phases.1.losses=['hinge']",)), plan.losses).recipe
    assert [(p.side, p.every, p.losses) for p in new.phases[1:]] == [
        ("discriminator", 2, ["wasserstein", "gradient_penalty"])
    ]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ('discriminators.d.norm="batch"', "would not run: .*gradient_penalty: bounds the slope of 'd.*batch norm"),
        ("losses={wasserstein=1.0}", "'fallback' would not run: no loss of the recipe would be replaced"),
        ("losses={hinge=1.0,cycle={quality=true}}", "'fallback' would not run: .*weighs samples by how real"),
    ],
)  # fmt: skip
def test_a_fallback_that_could_not_run_is_refused_before_the_first_step(planned: Any, change: str, line: str) -> None:
    text = FALLING.partition("stages")[0].replace("r1 = 1.0, ", "")
    planned(text, overrides=(change, 'guard.action="rollback"'))
    with pytest.raises(RecipeError, match=line):
        planned(text, overrides=(change,))
