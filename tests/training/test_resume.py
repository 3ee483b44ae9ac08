"""A run that was stopped, however it was, ends as the same run that was not: byte for byte."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from torch import Tensor

from transgan.cli.resume import resume

# Everything that could go astray: dropout, crops, two sizes, falling rates, an average, older fakes, parts.
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
sample_every = 8
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
"""

# A plugin of somebody else's, which ends the run from within at the step that it is told.
STOPPER = """
import os
import signal
from transgan.api import hookimpl

@hookimpl
def step_finished(run, step, losses):
    if step == int(os.environ["STOP_AT"]):
        os.kill(os.getpid(), getattr(signal, os.environ["STOP_BY"]))
"""


@pytest.fixture(scope="module")
def recipe(written: Callable[[str], Path]) -> Path:
    return written(RECIPE)


@pytest.fixture(scope="module")
def whole(trained: Any, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run that nobody stopped."""
    folder: Path = tmp_path_factory.mktemp("runs") / "whole"
    trained(recipe, folder)
    return folder


@pytest.fixture
def stopped(started: Any, recipe: Path, tmp_path: Path) -> Callable[[int, str], tuple[int, Path]]:
    """`stopped(step, signal)`: the exit code and the folder of a run that a signal ended after a step."""

    def run(step: int, by: str) -> tuple[int, Path]:
        site = tmp_path / "site"
        (site / "stopper-1.0.dist-info").mkdir(parents=True)
        (site / "stopper.py").write_text(STOPPER)
        (site / "stopper-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: stopper\nVersion: 1.0\n")
        (site / "stopper-1.0.dist-info" / "entry_points.txt").write_text("[transgan]\nstopper = stopper\n")
        how = {"PYTHONPATH": str(site), "STOP_AT": str(step), "STOP_BY": by}
        [(code, _)] = started(1, "-m", "transgan", "run", recipe, "--out", tmp_path / "stopped", "-q", **how)
        return code, tmp_path / "stopped"

    return run


def resumed(folder: Path) -> str:
    """The digest of the last checkpoint of a run that goes on to its end."""
    with pytest.raises(typer.Exit) as end:
        resume(folder, quiet=True)
    assert end.value.exit_code == 0
    return last(folder)


def last(folder: Path) -> str:
    checkpoint = runs.load(folder / "checkpoints" / "step-00000008")
    assert set(checkpoint.groups) == {"networks", "ema", "optimizers", "history"}
    return runs.digest(checkpoint.groups)


def steps(folder: Path) -> list[int]:
    return [record["step"] for record in runs.read_metrics(folder / "metrics.jsonl")]


def cut_back(whole: Path, folder: Path, step: int) -> Path:
    """A copy of a whole run, without the checkpoints of later steps."""
    shutil.copytree(whole, folder)
    for path in (folder / "checkpoints").glob("step-*"):
        if path.name > f"step-{step:08d}":
            shutil.rmtree(path)
    return folder / "checkpoints"


def assert_same(folder: Path, whole: Path) -> None:
    """Both runs left the same last checkpoint, model and figures."""
    ours, theirs = (runs.load(path / "checkpoints" / "step-00000008") for path in (folder, whole))
    for group, tensors in theirs.groups.items():
        assert runs.digest({group: ours.groups[group]}) == runs.digest({group: tensors}), group
    assert last(folder) == last(whole)
    assert ours.state == theirs.state
    for name in ("model/model.safetensors", "result.json"):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert steps(folder) == list(range(1, 9))
    logs = [runs.read_metrics(path / "metrics.jsonl") for path in (folder, whole)]
    for log in logs:
        for record in log:
            del record["time"]
    assert logs[0] == logs[1]


def test_a_killed_run_ends_as_the_run_that_was_not_killed(stopped: Any, whole: Path) -> None:
    code, folder = stopped(6, "SIGKILL")
    assert code == -9
    assert sorted(path.name for path in (folder / "checkpoints").glob("step-*")) == ["step-00000002", "step-00000004"]
    assert steps(folder) == [1, 2, 3, 4, 5]
    resumed(folder)
    assert_same(folder, whole)


def test_a_run_told_to_end_saves_the_step_it_is_at_and_goes_on_from_there(stopped: Any, whole: Path) -> None:
    code, folder = stopped(5, "SIGTERM")
    assert code == 143
    checkpoint, _ = runs.newest(folder / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.step == 5
    resumed(folder)
    assert_same(folder, whole)


@pytest.mark.parametrize("step", [6, 4, 2])
def test_a_run_may_be_resumed_from_every_one_of_its_checkpoints(whole: Path, step: int, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    cut_back(whole, folder, step)
    assert resumed(folder) == last(whole)
    assert_same(folder, whole)


def test_a_finished_run_that_is_resumed_takes_no_step(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    cut_back(whole, folder, 8)
    before = (folder / "metrics.jsonl").read_bytes()
    assert resumed(folder) == last(whole)
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_a_damaged_checkpoint_is_passed_over_to_the_same_end(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    weights = cut_back(whole, folder, 6) / "step-00000006" / "networks.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    resumed(folder)
    assert_same(folder, whole)


@pytest.mark.parametrize("part", ["nothing", "networks", "ema", "optimizers", "history"])
def test_without_any_one_part_of_a_checkpoint_the_end_is_another(whole: Path, part: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    checkpoints = cut_back(whole, folder, 6)
    middle = runs.load(checkpoints / "step-00000006")
    groups: dict[str, dict[str, Tensor]] = dict(middle.groups)
    if part in ("networks", "ema"):  # without these it would not load
        groups[part] = {name: tensor * 0.99 for name, tensor in groups[part].items()}
    elif part != "nothing":
        groups[part] = {}
    state = {**middle.state, "history": {}} if part == "history" else middle.state
    runs.save(checkpoints, 6, groups, state, keep=9)
    assert (resumed(folder) == last(whole)) == (part == "nothing")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    trained: Any, recipe: Path, whole: Path, tmp_path: Path
) -> None:
    again, other = tmp_path / "again", tmp_path / "other"
    trained(recipe, again)
    trained(recipe, other, "train.seed=1")
    assert last(again) == last(whole) != last(other)
    models = [(folder / "model" / "model.safetensors").read_bytes() for folder in (whole, again, other)]
    assert models[0] == models[1] != models[2]
