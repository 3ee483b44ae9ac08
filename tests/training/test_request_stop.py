"""`RunInfo.request_stop`: a hook ends a run early, as if the step were the last; and what `RunInfo` holds."""

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from transgan import api, storage
from transgan.api import Metric, Register, RunInfo, Tensor, Translation, hookimpl
from transgan.api.protocols import MOMENTS

RECIPE = """
name = "early"
[train]
steps = 6
batch = 2
log_every = 1
checkpoint_every = 6
sample_every = 6
[generators]
g = { use = "resnet", per = "direction", width = 2, blocks = 0 }
[discriminators]
d = { use = "patch", width = 2, layers = 1 }
[losses]
lsgan = 1.0
cycle = 10.0
[evaluate]
every = 2
samples = 4
[metrics]
cycle_error = true
"""
REASON = "good enough for this test"
#: What a recipe says to have the hooks called.
NAMED = "hooks.of_this_test=true"


def calling(receiver: object) -> type[api.Hooks]:
    """Return a class of hooks that call an object's methods of the same names, where it has them."""

    def forward(moment: str) -> Any:
        return lambda self, **arguments: getattr(receiver, moment)(**arguments)

    return type("OfThisTest", (api.Hooks,), {each: forward(each) for each in MOMENTS if hasattr(receiver, each)})


class Hooks:
    """Records what hooks are given; requests the end in one hook, after a step."""

    def __init__(self, hook: str = "", step: int = 0):
        self.request = (hook, step)
        self.calls: list[tuple[str, RunInfo]] = []
        self.paths: list[Path] = []
        self.outcome = ""

    def _called(self, hook: str, run: RunInfo) -> None:
        self.calls.append((hook, run))
        if self.request == (hook, run.step):
            run.request_stop(REASON)

    def of(self, hook: str) -> list[RunInfo]:
        """Return what the calls of a hook were given."""
        return [run for name, run in self.calls if name == hook]

    @hookimpl
    def register_hooks(self, register: Register) -> None:
        register("of_this_test", calling(self))

    def run_started(self, run: RunInfo) -> None:
        self._called("run_started", run)

    def step_finished(self, run: RunInfo) -> None:
        self._called("step_finished", run)

    def samples_saved(self, run: RunInfo, path: Path) -> None:
        self._called("samples_saved", run)
        self.paths.append(path)

    def evaluated(self, run: RunInfo) -> None:
        self._called("evaluated", run)

    def checkpoint_saved(self, run: RunInfo, path: Path) -> None:
        self._called("checkpoint_saved", run)
        self.paths.append(path)

    def run_finished(self, run: RunInfo, outcome: str) -> None:
        self._called("run_finished", run)
        self.outcome = outcome


def steps_of_log(folder: Path) -> list[int]:
    """Return the steps whose losses were logged."""
    return [each["step"] for each in storage.read_metrics(folder / "metrics.jsonl") if "lr/generator" in each]


@pytest.mark.parametrize(("hook", "step"), [("step_finished", 3), ("evaluated", 2), ("step_finished", 6)])
def test_a_request_ends_the_run_after_the_step_with_checkpoint_model_and_report(
    trained: Any, recipe_file: Any, tmp_path: Path, hook: str, step: int
) -> None:
    hooks, folder = Hooks(hook, step), tmp_path / "run"
    checkpoint = trained(recipe_file(RECIPE), folder, NAMED, plugin=hooks)  # asserts that the exit code is 0
    assert checkpoint.step == step
    tensors, config = storage.read_model(folder / "model")
    assert config["steps"] == step
    assert tensors and all(torch.equal(value, checkpoint.groups["networks"][name]) for name, value in tensors.items())
    result = json.loads((folder / "result.json").read_text())
    assert result["steps"] == step
    assert result["translations"] == hooks.of("run_finished")[0].figures
    assert (folder / "report.html").is_file()
    assert [path.name for path in (folder / "samples").iterdir()] == [f"step-{step:08d}.png"]
    assert steps_of_log(folder) == list(range(1, step + 1))
    log = (folder / "log.txt").read_text()
    assert log.count(f"step {step}: stopped by a plugin: {REASON}\n") == 1
    assert log.endswith(f"stopped at step {step}\n")
    assert hooks.outcome == "stopped"
    assert [run.step for run in hooks.of("run_finished")] == [step]


