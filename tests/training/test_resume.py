"""A run that was interrupted, in any way, and resumed ends as the uninterrupted run does, byte for byte.

Of the kind: every file of the run folder, whatever the moment of the interruption. Only times differ, and log.txt,
which says that there was one.
"""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from torch import Tensor

from transgan import storage
from transgan.cli.resume import resume

# All that a resume could get wrong: dropout, crops, two sizes, falling learning rates, an average, image pools,
# micro-batches.
RECIPE = """
[data]
source = { use = "synthetic_faces", count = 24 }
media = { use = "image", enlarge = 1.2 }
size = 24
[train]
steps = 8
batch = 4
accumulate = 2
ema = 0.9
log_every = 1
checkpoint_every = 2
sample_every = 2
keep = 9
[optimizers]
generator.lr = { from = 1e-3, to = 0.0, between = [0.25, 1.0] }
[generators]
g = { use = "resnet", per = "direction", width = 4, blocks = 1, dropout = 0.5 }
[discriminators]
d = { use = "patch", width = 4, layers = 1, history = 6 }
[losses]
lsgan = 1.0
cycle = { from = 10.0, to = 1.0 }
[[stages]]
share = 0.375
size = 16
[[stages]]
share = 0.625
[evaluate]
every = 2
samples = 4
[metrics]
cycle_error = true
"""

# A plugin that sends a signal to its own process where hooks are called; the run's recipe need not name it.
STOPPER = """
import os
import signal
from transgan.training.trainer import Trainer

def stop(trainer, moment, **arguments):
    if (moment, trainer.engine.completed) == (os.environ["STOP_IN"], int(os.environ["STOP_AT"])):
        os.kill(os.getpid(), getattr(signal, os.environ["STOP_BY"]))

Trainer.call_hook = stop
"""


@pytest.fixture(scope="module")
def recipe(recipe_file: Callable[[str], Path]) -> Path:
    return recipe_file(RECIPE)


