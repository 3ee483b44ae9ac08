"""`transgan.train` and `transgan.Run`: the same run as by the command, and a process that is left as it was."""

import contextlib
import json
import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from PIL import Image

import transgan
from transgan import storage
from transgan.errors import DataError, OutOfMemory, RecipeError, TransganError, UsageError
from transgan.networks import fp32_precisions, set_fp32_precisions
from transgan.text import is_quiet
from transgan.training import run as run_module
from transgan.training.trainer import Trainer

RECIPE = """
name = "small"
[train]
steps = 4
batch = 2
log_every = 1
checkpoint_every = 2
[generators]
g = { use = "resnet", per = "direction", width = 2, blocks = 0, dropout = 0.5 }
[discriminators]
d = { use = "patch", width = 2, layers = 1 }
[losses]
lsgan = 1.0
cycle = 10.0
[metrics]
cycle_error = true
[evaluate]
samples = 4
"""


@pytest.fixture(scope="module")
def run(recipe_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> transgan.Run:
    """A run of three steps, by `overrides`."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    return transgan.train(recipe_file(RECIPE), {"train.steps": 3, "train.seed": 1}, out=folder, quiet=True)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint, _ = storage.newest(folder / "checkpoints")
    assert checkpoint is not None
    return checkpoint.groups["networks"]


def assert_same_weights(one: Path, two: Path) -> None:
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_it_is_the_run_that_the_command_makes(
    run: transgan.Run, recipe_file: Callable[[str], Path], run_cli: Callable[..., int], tmp_path: Path
) -> None:
    words = ("--set", "train.steps=3", "--set", "train.seed=1", "--out", tmp_path / "cli", "-q")
    assert run_cli("run", recipe_file(RECIPE), *words) == 0
    assert_same_weights(run.folder, tmp_path / "cli")
    assert run.result == json.loads((tmp_path / "cli/result.json").read_text())
    again = transgan.train(recipe_file(RECIPE), ["train.steps=3", "train.seed=1"], tmp_path / "again", quiet=True)
    assert_same_weights(run.folder, again.folder)


def test_what_a_run_says(run: transgan.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run.figures == json.loads((run.folder / "result.json").read_text())["translations"]
    assert run.figures["age: young -> old"]["cycle_error"] > 0
    losses, records = run.losses(), storage.read_metrics(run.folder / "metrics.jsonl")
    assert losses["step"].tolist() == [1, 2, 3]
    assert losses["age: young -> old/loss_G/cycle"][1] == records[1]["age: young -> old/loss_G/cycle"]
    assert {name.split("/")[1] for name in losses if name != "step"} == {"loss_G", "loss_D"}
    assert all(len(column) == 3 for column in losses.values())
    assert run.report.is_file()
    assert repr(run) == f"<Run {str(run.folder)!r}: finished, step 3 of 3>"
    picture = run.translator("cpu")(Image.new("RGB", (16, 16)), to="old")
    assert picture.size == (16, 16)
    assert run.translator("cpu", step=2).config["steps"] == 2
    assert capsys.readouterr() == ("", "")


def test_a_notebook_shows_verdict_figures_and_a_preview(run: transgan.Run) -> None:
    page = run._repr_html_()
    assert "<b>small</b>: finished, step 3 of 3" in page
    assert "<th>age: young -&gt; old</th>" in page and "<th>cycle_error</th>" in page
    assert f"{run.figures['age: young -> old']['cycle_error']:.3g}"[:4] in page
    assert page.count('<img src="data:image/') == 1
    assert "<script" not in page and len(page) < 300_000


def state() -> dict[str, Any]:
    """Return what all code of a process shares."""
    return {
        "torch": torch.random.get_rng_state().tolist(),
        "numpy": [str(each) for each in np.random.get_state()],
        "python": random.getstate(),
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "benchmark": torch.backends.cudnn.benchmark,
        "rounding": fp32_precisions(),
        "compilations": torch._dynamo.config.recompile_limit,
        "grad": torch.is_grad_enabled(),
        "filters": list(warnings.filters),
        "show": warnings.showwarning,
        "handlers": [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)],
        "environment": dict(os.environ),
        "accelerate": [dict(each._shared_state) for each in (PartialState, AcceleratorState, GradientState)],
        "folder": Path.cwd(),
    }


@pytest.mark.parametrize("fails", [False, True])
def test_settings_of_torch_are_put_back(fails: bool) -> None:
    before = state()
    with contextlib.suppress(KeyError), run_module._unchanged():
        torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
        set_fp32_precisions("tf32", "ieee")
        torch._dynamo.config.recompile_limit += 1
        torch.set_default_dtype(torch.float64)
        if fails:
            raise KeyError
    assert state() == before


def test_the_default_dtype_of_the_caller_changes_nothing(
    recipe_file: Callable[[str], Path], run: transgan.Run, tmp_path: Path
) -> None:
    """Neither how a model is trained, nor what it makes of a sample."""
    x = torch.linspace(-1, 1, 3 * 16 * 16).reshape(3, 16, 16)
    plain = run.translator("cpu")(x, to="old")
    torch.set_default_dtype(torch.float64)
    try:
        overrides = {"train.steps": 3, "train.seed": 1}
        other = transgan.train(recipe_file(RECIPE), overrides, out=tmp_path / "run", quiet=True)
        assert torch.get_default_dtype() is torch.float64
        again = other.translator("cpu")(x, to="old")
    finally:
        torch.set_default_dtype(torch.float32)
    assert again.dtype is torch.float32 and torch.equal(again, plain)


def test_the_process_is_left_as_it_was(recipe_file: Callable[[str], Path], tmp_path: Path) -> None:
    random.seed(3)
    before, threads = state(), threading.active_count()
    with torch.no_grad():
        transgan.train(recipe_file(RECIPE), {"train.steps": 2}, out=tmp_path / "run", quiet=True)
        assert not torch.is_grad_enabled()
    with pytest.raises(TransganError):
        transgan.train(recipe_file(RECIPE), {"data.source.count": 1}, out=tmp_path / "other", quiet=True)
    assert state() == before
    end = time.monotonic() + 10
    while threading.active_count() > threads and time.monotonic() < end:  # they end by themselves
        time.sleep(0.05)
    assert threading.active_count() <= threads


@pytest.fixture
def interrupted_at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """`interrupted_at(step, number)`: this process gets a signal when a run has done that step."""

    def interrupt(step: int, number: int) -> None:
        def call_hook(trainer: Trainer, moment: str, **arguments: Any) -> None:
            if moment == "step_finished" and trainer.engine.completed == step:
                signal.raise_signal(number)

        monkeypatch.setattr(Trainer, "call_hook", call_hook)

    return interrupt


def test_an_interrupt_saves_a_checkpoint_and_is_raised(
    recipe_file: Callable[[str], Path],
    interrupted_at: Callable[[int, int], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    interrupted_at(1, signal.SIGINT)
    before = state()
    with pytest.raises(KeyboardInterrupt):
        transgan.train(recipe_file(RECIPE), out=tmp_path / "run")
    assert state() == before
    assert storage.saved_steps(tmp_path / "run/checkpoints") == [1]
    assert f"transgan.Run('{tmp_path / 'run'}').resume() goes on" in capsys.readouterr().err
    run = transgan.Run(tmp_path / "run")
    assert "interrupted, step 1 of 4" in repr(run)
    with pytest.raises(DataError, match="no figures yet"):
        _ = run.figures
    assert "interrupted" in run._repr_html_()
    monkeypatch.undo()
    assert run.resume(quiet=True) is run
    whole = transgan.train(recipe_file(RECIPE), out=tmp_path / "whole", quiet=True)
    assert_same_weights(run.folder, whole.folder)
    assert run.resume(steps=5, quiet=True).losses()["step"].tolist() == [1, 2, 3, 4, 5]
    last = run.figures
    with pytest.raises(UsageError, match=r"^from_step=7: no such checkpoint in .*; there are "):
        run.resume(from_step=7, quiet=True)
    saved = storage.saved_steps(run.folder / "checkpoints")
    assert run.resume(from_step=saved[0], quiet=True).figures == last
    assert run.losses()["step"].tolist() == [1, 2, 3, 4, 5]


def test_another_signal_reaches_whoever_handles_it(
    recipe_file: Callable[[str], Path], interrupted_at: Callable[[int, int], None], tmp_path: Path
) -> None:
    interrupted_at(1, signal.SIGTERM)
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        run = transgan.train(recipe_file(RECIPE), out=tmp_path / "run", quiet=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM] and storage.saved_steps(run.folder / "checkpoints") == [1]


def test_it_runs_in_other_threads(
    recipe_file: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found: list[transgan.Run] = []
    recipe = recipe_file(RECIPE)

    def work(name: str) -> None:
        found.append(transgan.train(recipe, {"train.steps": 1}, out=tmp_path / name, quiet=True))

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2 and all("finished, step 1 of 1" in repr(each) for each in found)
    assert tuple(capsys.readouterr()) == ("", "") and not is_quiet()


def test_failures_are_one_line_of_ours(
    recipe_file: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = recipe_file(RECIPE)
    for wrong, kind, message in (
        ({"train.stepz": 3}, RecipeError, 'overrides={"train.stepz": 3}: unknown key'),
        ({"train.steps": None}, UsageError, 'overrides={"train.steps": None}: found None'),
        ({"data.source": "folders", "data.root": tmp_path / "nowhere"}, TransganError, "nowhere"),
    ):
        with pytest.raises(kind) as caught:
            transgan.train(recipe, wrong, out=tmp_path / "run", quiet=True)
        assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match=r"^no recipe 'conditional_fase'\. Did you mean '.*conditional_face"):
        transgan.train("conditional_fase")
    with pytest.raises(UsageError, match="not the folder of a run"):
        transgan.Run(tmp_path)
    for argument, value, message in (
        ("recipe", None, "^recipe=None: expected a path$"),
        ("out", 5, "^out=5: expected a path$"),
        ("out", "", '^out="": empty; expected a path$'),
        ("overrides", 5, "^overrides=5: expected values by name, or texts such as 'key=value'$"),
        ("overrides", [5], "^overrides=5: expected texts such as 'key=value'$"),
        ("overrides", {5: 5}, "^overrides={5: 5}: found int as a name; expected a text$"),
        ("plugins", 5, "^plugins=5: expected a path, or a list of paths$"),
        ("quiet", "no", '^quiet="no": expected True or False$'),
    ):
        with pytest.raises(UsageError, match=message):
            transgan.train(**{"recipe": recipe, argument: value})
    with pytest.raises(UsageError, match=r"^folder=None: expected a path$"):
        transgan.Run(None)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r'^plugins=\["nothing\.py"\]: there is no such file'):
        transgan.train(recipe, plugins=["nothing.py"])
    with pytest.raises(UsageError, match=r'^plugins=\["nothing\.py"\]: there is no such file'):
        transgan.train(recipe, plugins="nothing.py")
    with pytest.raises(RecipeError, match=r'^overrides=\{"train\.stepz": 3\}: unknown key'):
        transgan.train(recipe, "train.stepz=3")

    def fail(trainer: Trainer, moment: str, **arguments: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(Trainer, "call_hook", fail)
    with pytest.raises(OutOfMemory, match=r"^out of memory; set train\.checkpointing"):
        transgan.train(recipe, out=tmp_path / "run", quiet=True)


@pytest.mark.parametrize("steps", ["9", 4.5, True, 0, float("nan")])
def test_a_number_of_steps_that_is_none_changes_nothing(run: transgan.Run, steps: Any) -> None:
    before = (run.folder / "recipe.toml").read_bytes()
    with pytest.raises(UsageError, match=r"^steps=.*: expected a whole number of 1 or more$"):
        run.resume(steps=steps)
    assert (run.folder / "recipe.toml").read_bytes() == before


def test_a_finished_run_is_not_trained_again(
    run: transgan.Run, recipe_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run.folder / "result.json").stat().st_mtime_ns
    again = transgan.train(recipe_file(RECIPE), {"train.steps": 3, "train.seed": 1}, out=run.folder)
    assert again.folder == run.folder and (run.folder / "result.json").stat().st_mtime_ns == before
    assert "is finished: 3 steps, model and figures; nothing was done. To extend it, resume it with steps=N" in (
        capsys.readouterr().err
    )
    transgan.train(recipe_file(RECIPE), {"train.steps": 3, "train.seed": 1}, out=run.folder, quiet=True)
    assert capsys.readouterr() == ("", "") and not is_quiet()  # of one run alone
    transgan.train(recipe_file(RECIPE), {"train.steps": 3, "train.seed": 1}, out=run.folder)
    assert "is finished" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"^steps=2: the run has done 3 steps"):
        run.resume(steps=2, quiet=True)


def test_a_relative_folder_stays_the_same_wherever_the_program_goes(
    run: transgan.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(run.folder.parent)
    relative = transgan.Run(run.folder.name)
    monkeypatch.chdir(tmp_path)
    assert relative.folder == run.folder
    assert relative.figures == run.figures
    assert relative.translator().translations == run.translator().translations
