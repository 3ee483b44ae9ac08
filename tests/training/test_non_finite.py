"""Steps with numbers that are not finite leave no trace; too many of them end the run, or make it go back."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from transgan import storage
from transgan.api import Clock, Loss, Register, hookimpl
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.errors import DiskError, DivergedError
from transgan.plan import make_plan
from transgan.recipe import parse_recipe
from transgan.registry import Registry
from transgan.reporting.console import Progress
from transgan.training.distributed import Processes
from transgan.training.engine import Engine
from transgan.training.trainer import Trainer

# All that a step may change: batch norm's statistics, image pools, an average, loss buffers, adaptive probabilities.
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
    """Is 0, or not finite: `when` gives, by step, the side and `"nan"`, `"inf"`, `"-inf"` or `"gradient"`."""

    when: Mapping[int, tuple[str, str]] = {}

    def _term(self, x: Tensor, clock: Clock, side: str) -> Tensor:
        if self.when.get(clock.step, ("", ""))[0] != side:
            return 0.0 * x.sum()
        kind = self.when[clock.step][1]
        if kind == "gradient":  # the value is 0, and its derivative is not finite
            return (0.0 * x).abs().sum().sqrt()
        return x.sum() * float(kind)

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


def registry_with_fault() -> Registry:
    registry = Registry.installed()
    registry.add(Plugin(), "of_this_test")
    return registry


def train(out: Path, *overrides: str, text: str = RECIPE) -> int:
    """Train or resume in a folder; return the exit code."""
    registry, folder = registry_with_fault(), storage.RunFolder.open(out)
    try:
        document = parse_recipe(text, "recipe", overrides)
        trainer = Trainer(document, make_plan(document, registry), registry, Processes(), folder)
        return trainer.fit(Progress(trainer.plan.recipe.train.steps, quiet=True))
    finally:
        folder.close()


def everything(engine: Engine) -> dict[str, dict[str, Tensor]]:
    """Return copies of all that a step could change; moments that are 0 are omitted, as if there were none."""
    assert engine.average is not None
    sampler = engine.task_sampler
    groups = {
        "networks": {f"{n}|{k}": v for n, m in engine.networks.items() for k, v in m.state_dict().items()},
        "average": {f"{n}|{k}": v for n, m in engine.average.items() for k, v in m.state_dict().items()},
        "moments": {k: v for k, v in engine.optimizers.state_dict().items() if v.any()},
        "history": engine.objective.history.pools,
        "loss_buffers": engine.objective.loss_buffers.values,
        "task_sampler": {"separation": sampler.separation, "steps": torch.tensor(list(sampler.steps.values()))},
        "counts": {
            "ema": torch.tensor(engine.average.updates),
            **{name: torch.tensor(n) for name, n in engine.objective.history.counts.items()},
        },
    }
    return {group: {name: x.detach().clone() for name, x in found.items()} for group, found in groups.items()}


@pytest.mark.parametrize("kind", ["nan", "inf", "gradient"])
@pytest.mark.parametrize("first", ["generator", "discriminator"])
def test_a_step_that_is_not_finite_leaves_no_trace(first: str, kind: str) -> None:
    """The fault is in the first phase, so no network may change."""
    sides = [first, "generator" if first == "discriminator" else "discriminator"]
    phases = "".join(f'[[phases]]\nside = "{side}"\n' for side in sides)
    plan = make_plan(parse_recipe(RECIPE + phases), registry_with_fault())
    engine = Engine(plan)
    Faulty.when = {2: (first, kind)}
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
            for group in ("networks", "average", "moments", "history", "loss_buffers", "task_sampler", "counts"):
                assert any(not torch.equal(x, before[group].get(n, x + 1)) for n, x in after[group].items()), group
        before = after
        if step == 4:
            break


def test_gradient_norms_are_those_of_the_networks_that_took_part_in_the_step() -> None:
    """A step trains one task, and generators in every second step."""
    phases = '[[phases]]\nside = "generator"\nevery = 2\n[[phases]]\nside = "discriminator"\n'
    per_task = ('generators.g.per="task"', 'discriminators.d.per="task"', "train.balance={age=0.5,race=0.5}")
    plan = make_plan(parse_recipe(RECIPE + phases, "recipe", per_task), registry_with_fault())
    engine = Engine(plan)
    seen = set()
    for step, losses in engine.train(Batches(plan, Domains(plan))):
        [task] = {name.partition(":")[0] for name in losses}
        assert engine.optimizers.norms.keys() == {f"d.{task}", *([f"g.{task}"] if step % 2 == 0 else [])}
        assert all(norm > 0 for norm in engine.optimizers.norms.values())
        seen.add((task, step % 2))
    assert len(seen) > 2


def test_a_faulty_phase_after_a_finite_one_updates_nothing() -> None:
    plan = make_plan(parse_recipe(RECIPE), registry_with_fault())
    engine = Engine(plan)
    Faulty.when = {1: ("discriminator", "nan")}
    seen = [everything(engine)["networks"]]
    for step, _ in engine.train(Batches(plan, Domains(plan))):
        seen.append(everything(engine)["networks"])
        if step == 2:
            break
    changed = {name.split("|")[0] for name, x in seen[2].items() if not torch.equal(x, seen[1][name])}
    assert changed == {"g"}


@pytest.mark.parametrize("seed", range(2))
def test_nothing_that_is_not_finite_reaches_a_checkpoint(tmp_path: Path, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)

    def one_of(*choices: str) -> str:
        return choices[int(torch.randint(len(choices), (), generator=generator))]

    faulty = [step for step in range(8) if float(torch.rand((), generator=generator)) < 0.5]
    Faulty.when = {
        step: (one_of("generator", "discriminator"), one_of("nan", "inf", "-inf", "gradient")) for step in faulty
    }
    assert train(tmp_path / "run") == 0
    for step in range(1, 9):
        checkpoint = storage.load(tmp_path / "run" / "checkpoints" / f"step-{step:08d}")
        for group, tensors in checkpoint.groups.items():
            assert all(torch.isfinite(x).all() for x in tensors.values() if x.is_floating_point()), group
    records = storage.read_metrics(tmp_path / "run" / "metrics.jsonl")
    counted = [record["guard/not_finite"] for record in records if "guard/not_finite" in record]
    assert counted == [sum(step < number for step in faulty) for number in range(1, 9)]


def test_after_too_many_skipped_steps_the_run_ends_with_the_reason(tmp_path: Path) -> None:
    Faulty.when = dict.fromkeys((2, 3, 5), ("generator", "nan"))
    with pytest.raises(DivergedError) as caught:
        train(tmp_path / "run", "guard.skip=2", 'guard.action="off"')
    for part in ("step 6: 3 of the newest 1000 steps were skipped", "expected 2 at most", "train.clip", "of step 5"):
        assert part in str(caught.value)
    assert caught.value.exit_code == 6
    assert "step 3: skipped, since age: young -> old/loss_G/faulty" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.parametrize(
    ("precision", "other"), [("fp32", "a gradient is not finite"), ("fp16", "a gradient overflowed")]
)
def test_causes_of_steps_that_are_counted_on_the_device_are_kept_apart(
    precision: str, other: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest step, which alone is seen on the host, is a good one."""
    train_step = Engine.train_step

    def without_waiting(engine: Engine, *arguments: Any) -> dict[str, Tensor]:
        engine.waits = False
        return train_step(engine, *arguments)

    monkeypatch.setattr(Engine, "train_step", without_waiting)
    Faulty.when = {2: ("generator", "nan"), 3: ("discriminator", "gradient"), 4: ("discriminator", "inf")}
    settings = ("train.log_every=8", "train.checkpoint_every=8", 'guard.action="off"', "guard.skip=8")
    assert train(tmp_path / "run", *settings, f'train.precision="{precision}"') == 0
    log = (tmp_path / "run" / "log.txt").read_text(encoding="utf-8")
    assert "step 8: 2 of the steps before were skipped, since a loss is not finite" in log
    assert f"of the steps before were skipped, since {other}" in log