@pytest.fixture(scope="module")
def whole(trained: Any, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the uninterrupted run."""
    folder: Path = tmp_path_factory.mktemp("runs") / "whole"
    trained(recipe, folder)
    return folder


@pytest.fixture
def interrupted(start_processes: Any, recipe: Path, tmp_path: Path) -> Callable[..., tuple[int, Path]]:
    """`interrupted(step, signal, hook)`: the exit code and folder of a run that got a signal in a hook at a step."""

    def run(step: int, by: str, hook: str = "step_finished") -> tuple[int, Path]:
        site = tmp_path / "site"
        (site / "stopper-1.0.dist-info").mkdir(parents=True)
        (site / "stopper.py").write_text(STOPPER)
        (site / "stopper-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: stopper\nVersion: 1.0\n")
        (site / "stopper-1.0.dist-info" / "entry_points.txt").write_text("[transgan]\nstopper = stopper\n")
        path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
        environment = {"PYTHONPATH": path, "STOP_AT": str(step), "STOP_BY": by, "STOP_IN": hook}
        [(code, _)] = start_processes(
            1, "-m", "transgan", "run", recipe, "--out", tmp_path / "interrupted", "-q", **environment
        )
        return code, tmp_path / "interrupted"

    return run


def resumed(folder: Path) -> str:
    """Resume a run to its end; return the digest of its last checkpoint."""
    with pytest.raises(typer.Exit) as end:
        resume(folder, steps=None, from_=None, plugin=[])
    assert end.value.exit_code == 0
    return last(folder)


def last(folder: Path) -> str:
    """Return the digest of a run's last checkpoint."""
    checkpoint = storage.load(folder / "checkpoints" / "step-00000008")
    assert set(checkpoint.groups) == {"networks", "ema", "optimizers", "history"}
    return storage.digest(checkpoint.groups)


def steps(folder: Path) -> list[int]:
    return [record["step"] for record in storage.read_metrics(folder / "metrics.jsonl")]


def cut_back(whole: Path, folder: Path, step: int) -> Path:
    """Copy a whole run without what came after the checkpoint of `step`; return the folder of the others."""
    shutil.copytree(whole, folder)
    (folder / "result.json").unlink()
    for path in (folder / "checkpoints").glob("step-*"):
        if path.name > f"step-{step:08d}":
            shutil.rmtree(path)
    return folder / "checkpoints"


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a run by its name, without times, and without log.txt and the report, which shows it."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del files[".lock"], files["log.txt"], files["report.html"]
    records = [json.loads(line) for line in files["metrics.jsonl"].splitlines()]
    files["metrics.jsonl"] = "\n".join(str({k: v for k, v in each.items() if k != "time"}) for each in records).encode()
    return files


def states(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return what changes where a file is written or replaced."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def assert_same(folder: Path, whole: Path) -> None:
    """Assert that two runs have written the same."""
    assert last(folder) == last(whole)
    ours, theirs = contents(folder), contents(whole)
    assert ours.keys() == theirs.keys()
    assert [name for name in theirs if ours[name] != theirs[name]] == []


@pytest.mark.parametrize(
    ("hook", "step"),
    [
        ("step_finished", 1),  # before the first checkpoint
        ("checkpoint_saved", 2),  # before this step is evaluated, and has a model
        ("evaluated", 4),  # before its preview
        ("samples_saved", 4),
        ("step_finished", 7),
        ("evaluated", 8),  # at the end, before figures are written
    ],
)
def test_a_killed_run_is_resumed_to_the_same_files(interrupted: Any, whole: Path, hook: str, step: int) -> None:
    code, folder = interrupted(step, "SIGKILL", hook)
    assert code == -9
    assert not (folder / "result.json").exists()
    resumed(folder)
    assert_same(folder, whole)


def test_after_sigterm_a_run_saves_its_step_and_is_resumed_from_there(interrupted: Any, whole: Path) -> None:
    code, folder = interrupted(5, "SIGTERM")
    assert code == 143
    checkpoint, _ = storage.newest(folder / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.step == 5
    assert storage.read_model(folder / "model")[1]["steps"] == 5
    assert "Interrupted at step 5 of 8" in (folder / "report.html").read_text()
    resumed(folder)
    shutil.rmtree(folder / "checkpoints" / "step-00000005")
    assert_same(folder, whole)


def test_the_sample_of_a_step_at_which_a_run_was_stopped_is_there(interrupted: Any, whole: Path) -> None:
    code, folder = interrupted(6, "SIGTERM")
    assert code == 143
    resumed(folder)
    assert_same(folder, whole)


@pytest.mark.parametrize("step", [6, 4, 2])
def test_a_run_may_be_resumed_from_each_of_its_checkpoints(whole: Path, step: int, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    cut_back(whole, folder, step)
    assert resumed(folder) == last(whole)
    assert_same(folder, whole)


def test_resuming_a_finished_run_writes_nothing(whole: Path, tmp_path: Path) -> None:
    """Of the kind: also where the user has deleted its checkpoints; with an older newest one, it is not finished."""
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    for _ in range(2):
        before = states(folder)
        with pytest.raises(typer.Exit) as end:
            resume(folder, steps=None, from_=None, plugin=[])
        assert end.value.exit_code == 0
        assert states(folder) == before
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def test_a_damaged_checkpoint_is_skipped_and_the_end_is_the_same(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    weights = cut_back(whole, folder, 6) / "step-00000006" / "networks.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    resumed(folder)
    assert_same(folder, whole)


@pytest.mark.parametrize("group", ["none", "networks", "ema", "optimizers", "history"])
def test_the_end_depends_on_every_group_of_a_checkpoint(whole: Path, group: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    checkpoints = cut_back(whole, folder, 6)
    middle = storage.load(checkpoints / "step-00000006")
    groups: dict[str, dict[str, Tensor]] = dict(middle.groups)
    if group in ("networks", "ema"):  # without these it could not be loaded
        groups[group] = {name: tensor * 0.99 for name, tensor in groups[group].items()}
    elif group != "none":
        groups[group] = {}
    state = {**middle.state, "history": {}} if group == "history" else middle.state
    storage.save(checkpoints, 6, groups, state, keep=9)
    assert (resumed(folder) == last(whole)) == (group == "none")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(
    trained: Any, recipe: Path, whole: Path, tmp_path: Path
) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    trained(recipe, again)
    trained(recipe, other, "train.seed=1")
    assert last(again) == last(whole) != last(other)
    models = [(folder / "model" / "model.safetensors").read_bytes() for folder in (whole, again, other)]
    assert models[0] == models[1] != models[2]