@pytest.mark.parametrize("hook", ["checkpoint_saved", "samples_saved"])
def test_a_request_after_the_step_was_saved_ends_the_run_after_the_next_step(
    trained: Any, recipe_file: Any, tmp_path: Path, hook: str
) -> None:
    hooks = Hooks(hook, 2)
    overrides = ("train.checkpoint_every=2", "train.sample_every=2", "evaluate.every=0")
    assert trained(recipe_file(RECIPE), tmp_path / "run", NAMED, *overrides, plugin=hooks).step == 3
    assert hooks.outcome == "stopped"


def test_without_a_request_the_run_is_finished(trained: Any, recipe_file: Any, tmp_path: Path) -> None:
    """A request at the end, when the last step has been evaluated, changes nothing."""
    hooks = Hooks("evaluated", 6)
    assert trained(recipe_file(RECIPE), tmp_path / "run", NAMED, plugin=hooks).step == 6
    assert hooks.outcome == "finished"
    assert "stopped" not in (tmp_path / "run" / "log.txt").read_text()


def test_a_stopped_run_is_resumed_to_the_end_of_a_run_that_was_not_stopped(
    trained: Any, recipe_file: Any, tmp_path: Path
) -> None:
    recipe = recipe_file(RECIPE)
    trained(recipe, tmp_path / "stopped", NAMED, plugin=Hooks("step_finished", 3))
    resumed, whole = trained(recipe, tmp_path / "stopped"), trained(recipe, tmp_path / "whole")
    assert resumed.step == whole.step == 6
    assert storage.digest(resumed.groups) == storage.digest(whole.groups)
    assert resumed.state == whole.state


def test_run_info_describes_the_run_at_every_hook(trained: Any, recipe_file: Any, tmp_path: Path) -> None:
    hooks, folder = Hooks(), tmp_path / "run"
    trained(recipe_file(RECIPE), folder, NAMED, "train.steps=3", "train.checkpoint_every=2", plugin=hooks)
    assert [(hook, run.step) for hook, run in hooks.calls] == [
        ("run_started", 0),
        ("step_finished", 1),
        ("step_finished", 2),
        ("checkpoint_saved", 2),
        ("evaluated", 2),
        ("step_finished", 3),
        ("checkpoint_saved", 3),
        ("samples_saved", 3),
        ("evaluated", 3),
        ("run_finished", 3),
    ]
    checkpoints, samples = folder / "checkpoints", folder / "samples"
    assert hooks.paths == [
        checkpoints / "step-00000002",
        checkpoints / "step-00000003",
        samples / "step-00000003.png",
    ]
    assert all((run.name, run.folder, run.steps) == ("early", folder, 3) for _, run in hooks.calls)

    [started] = hooks.of("run_started")
    assert started.losses == {} and started.figures == {}
    directions = ("age: young -> old", "age: old -> young")
    names = {f"{each}/{loss}" for each in directions for loss in ("loss_G/lsgan", "loss_G/cycle", "loss_D/lsgan")}
    logged = {each["step"]: each for each in storage.read_metrics(folder / "metrics.jsonl") if "lr/generator" in each}
    for run in hooks.of("step_finished"):
        assert run.losses.keys() == names
        assert all(isinstance(value, Tensor) and value.ndim == 0 for value in run.losses.values())
        assert {name: float(value) for name, value in run.losses.items()} == {
            name: pytest.approx(logged[run.step][name], rel=1e-5) for name in names
        }
    assert all(run.figures == {} for run in hooks.of("step_finished")[:2])
    first, last = hooks.of("evaluated")
    assert first.figures.keys() == last.figures.keys() == set(directions)
    assert hooks.of("step_finished")[2].figures == first.figures != last.figures
    assert last.figures == json.loads((folder / "result.json").read_text())["translations"]