# Untrained networks have other faults too: with those, no checkpoint would be good.
BACK = ('guard.action="off"', "guard.skip=0", 'guard.actions.not_finite="rollback"', "guard.lr_factor=0.25")


def test_a_rollback_goes_on_from_the_last_good_checkpoint_with_lower_learning_rates(tmp_path: Path) -> None:
    """It equals a run that goes on from there with those learning rates."""
    Faulty.when = {5: ("generator", "nan")}

    class Once(Faulty):
        """Has its fault only the first time that the step is trained."""

        def for_generator(self, fake: Tensor, clock: Clock) -> Tensor:
            found = self._term(fake, clock, "generator")
            if clock.step == 5 and fake.requires_grad:
                self.calls = getattr(self, "calls", 0) + 1
                if self.calls > 8:  # four translations in two micro-batches
                    return 0.0 * fake.sum()
            return found

    class OncePlugin(Plugin):
        @hookimpl
        def register_losses(self, register: Register) -> None:
            register("faulty", Once)

    registry = Registry.installed()
    registry.add(OncePlugin(), "of_this_test")
    document = parse_recipe(RECIPE, "recipe", BACK)
    folder = storage.RunFolder.open(tmp_path / "run")
    trainer = Trainer(document, make_plan(document, registry), registry, Processes(), folder)
    assert trainer.fit(Progress(8, quiet=True)) == 0
    folder.close()
    records = storage.read_metrics(tmp_path / "run" / "metrics.jsonl")
    [rollback] = [record for record in records if "guard/rollback" in record]
    assert (rollback["step"], rollback["guard/from"], rollback["guard/lr_factor"]) == (5, 6, 0.25)
    rates = {record["step"]: record["lr/generator"] for record in records if "lr/generator" in record}
    assert rates == {step: 2e-4 if step <= 5 else 5e-5 for step in range(1, 9)}
    whole = storage.load(tmp_path / "run" / "checkpoints" / "step-00000008")
    assert whole.state["guardian"]["rollbacks"] == 1

    Faulty.when = {}  # in a loop: five steps, and then three with a quarter of the learning rates
    plan = make_plan(parse_recipe(RECIPE), registry_with_fault())
    engine = Engine(plan)
    for step, _ in engine.train(Batches(plan, Domains(plan))):
        if step == 5:
            engine.optimizers.lr_factor = 0.25
    for name, network in engine.networks.items():
        for key, tensor in network.state_dict().items():
            assert torch.equal(tensor, whole.groups["networks"][f"{name}|{key}"]), f"{name}|{key}"
    assert "<h2>Guardian</h2>" in (tmp_path / "run" / "report.html").read_text()


