"""What takes no part in a run is said before it, with the key that is why; compared with what training changes."""

import random
import re
from typing import Any

import numpy as np
import pytest
import torch

from transgan.api import Loss, Options, Register, Tensor, hookimpl
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.dry_run import describe, examine
from transgan.errors import RecipeError
from transgan.evaluation.unmeasured import unmeasured
from transgan.plan import Plan
from transgan.training import Engine
from transgan.training.trace import trace_run
from transgan.training.unused import check_used, phases_training

RECIPE = """
[tasks.age]
between = ["young", "old"]
[tasks.race]
between = ["white", "black"]
[train]
steps = 4
batch = 2
[generators]
g = { use = "resnet", per = "task", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", width = 4, layers = 1 }
[losses]
lsgan = 1.0
cycle = 10.0
identity = 1.0
[metrics]
cycle_error = true
"""
GENERATOR, DISCRIMINATOR = '{side="generator"}', '{side="discriminator"}'


def warnings(plan: Plan) -> list[str]:
    return check_used(plan, trace_run(plan))


def changed(plan: Plan) -> set[str]:
    """Return the networks whose weights training changes."""
    engine = Engine(plan)
    before = {name: [p.clone() for p in network.parameters()] for name, network in engine.networks.items()}
    for _ in engine.train(Batches(plan, Domains(plan))):
        pass
    pairs = {name: zip(network.parameters(), before[name], strict=True) for name, network in engine.networks.items()}
    return {name for name, each in pairs.items() if any(not torch.equal(p, q) for p, q in each)}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], None),
        (["tasks.race.weight=0"], "'race', .*not trained: tasks.race.weight is 0"),
        (["train.balance={age=1, race=0}"], "'race', .*not trained: train.balance.race is 0"),
        (
            ['conditionings={task="channel", domain="embedding"}', 'generators.g.conditionings=["task"]'],
            "conditioning 'domain': never used: no network has it in its 'conditionings'",
        ),
        (["augmentations.cutout.share=0.2"], "augmentation 'cutout': never used: no discriminator has it in its"),
        (["losses.cycle=0"], "loss 'cycle': never evaluated: losses.cycle is 0"),
        (["losses.cycle={from=0.0, to=1.0, between=[8, 9]}"], "losses.cycle is 0 at each of its steps"),
        ([f"phases=[{GENERATOR}]"], "not trained: no phase trains it"),
        (
            [f'phases=[{GENERATOR}, {{side="discriminator", every=9}}]'],
            "phases.1: never run: phases.1.every = 9, and the run has 4 steps",
        ),
        (
            [f'phases=[{{side="generator", losses=["lsgan", "cycle"]}}, {DISCRIMINATOR}]'],
            "loss 'identity': never evaluated: no phase has it",
        ),
        (
            ['losses.lsgan.translations=["age"]'],
            "'d.black', .*'d.white'.*no loss of the discriminator phase depends on it",
        ),
        (["stages=[{share=0.99}, {share=0.01}]"], "stage 2: never run: stages.1.share leaves it none"),
        (["stages=[{share=0.5, losses={cycle=0}}, {share=0.5}]"], None),
        ([f"stages=[{{share=0.5, phases=[{GENERATOR}]}}, {{share=0.5}}]"], None),
        (["train.freeze=['d*']"], None),
        (["evaluate.every=4", "evaluate.keep_best=cycle_error"], "keep_best has the last model alone"),
        (["optimizers.generator.lr=0"], "networks? 'g.age', .*'g.race': not trained: optimizers.generator.lr is 0"),
        (
            ["optimizers.discriminator.lr={from=0.0, to=1.0, between=[8, 9]}"],
            "'d.old'.*not trained: optimizers.discriminator.lr is 0 at each of its steps",
        ),
        (
            ['optimizers.mine={networks=["g.age"], lr=0.0}', f"phases=[{GENERATOR}, {DISCRIMINATOR}]"],
            "network 'g.age': not trained: optimizers.mine.lr is 0",
        ),
        (
            ["stages=[{share=0.5, optimizers={discriminator={lr=0.0}}}, {share=0.5, phases=[{side='generator'}]}]"],
            "'d.old'.*not trained: stages.0.optimizers.discriminator.lr is 0",
        ),
        (["stages=[{share=0.5, optimizers={generator={lr=0.0}}}, {share=0.5}]"], None),
        (["guard.check_every=5"], "never checked: guard.check_every = 5"),
    ],
)
def test_what_takes_no_part_is_said_with_its_key(planned: Any, overrides: list[str], expected: str | None) -> None:
    plan = planned(RECIPE, overrides=tuple(overrides))
    found = warnings(plan)
    assert bool(found) == bool(expected)
    assert expected is None or any(re.search(expected, line) for line in found)
    trained = changed(plan)
    assert set(phases_training(plan, trace_run(plan))) == trained
    of_networks = " ".join(line for line in found if "not trained" in line)
    assert {name for name in plan.networks if f"network '{name}'" in of_networks} == (
        set() if plan.recipe.train.freeze else set(plan.networks) - trained
    )


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ('{side="generator", trains=[]}', "names no network"),
        ('{side="generator", trains=["d*"]}', "'d\\*' matches networks of the other side alone"),
        ('{side="discriminator", trains=["g*"]}', "'g\\*' matches networks of the other side alone"),
        ('{side="discriminator", losses=["cycle"]}', "no loss of this recipe has a term for the discriminator"),
        ('{side="discriminator", trains=["d.old"], translations=["race"]}', "no gradient of lsgan reaches d.old"),
        ('{side="generator", every=9}', "nothing is trained"),
    ],
)
def test_a_phase_that_can_train_nothing_is_refused(planned: Any, phases: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        warnings(planned(RECIPE, overrides=(f"phases=[{phases}]",)))


def test_a_run_without_any_weight_is_refused(planned: Any) -> None:
    with pytest.raises(RecipeError, match="nothing is trained"):
        warnings(planned(RECIPE, overrides=("tasks.age.weight=0", "tasks.race.weight=0")))


def test_check_names_the_phases_of_the_recipe(planned: Any) -> None:
    phases = f'phases=[{GENERATOR}, {{side="generator", trains=["g.age"]}}, {{side="discriminator", every=9}}]'
    plan = planned(RECIPE, overrides=(phases,))
    lines = list(describe(plan))
    assert any(line.startswith("  g.age: ") and line.endswith("trained in phases.0, phases.1") for line in lines)
    assert any(line.startswith("  d.old: ") and line.endswith("not trained") for line in lines)
    assert any("warning: phases.2: never run" in line for line in lines)


def test_a_metric_that_can_measure_nothing_is_named(planned: Any) -> None:
    known = planned(RECIPE, overrides=("metrics.paired_error=true",))  # synthetic faces have counterparts
    assert not unmeasured(known, Domains(known))
    plan = planned(RECIPE, overrides=("metrics.reference_style=true",))
    [line] = unmeasured(plan, Domains(plan))
    assert line.startswith("metric 'reference_style': no figures: it needs 'reference")
    assert line in examine(plan)["warnings"]


class Constant(Loss[Options]):
    """Depends on nothing that is trained."""

    def for_generator(self, source: Tensor, fake: Tensor) -> Tensor:
        return (fake.detach() - source).abs().mean()


class Moved(Loss[Options]):
    """Depends on the generator."""

    def for_generator(self, source: Tensor, fake: Tensor) -> Tensor:
        return (fake - source).abs().mean()


class Counting(Loss[Options]):
    """Keeps what it has seen."""

    def __init__(self, options: Options):
        super().__init__(options)
        self.count = 0

    def for_generator(self, fake: Tensor) -> Tensor:
        self.count += 1
        self.last = fake.detach()
        return fake.mean()


class Later(Loss[Options]):
    """Compares with the step before, of which the first one has none."""

    def for_generator(self, fake: Tensor, buffers: dict[str, Tensor]) -> Tensor:
        mean = fake.mean()
        before, buffers["mean"] = buffers.get("mean"), mean.detach()
        return mean.new_zeros(()) if before is None else (mean - before).square()


class Caching(Loss[Options]):
    """Computes something once, as a resumed run does again."""

    def for_generator(self, fake: Tensor) -> Tensor:
        self.weight = getattr(self, "weight", 2.0)
        return fake.mean() * self.weight


class Appending(Loss[Options]):
    """Keeps a list of what it has seen."""

    def __init__(self, options: Options):
        super().__init__(options)
        self.seen: list[Tensor] = []

    def for_generator(self, fake: Tensor) -> Tensor:
        self.seen.append(fake.detach().mean())
        return fake.mean() * torch.stack(self.seen).mean()


class Random(Loss[Options]):
    """Draws from the global random numbers of Python and of NumPy."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.mean() * (random.random() + np.random.random())


class Losses:
    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("counting", Counting)
        register("constant", Constant)
        register("caching", Caching)
        register("appending", Appending)
        register("random", Random)
        register("later", Later)
        register("moved", Moved)


def test_a_loss_that_trains_nothing_is_said(planned: Any) -> None:
    more = ("losses.constant=1.0", "losses.moved=1.0")
    said = "loss 'constant': trains nothing: its value depends on nothing that its phases train"
    assert warnings(planned(RECIPE, Losses(), more)) == [said]
    frozen = warnings(planned(RECIPE, Losses(), (*more, "train.freeze=['g*']")))
    assert any(re.search("'constant'.*'moved'.*trains? nothing", line) for line in frozen)


def test_a_loss_that_trains_from_a_later_step_on_is_not_said_to_train_nothing(planned: Any) -> None:
    assert warnings(planned(RECIPE, Losses(), ("losses.later=1.0", "losses.lecam=0.1"))) == []
    phases = f'phases=[{GENERATOR}, {DISCRIMINATOR}, {{side="discriminator", losses=["lecam"], trains=["d*"]}}]'
    assert warnings(planned(RECIPE, overrides=("losses.lecam=0.1", phases))) == []


def test_what_a_loss_keeps_does_not_begin_with_the_trace(planned: Any) -> None:
    plan = planned(RECIPE, Losses(), ("losses.counting=1.0",))
    loss = plan.losses["counting"]
    assert isinstance(loss, Counting)
    trace_run(plan)
    assert loss.count == 0 and not hasattr(loss, "last")
    changed(plan)  # trains
    assert loss.count == 4 * 4 and loss.last.device.type == "cpu"  # steps, translations


def test_lists_in_attributes_are_as_before_the_trace(planned: Any) -> None:
    plan = planned(RECIPE, Losses(), ("losses.appending=1.0",))
    loss = plan.losses["appending"]
    assert isinstance(loss, Appending)
    trace_run(plan)
    assert loss.seen == []
    changed(plan)  # trains
    assert len(loss.seen) == 4 * 4


@pytest.mark.parametrize(
    ("name", "expected"), [("counting", ["count", "last"]), ("appending", ["seen"]), ("caching", []), ("moved", [])]
)
def test_attributes_that_change_from_step_to_step_are_found(planned: Any, name: str, expected: list[str]) -> None:
    plan = planned(RECIPE, Losses(), (f"losses.{name}=1.0",))
    engine = Engine(plan)
    found = [engine.changing for _ in engine.train(Batches(plan, Domains(plan)))]
    assert found == [[], [(f"loss '{name}'", each) for each in expected], [], []]


def test_global_random_numbers_are_those_of_the_step(planned: Any) -> None:
    """Whatever was drawn before, as in a run that is resumed."""
    values = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        plan = planned(RECIPE, Losses(), ("losses.random=1.0",))
        trained = [losses for _, losses in Engine(plan).train(Batches(plan, Domains(plan)))]
        values.append([float(each["age: young -> old/loss_G/random"]) for each in trained])
    assert values[0] == values[1]
    assert len(set(values[0])) == 4