def test_run_info_cannot_be_changed(tmp_path: Path) -> None:
    run = RunInfo("name", tmp_path, 1, 2, {}, {}, lambda reason: None)
    for field in dataclasses.fields(run):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(run, field.name, getattr(run, field.name))


class Given(Metric):
    """Reports `numbers`, one for each evaluation, whatever the translations are."""

    direction = {"given": "lower"}
    numbers: Iterator[float] = iter(())

    def reset(self) -> None:
        self.value = next(Given.numbers)
        self.translations: set[Translation] = set()

    def update(self, translation: Translation, fake: Tensor) -> None:
        self.translations.add(translation)

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {translation: {"given": self.value} for translation in self.translations}


class EarlyStopping:
    """Stops a run whose figure has not improved for N evaluations; lower is better."""

    def __init__(self, figure: str, patience: int):
        self.figure, self.patience = figure, patience
        self.best, self.waited = math.inf, 0

    def evaluated(self, run: RunInfo) -> None:
        value = fmean(figures[self.figure] for figures in run.figures.values())
        self.best, self.waited = (value, 0) if value < self.best else (self.best, self.waited + 1)
        if self.waited == self.patience:
            run.request_stop(f"{self.figure} has not improved for {self.patience} evaluations")

    @hookimpl
    def register_hooks(self, register: Register) -> None:
        register("of_this_test", calling(self))

    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("given", Given)


@pytest.mark.parametrize(
    ("during", "at_end", "steps", "kept"),
    [
        ([3.0, 2.0, 2.5, 2.0], [2.0, 9.0], 4, 2),  # two evaluations in a row without improvement
        ([3.0, 2.0, 2.5, 1.0, 1.5], [0.5, 9.0], 6, 6),  # never more than one
    ],
)
def test_early_stopping_is_a_short_plugin(
    trained: Any,
    recipe_file: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    during: list[float],
    at_end: list[float],
    steps: int,
    kept: int,
) -> None:
    """At the end there are two evaluations: for `keep_best`, and of the model that was kept."""
    monkeypatch.setattr(Given, "numbers", iter([*during, *at_end]))
    overrides = ("metrics={given=true}", "evaluate.every=1", 'evaluate.keep_best="given"')
    checkpoint = trained(recipe_file(RECIPE), tmp_path / "run", NAMED, *overrides, plugin=EarlyStopping("given", 2))
    assert checkpoint.step == steps
    assert next(Given.numbers, None) is None
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert (result["steps"], result["kept"]) == (steps, kept)
    log = (tmp_path / "run" / "log.txt").read_text()
    reason = "step 4: stopped by a plugin: given has not improved for 2 evaluations"
    assert (reason in log) == (steps == 4)


# One process of several; the plugin is installed in each.
PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
from test_request_stop import Hooks
from transgan.cli import main
from transgan.registry import Registry
registry = Registry.installed()
registry.add(Hooks("step_finished", 3), "of_this_test")
Registry.installed = staticmethod(lambda: registry)
main()
"""


def test_two_processes_stop_at_the_same_step(start_processes: Any, recipe_file: Any, tmp_path: Path) -> None:
    """Hooks are called on the main process; the processes agree at every tenth step."""
    sets = [part for each in ("train.steps=12", "train.checkpoint_every=20", NAMED) for part in ("--set", each)]
    program = PROGRAM.format(folder=str(Path(__file__).parent))
    ended = start_processes(2, "-c", program, "run", recipe_file(RECIPE), "--out", tmp_path / "run", "-q", *sets)
    assert ended == [(0, ""), (0, "")]
    checkpoint, _ = storage.newest(tmp_path / "run" / "checkpoints")
    assert checkpoint is not None and checkpoint.step == 10
    assert f"step 10: stopped by a plugin: {REASON}" in (tmp_path / "run" / "log.txt").read_text()
    assert (tmp_path / "run" / "report.html").is_file()