def test_a_fault_that_recurs_after_all_rollbacks_ends_the_run(tmp_path: Path) -> None:
    Faulty.when = {5: ("generator", "nan")}
    with pytest.raises(DivergedError, match="step 6: 1 of the newest"):
        train(tmp_path / "run", *BACK, "guard.rollbacks=2")
    text = (tmp_path / "run" / "log.txt").read_text()
    assert text.count("Back at step 5, and on with learning rates times") == 2
    assert "times 0.0625" in text


def test_before_the_first_checkpoint_a_rollback_starts_again_from_step_0(tmp_path: Path) -> None:
    Faulty.when = {0: ("generator", "nan")}
    with pytest.raises(DivergedError):
        train(tmp_path / "run", *BACK, "guard.rollbacks=1")
    assert "Back at step 0" in (tmp_path / "run" / "log.txt").read_text()


def test_a_rollback_does_not_use_a_checkpoint_that_could_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Faulty.when = {5: ("generator", "nan")}
    real = storage.save

    def full(folder: Path, step: int, *args: Any, **options: Any) -> Path:
        if step == 5:
            raise DiskError("the disk is full")
        return real(folder, step, *args, **options)

    monkeypatch.setattr(storage, "save", full)
    with pytest.raises(DivergedError):
        train(tmp_path / "run", *BACK, "guard.rollbacks=1")
    text = (tmp_path / "run" / "log.txt").read_text()
    assert text.count("Back at step 4,") == 1 and "no checkpoint: the disk is full" in text


FALL = (*BACK[:2], 'guard.actions.not_finite="fallback"', "guard.fallback.critic_steps=2", 'generators.g.norm="group"')
NO_ADAPT = RECIPE.replace("adapt = { samples = 100 }\n", "").replace("lecam = 0.1\n", "")


