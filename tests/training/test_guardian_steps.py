"""Steps with numbers that are not finite leave no trace, and what is done when there are too many of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from transgan.api import Clock, Loss, Register, hookimpl
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.errors import DiskError, DivergedError
from transgan.plan import make_plan
from transgan.recipe import parse_recipe
from transgan.registry import Registry
from transgan.reporting.console import Progress
from transgan.storage import RunFolder
from transgan.training.distributed import Processes
from transgan.training.engine import Engine
from transgan.training.trainer import Trainer

# Everything that a step may leave behind: batch norm's statistics, older fakes, an average, memories, learned shares.
RECIPE = """
[data]
source = { use = "synthetic_faces", count = 24 }
size = 16
[domains]
young = { age = [20, 30] }
old = { age = [50, 60] }
white = { race = "White" }
black = { race = "Black" }
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"] }
[train]
steps = 8
batch = 4
accumulate = 2
ema = 0.9
clip = 1.0
log_every = 1
checkpoint_every = 1
sample_every = 8
keep = 20
[generators.g]
use = "resnet"
per = "run"
width = 4
blocks = 1
norm = "batch"
[discriminators.d]
use = "patch"
per = "run"
width = 4
layers = 1
history = 6
augment = ["cutout"]
adapt = { samples = 100 }
[losses]
hinge = 1.0
cycle = 10.0
lecam = 0.1
faulty = 1.0
"""


class Faulty(Loss):
    """Is not finite in the steps that `when` names, on the side and in the way that it says."""

    when: Mapping[int, tuple[str, str]] = {}

    def _term(self, x: Tensor, clock: Clock, side: str) -> Tensor:
        if self.when.get(clock.step, ("", ""))[0] != side:
            return 0.0 * x.sum()
        way = self.when[clock.step][1]
        if way == "gradient":  # the value is 0, and its derivative is not finite
            return (0.0 * x).abs().sum().sqrt()
        return x.sum() * float(way)

    def for_generator(self, fake: Tensor, clock: Clock) -> Tensor:
        return self._term(fake, clock, "generator")

    def for_discriminator(self, real_output: Any, clock: Clock) -> Tensor:
        return self._term(real_output.logits[0], clock, "discriminator")


class Plugin:
    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("faulty", Faulty)


@pytest.fixture(autouse=True)
def no_fault() -> Iterator[None]:
    yield
    Faulty.when = {}


def known() -> Registry:
    registry = Registry.installed()
    registry.add(Plugin(), "of_this_test")
    return registry


def go(out: Path, *overrides: str, text: str = RECIPE) -> int:
    """Trains in a folder, or goes on there; returns the exit code."""
    registry, folder = known(), RunFolder.open(out)
    try:
        document = parse_recipe(text, "recipe", overrides)
        run = Trainer(document, make_plan(document, registry), registry, Processes(), folder)
        return run.go(Progress(run.plan.recipe.train.steps, quiet=True))
    finally:
        folder.close()


def everything(engine: Engine) -> dict[str, dict[str, Tensor]]:
    """All that a step could change, copied; moments that are zero are as good as none."""
    assert engine.average is not None
    balance = engine.balance
    groups = {
        "networks": {f"{n}|{k}": v for n, m in engine.networks.networks.items() for k, v in m.state_dict().items()},
        "average": {f"{n}|{k}": v for n, m in engine.average.networks.items() for k, v in m.state_dict().items()},
        "moments": {k: v for k, v in engine.optimizers.state().items() if v.any()},
        "history": engine.objective.history.pools,
        "memory": engine.objective.memory.values,
        "balance": {"apart": balance.apart, "played": torch.tensor(list(balance.played.values()))},
        "counts": {
            "ema": torch.tensor(engine.average.updates),
            **{name: torch.tensor(n) for name, n in engine.objective.history.counts.items()},
        },
    }
    return {group: {name: x.detach().clone() for name, x in found.items()} for group, found in groups.items()}


@pytest.mark.parametrize("way", ["nan", "inf", "gradient"])
@pytest.mark.parametrize("first", ["generator", "discriminator"])
def test_a_step_that_is_not_finite_leaves_no_trace(first: str, way: str) -> None:
    """The fault is in the phase that comes first, so that no network may move."""
    sides = [first, "generator" if first == "discriminator" else "discriminator"]
    phases = "".join(f'[[phases]]\nside = "{side}"\n' for side in sides)
    plan = make_plan(parse_recipe(RECIPE + phases), known())
    engine = Engine(plan)
    Faulty.when = {2: (first, way)}
    before: dict[str, dict[str, Tensor]] = {}
    for step, _ in engine.train(Batches(plan, Domains(plan))):
        after = everything(engine)
        assert engine.skipped == (step == 3)
        if step == 3:
            for group, tensors in after.items():
                assert tensors.keys() == before[group].keys()
                for name, tensor in tensors.items():
                    assert torch.equal(tensor, before[group][name]), f"{group} {name}"
        elif before:
            for group in ("networks", "average", "moments", "history", "memory", "balance", "counts"):
                assert any(not torch.equal(x, before[group].get(n, x + 1)) for n, x in after[group].items()), group
        before = after
        if step == 4:
            break


def test_gradients_are_those_of_networks_that_had_a_part_in_the_step() -> None:
    """Steps play one task, and generators learn in every other step."""
    phases = '[[phases]]\nside = "generator"\nevery = 2\n[[phases]]\nside = "discriminator"\n'
    per_task = ('generators.g.per="task"', 'discriminators.d.per="task"', "train.balance={age=0.5,race=0.5}")
    plan = make_plan(parse_recipe(RECIPE + phases, "recipe", per_task), known())
    engine = Engine(plan)
    seen = set()
    for step, losses in engine.train(Batches(plan, Domains(plan))):
        [task] = {name.partition(":")[0] for name in losses}
        assert engine.optimizers.norms.keys() == {f"d.{task}", *([f"g.{task}"] if step % 2 == 0 else [])}
        assert all(norm > 0 for norm in engine.optimizers.norms.values())
        seen.add((task, step % 2))
    assert len(seen) > 2


def test_a_phase_after_one_that_was_finite_moves_nothing() -> None:
    plan = make_plan(parse_recipe(RECIPE), known())
    engine = Engine(plan)
    Faulty.when = {1: ("discriminator", "nan")}
    seen = [everything(engine)["networks"]]
    for step, _ in engine.train(Batches(plan, Domains(plan))):
        seen.append(everything(engine)["networks"])
        if step == 2:
            break
    moved = {name.split("|")[0] for name, x in seen[2].items() if not torch.equal(x, seen[1][name])}
    assert moved == {"g"}


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_is_not_finite_reaches_a_checkpoint(tmp_path: Path, seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)

    def one_of(*choices: str) -> str:
        return choices[int(torch.randint(len(choices), (), generator=chance))]

    faulty = [step for step in range(8) if float(torch.rand((), generator=chance)) < 0.5]
    Faulty.when = {
        step: (one_of("generator", "discriminator"), one_of("nan", "inf", "-inf", "gradient")) for step in faulty
    }
    assert go(tmp_path / "run") == 0
    for step in range(1, 9):
        checkpoint = runs.load(tmp_path / "run" / "checkpoints" / f"step-{step:08d}")
        for group, tensors in checkpoint.groups.items():
            assert all(torch.isfinite(x).all() for x in tensors.values() if x.is_floating_point()), group
    records = runs.read_metrics(tmp_path / "run" / "metrics.jsonl")
    counted = [record["guard/not_finite"] for record in records if "guard/not_finite" in record]
    assert counted == [sum(step < number for step in faulty) for number in range(1, 9)]


def test_after_too_many_such_steps_the_run_stops_and_says_why(tmp_path: Path) -> None:
    Faulty.when = dict.fromkeys((2, 3, 5), ("generator", "nan"))
    with pytest.raises(DivergedError) as told:
        go(tmp_path / "run", "guard.skip=2", 'guard.action="off"')
    for part in ("step 6: 3 of the newest 1000 steps were skipped", "expected 2 at most", "train.clip", "of step 5"):
        assert part in str(told.value)
    assert told.value.exit_code == 6
    assert "step 3: skipped, since age: young -> old/generator/faulty" in (tmp_path / "run" / "log.txt").read_text()


# Untrained networks look bad in other ways too, which would leave no checkpoint good.
BACK = ('guard.action="off"', "guard.skip=0", 'guard.actions.not_finite="rollback"', "guard.lr_factor=0.25")


def test_a_rollback_goes_on_from_the_last_good_checkpoint_with_lower_rates(tmp_path: Path) -> None:
    """As a run that was stopped there and resumed with those rates."""
    Faulty.when = {5: ("generator", "nan")}

    class Once(Faulty):
        """The fault is there the first time only."""

        def for_generator(self, fake: Tensor, clock: Clock) -> Tensor:
            found = self._term(fake, clock, "generator")
            if clock.step == 5 and fake.requires_grad:
                self.asked = getattr(self, "asked", 0) + 1
                if self.asked > 8:  # four translations in two parts
                    return 0.0 * fake.sum()
            return found

    class Own(Plugin):
        @hookimpl
        def register_losses(self, register: Register) -> None:
            register("faulty", Once)

    registry = Registry.installed()
    registry.add(Own(), "of_this_test")
    document = parse_recipe(RECIPE, "recipe", BACK)
    folder = RunFolder.open(tmp_path / "run")
    run = Trainer(document, make_plan(document, registry), registry, Processes(), folder)
    assert run.go(Progress(8, quiet=True)) == 0
    folder.close()
    records = runs.read_metrics(tmp_path / "run" / "metrics.jsonl")
    [back] = [record for record in records if "guard/rollback" in record]
    assert (back["step"], back["guard/from"], back["guard/lr_factor"]) == (5, 6, 0.25)
    rates = {record["step"]: record["lr/generator"] for record in records if "lr/generator" in record}
    assert rates == {step: 2e-4 if step <= 5 else 5e-5 for step in range(1, 9)}
    whole = runs.load(tmp_path / "run" / "checkpoints" / "step-00000008")
    assert whole.state["guard"]["rolled"] == 1

    Faulty.when = {}  # by hand: five steps, and then three at a quarter of the rate
    plan = make_plan(parse_recipe(RECIPE), known())
    engine = Engine(plan)
    for step, _ in engine.train(Batches(plan, Domains(plan))):
        if step == 5:
            engine.optimizers.factor = 0.25
    for name, network in engine.networks.networks.items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, whole.groups["networks"][f"{name}|{key}"]), f"{name}|{key}"
    assert "What the guardian did" in (tmp_path / "run" / "report.html").read_text()


def test_a_fault_that_comes_again_and_again_ends_the_run(tmp_path: Path) -> None:
    Faulty.when = {5: ("generator", "nan")}
    with pytest.raises(DivergedError, match="step 6: 1 of the newest"):
        go(tmp_path / "run", *BACK, "guard.rollbacks=2")
    text = (tmp_path / "run" / "log.txt").read_text()
    assert text.count("Back at step 5, and on with learning rates times") == 2
    assert "times 0.0625" in text


def test_before_any_checkpoint_there_is_the_begin(tmp_path: Path) -> None:
    Faulty.when = {0: ("generator", "nan")}
    with pytest.raises(DivergedError):
        go(tmp_path / "run", *BACK, "guard.rollbacks=1")
    assert "Back at step 0" in (tmp_path / "run" / "log.txt").read_text()


def test_a_checkpoint_that_could_not_be_written_is_not_gone_back_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Faulty.when = {5: ("generator", "nan")}
    real = runs.save

    def full(folder: Path, step: int, *args: Any, **options: Any) -> Path:
        if step == 5:
            raise DiskError("the disk is full")
        return real(folder, step, *args, **options)

    monkeypatch.setattr(runs, "save", full)
    with pytest.raises(DivergedError):
        go(tmp_path / "run", *BACK, "guard.rollbacks=1")
    text = (tmp_path / "run" / "log.txt").read_text()
    assert text.count("Back at step 4,") == 1 and "no checkpoint: the disk is full" in text


FALL = (*BACK[:2], 'guard.actions.not_finite="fallback"', "guard.fallback.critic_steps=2", 'generators.g.norm="group"')
NO_ADAPT = RECIPE.replace("adapt = { samples = 100 }\n", "").replace("lecam = 0.1\n", "")


def test_a_fallback_is_wgan_gp_and_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    overrides = (*FALL, "train.steps=9")
    Faulty.when = {2: ("generator", "nan")}  # step 3, of which after the fallback only the critics have a part
    whole = tmp_path / "whole"
    assert go(whole, *overrides, text=NO_ADAPT) == 0
    end = runs.load(whole / "checkpoints" / "step-00000009")
    records = runs.read_metrics(whole / "metrics.jsonl")
    [fell] = [record for record in records if "guard/fallback" in record]
    assert (fell["step"], fell["guard/from"]) == (2, 3)
    assert end.state["guard"]["fell"] == 2
    later = [record for record in records if record["step"] > 2 and "lr/generator" in record]
    assert all(record["lr/generator"] == record["lr/discriminator"] == 1e-4 for record in later)
    played = {record["step"]: [side for side in ("generator", "discriminator")
                               if any(f"/{side}/" in name for name in record)] for record in later}  # fmt: skip
    assert played == {s: ["generator"] * (s % 2 == 0) + ["discriminator"] for s in range(3, 10)}
    losses = {name.rpartition("/")[2] for record in later for name in record if "/discriminator/" in name}
    assert losses == {"wasserstein", "gradient_penalty", "faulty"}
    start = runs.load(whole / "checkpoints" / "step-00000002")
    assert {name.split("|")[0] for name in start.groups["optimizers"]} == {"g"}
    assert start.groups["history"] == {}
    resolved = parse_recipe((whole / "recipe.fallback.toml").read_text()).recipe
    assert set(resolved.losses) == {"wasserstein", "gradient_penalty", "cycle", "faulty"}
    assert resolved.guard.actions == {"not_finite": "stop"}
    assert "on by wasserstein, gradient_penalty" in (whole / "log.txt").read_text()

    class Killed(BaseException):
        pass

    for at in (2, 5):
        parted = tmp_path / f"parted-{at}"
        saved = Trainer.save

        def stopping(self: Trainer, step: int, at: int = at, saved: Any = saved) -> None:
            saved(self, step)
            if step == at and self.guardian.fell >= 0:
                raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "save", stopping)
            with pytest.raises(Killed):
                go(parted, *overrides, text=NO_ADAPT)
        assert go(parted, *overrides, text=NO_ADAPT) == 0
        again = runs.load(parted / "checkpoints" / "step-00000009")
        assert runs.digest(again.groups) == runs.digest(end.groups)
        assert again.state == end.state


# A launcher's process: the plugin is there, and only the second process has the fault.
SECOND = """
import os, sys
sys.path.insert(0, {here!r})
import test_guard_steps as here
known = here.known()
here.Registry.installed = staticmethod(lambda: known)
if os.environ["RANK"] == "1":
    here.Faulty.when = {{5: ("generator", "nan")}}
from transgan.cli import main
main()
"""


def test_two_processes_skip_and_go_back_at_the_same_step(started: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "faulty.toml"
    recipe.write_text(RECIPE.replace('norm = "batch"', 'norm = "group"'))
    sets = [part for each in (*BACK, "guard.rollbacks=1") for part in ("--set", each)]
    code = SECOND.format(here=str(Path(__file__).parent))
    ended = started(2, "-c", code, "run", recipe, "--out", tmp_path / "run", "-q", *sets)
    assert [number for number, _ in ended] == [6, 6], ended
    text = (tmp_path / "run" / "log.txt").read_text()
    assert text.count("step 6: skipped") == 2
    assert text.count("Back at step 5, and on with learning rates times 0.25") == 1
