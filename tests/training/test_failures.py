"""What fails besides training costs itself and nothing else: metrics, evaluations, previews, hooks.

Of the kind: any exception of a plugin's code, of the data or of memory, in any part that is not a training step. The
model is written before anything of that is begun.
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transgan_images.media import ImageMedia

from transgan import storage
from transgan.api import DataError, Hooks, Metric, Register, RunInfo, Tensor, Translation, hookimpl
from transgan.api.protocols import MOMENTS
from transgan.errors import DiskError
from transgan.recipe import read_recipe
from transgan.registry import Registry
from transgan.reporting.html import Report, escape
from transgan.training.start import train

RECIPE = """
[train]
steps = 4
batch = 2
checkpoint_every = 2
sample_every = 2
[generators]
g = { use = "resnet", per = "direction", width = 2, blocks = 0 }
[losses]
cycle = 1.0
[evaluate]
every = 2
samples = 4
[metrics]
broken = true
cycle_error = true
"""
#: Errors, and what is said of them.
ERRORS = {
    "ZeroDivisionError: of this test": lambda: ZeroDivisionError("of this test"),
    "a.png: cut off": lambda: DataError("a.png: cut off"),
    "out of memory": lambda: RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
}


class Broken(Metric):
    """Fails in one of its methods; notes which steps the model folder had had by then."""

    place = "compute"
    error: Callable[[], Exception]
    folder = Path()
    steps: list[int] = []
    stated: Any = {}

    def _fail_in(self, place: str) -> None:
        if place == Broken.place:
            Broken.steps.append(storage.read_model(Broken.folder / "model")[1]["steps"])
            raise Broken.error()

    def prepare(self, *arguments: Any) -> None:
        self._fail_in("prepare")

    def reset(self) -> None:
        self._fail_in("reset")

    def update(self, translation: Translation, fake: Tensor) -> None:
        self._fail_in("update")

    def compute(self) -> dict[Translation, dict[str, float]]:
        self._fail_in("compute")
        return {}

    def protocol(self) -> Any:
        if Broken.place == "protocol":
            raise Broken.error()
        return Broken.stated


class Plugin:
    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("broken", Broken)


def result(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return found


@pytest.mark.parametrize("place", ["prepare", "reset", "update", "compute"])
@pytest.mark.parametrize("message", ERRORS)
def test_a_metric_that_fails_costs_itself(
    trained: Any, recipe_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, message: str
) -> None:
    folder = tmp_path / "run"
    for name, value in {"place": place, "error": staticmethod(ERRORS[message]), "folder": folder, "steps": []}.items():
        monkeypatch.setattr(Broken, name, value, raising=False)
    assert trained(recipe_file(RECIPE), folder, plugin=Plugin()).step == 4
    assert Broken.steps == [2, 4]  # the model of each step was there before it was measured
    found = result(folder)
    assert all(set(figures) == {"cycle_error"} for figures in found["translations"].values())
    (warning,) = [each for each in found["warnings"] if each.startswith("step ")]
    assert warning.startswith("step 2: metric 'broken' is omitted: ")
    assert message in warning
    log = (folder / "log.txt").read_text()
    assert log.count(f"warning: {warning}") == 1 and log.count("Traceback") == 1
    assert escape(warning) in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("stated", "why"),
    [
        (None, "ZeroDivisionError: of this test"),
        (3, "protocol returned 3; return {'name': 'its definition, in words'}"),
        ({"broken": {1, 2}}, "protocol returned {'broken': {1, 2}}; return"),
        ({1: "a"}, "protocol returned {1: 'a'}; return"),
        ("texts", "protocol returned 'texts'; return"),
    ],
)  # fmt: skip
def test_a_metric_that_cannot_state_its_protocol_costs_itself(
    trained: Any, recipe_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stated: Any, why: str
) -> None:
    """The model of each step is written before anything is measured, which must not fail for what metrics state."""
    folder = tmp_path / "run"
    monkeypatch.setattr(Broken, "place", "protocol" if stated is None else "")
    monkeypatch.setattr(Broken, "error", staticmethod(ERRORS["ZeroDivisionError: of this test"]), raising=False)
    monkeypatch.setattr(Broken, "stated", stated)
    assert trained(recipe_file(RECIPE), folder, plugin=Plugin()).step == 4
    assert storage.read_model(folder / "model")[1]["steps"] == 4
    found = result(folder)
    assert found["protocols"] == {}
    assert all(set(figures) == {"cycle_error"} for figures in found["translations"].values())
    (warning,) = [each for each in found["warnings"] if each.startswith("step ")]
    assert warning.startswith("step 2: metric 'broken' is omitted: metric 'broken'") and why in warning


def test_a_preview_that_fails_costs_itself(
    trained: Any, recipe_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> Path:
        raise ValueError("no room\non the sheet")

    monkeypatch.setattr(ImageMedia, "preview", fail)
    folder = tmp_path / "run"
    assert trained(recipe_file(RECIPE.replace("broken = true", "")), folder).step == 4
    assert not list((folder / "samples").iterdir())
    (warning,) = [each for each in result(folder)["warnings"] if each.startswith("step ")]
    assert warning.startswith("step 2: the preview failed: ") and warning.endswith("ValueError: no room on the sheet")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (DiskError("report.html: Is a directory"), "report.html: Is a directory"),
        (ZeroDivisionError("of this test"), "ZeroDivisionError: of this test"),
    ],
)
def test_a_report_that_cannot_be_written_at_the_end_costs_itself(
    trained: Any, recipe_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    write, folder = Report.write, tmp_path / "run"

    def fail_at_the_end(self: Report, state: Any = "running", *arguments: Any, **more: Any) -> None:
        if state == "finished":
            raise error
        write(self, state, *arguments, **more)

    monkeypatch.setattr(Report, "write", fail_at_the_end)
    assert trained(recipe_file(RECIPE.replace("broken = true", "")), folder).step == 4
    assert result(folder)["steps"] == 4 and result(folder)["translations"]
    log = (folder / "log.txt").read_text()
    assert f"  warning: step 4: the report failed: {why}\n" in log
    assert log.splitlines()[-1].endswith("  finished at step 4")


@pytest.mark.parametrize("module", ["transgan.evaluation.evaluate", "transgan.training.trainer"])
def test_an_evaluation_that_fails_costs_itself(
    trained: Any, recipe_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    """As a whole, where no metric is at fault: held-out samples, or what conditions change, cannot be computed."""
    name = "held_out_batches" if module.endswith("evaluate") else "measure_effects"

    def fail(*arguments: Any) -> Any:
        raise DataError("b.png: cut off")

    monkeypatch.setattr(f"{module}.{name}", fail)
    folder = tmp_path / "run"
    assert trained(recipe_file(RECIPE.replace("broken = true", "")), folder).step == 4
    found = result(folder)
    assert any("b.png: cut off" in warning for warning in found["warnings"])
    assert bool(found["translations"]) == (name == "measure_effects")
    assert storage.read_model(folder / "model")[1]["steps"] == 4


class Counted(Hooks):
    """Counts the calls of its methods; raises in one of them, or in none."""

    calls: Counter[str]
    raises_in = ""

    def _called(self, moment: str, run: RunInfo) -> None:
        self.calls[moment] += 1
        if moment == self.raises_in:
            if moment == "evaluated":
                run.request_stop("of this test")
            raise RuntimeError(f"in {moment}")

    def run_started(self, run: RunInfo) -> None:
        self._called("run_started", run)

    def step_finished(self, run: RunInfo) -> None:
        self._called("step_finished", run)

    def samples_saved(self, run: RunInfo, path: Path) -> None:
        self._called("samples_saved", run)

    def evaluated(self, run: RunInfo) -> None:
        self._called("evaluated", run)

    def checkpoint_saved(self, run: RunInfo, path: Path) -> None:
        self._called("checkpoint_saved", run)

    def run_finished(self, run: RunInfo, outcome: str) -> None:
        self._called("run_finished", run)


class Offering:
    def __init__(self, **classes: type[Hooks]):
        self.classes = classes

    @hookimpl
    def register_hooks(self, register: Register) -> None:
        for name, cls in self.classes.items():
            register(name, cls)


@pytest.mark.parametrize("moment", MOMENTS)
def test_hooks_that_raise_are_reported_and_not_called_again(recipe_file: Any, tmp_path: Path, moment: str) -> None:
    class Healthy(Counted):
        calls = Counter()

    class Failing(Counted):
        calls = Counter()
        raises_in = moment

    class Unnamed(Counted):
        calls = Counter()

    registry, folder = Registry.installed(), tmp_path / "run"
    registry.add(Offering(healthy=Healthy, unnamed=Unnamed), "healthy")
    registry.add(Offering(failing=Failing), "failing", "fancy-hooks", "3.1")
    recipe = read_recipe(recipe_file(RECIPE.replace("broken = true", "") + "[hooks]\nfailing = true\nhealthy = true\n"))
    assert train(recipe, registry, folder).code == 0
    stopped = moment == "evaluated"  # it has asked for the end, which is heard all the same
    assert storage.saved_steps(folder / "checkpoints") == ([2] if stopped else [2, 4])
    assert all(Healthy.calls[each] > 0 for each in MOMENTS)
    assert Failing.calls[moment] == 1
    assert moment == "run_finished" or Failing.calls["run_finished"] == 0
    assert not Unnamed.calls  # installed, and not in the recipe
    message = f"hooks 'failing': {moment} failed, they are not called again: "
    cause = f"set of hooks 'failing' of fancy-hooks 3.1 failed: RuntimeError: in {moment}"
    assert (folder / "log.txt").read_text().count(f"{message}{cause}") == 1
    if moment != "run_finished":
        assert [message in each for each in result(folder)["warnings"] if each.startswith("step ")] == [True]