def test_a_fallback_is_wgan_gp_and_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    overrides = (*FALL, "train.steps=9")
    Faulty.when = {2: ("generator", "nan")}  # step 3, which after the fallback trains only the critics
    whole = tmp_path / "whole"
    assert train(whole, *overrides, text=NO_ADAPT) == 0
    end = storage.load(whole / "checkpoints" / "step-00000009")
    records = storage.read_metrics(whole / "metrics.jsonl")
    [fallback] = [record for record in records if "guard/fallback" in record]
    assert (fallback["step"], fallback["guard/from"]) == (2, 3)
    assert end.state["guardian"]["fallback_step"] == 2
    later = [record for record in records if record["step"] > 2 and "lr/generator" in record]
    assert all(record["lr/generator"] == record["lr/discriminator"] == 1e-4 for record in later)
    sides = {
        record["step"]: [side for side in ("loss_G", "loss_D") if any(f"/{side}/" in name for name in record)]
        for record in later
    }
    assert sides == {step: ["loss_G"] * (step % 2 == 0) + ["loss_D"] for step in range(3, 10)}
    losses = {name.rpartition("/")[2] for record in later for name in record if "/loss_D/" in name}
    assert losses == {"wasserstein", "gradient_penalty", "faulty"}
    start = storage.load(whole / "checkpoints" / "step-00000002")
    assert {name.split("|")[0] for name in start.groups["optimizers"]} == {"g"}
    assert "history" not in start.groups and start.state["history"] == {"counts": {}}
    resolved = parse_recipe((whole / "recipe.fallback.toml").read_text()).recipe
    assert set(resolved.losses) == {"wasserstein", "gradient_penalty", "cycle", "faulty"}
    assert resolved.guard.actions == {"not_finite": "stop"}
    assert "Back at step 2, and on with wasserstein, gradient_penalty" in (whole / "log.txt").read_text()

    class Killed(BaseException):
        pass

    for at in (2, 5):
        folder = tmp_path / f"killed-{at}"
        save = Trainer.save

        def save_and_kill(self: Trainer, step: int, must: bool = False, at: int = at, save: Any = save) -> None:
            save(self, step, must)
            if step == at and self.guardian.fallback_step >= 0:
                raise Killed

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "save", save_and_kill)
            with pytest.raises(Killed):
                train(folder, *overrides, text=NO_ADAPT)
        assert train(folder, *overrides, text=NO_ADAPT) == 0
        again = storage.load(folder / "checkpoints" / "step-00000009")
        assert storage.digest(again.groups) == storage.digest(end.groups)
        assert again.state == end.state
    # Gone back to a checkpoint from before the fallback, the run is one of the recipe again, to whoever reads it.
    storage.discard_after(whole / "checkpoints", 1)
    Faulty.when = {}
    assert train(whole, *overrides, text=NO_ADAPT) == 0
    assert not (whole / "recipe.fallback.toml").exists()
    assert storage.load(whole / "checkpoints" / "step-00000009").state["guardian"]["fallback_step"] == -1


# One process of several: the plugin is installed in each, and only the second has the fault.
PROGRAM = """
import os, sys
sys.path.insert(0, {folder!r})
import test_non_finite as module
registry = module.registry_with_fault()
module.Registry.installed = staticmethod(lambda: registry)
if os.environ["RANK"] == "1":
    module.Faulty.when = {{5: ("generator", "nan")}}
from transgan.cli import main
main()
"""


def test_two_processes_skip_and_go_back_at_the_same_step(start_processes: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "faulty.toml"
    recipe.write_text(RECIPE.replace('norm = "batch"', 'norm = "group"'))
    sets = [part for each in (*BACK, "guard.rollbacks=1") for part in ("--set", each)]
    program = PROGRAM.format(folder=str(Path(__file__).parent))
    ended = start_processes(2, "-c", program, "run", recipe, "--out", tmp_path / "run", "-q", *sets)
    assert [number for number, _ in ended] == [6, 6], ended
    text = (tmp_path / "run" / "log.txt").read_text()
    assert text.count("step 6: skipped") == 2
    assert text.count("Back at step 5, and on with learning rates times 0.25") == 1


@pytest.mark.parametrize(("kind", "cause"), [("nan", "loss_G/faulty"), ("gradient", "a gradient of g")])
def test_a_run_without_any_finite_step_has_failed(tmp_path: Path, kind: str, cause: str) -> None:
    """Of the kind: fewer steps than may be skipped, each of which is; one that is made is enough."""
    Faulty.when = dict.fromkeys(range(3), ("generator", kind))
    assert train(tmp_path / "made", "train.steps=4") == 0
    with pytest.raises(DivergedError, match=f"no step could be made: each of the 3 was skipped, since .*{cause}"):
        train(tmp_path / "none", "train.steps=3")
