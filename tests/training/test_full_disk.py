"""A disk that is full, for a while or until the end: training goes on, and says so on the terminal.

Of the kind: every write of a run but those without which it cannot begin, and those of its last step.
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transgan import storage
from transgan.errors import DiskError
from transgan.recipe import read_recipe
from transgan.registry import Registry
from transgan.storage import MetricsLog, atomic, read_metrics
from transgan.training.start import train
from transgan.training.trainer import Trainer

RECIPE = """
[train]
steps = 8
batch = 2
log_every = 1
checkpoint_every = 2
sample_every = 4
keep = 9
[generators]
g = { use = "resnet", per = "direction", width = 2, blocks = 0 }
[losses]
cycle = 1.0
[evaluate]
every = 2
samples = 4
[metrics]
cycle_error = true
"""


class FullOs:
    """The module `os`, where nothing can be written while the disk is full."""

    def __init__(self) -> None:
        self.full = False

    def __getattr__(self, name: str) -> Any:
        return self._write if name == "write" else getattr(os, name)

    def _write(self, handle: int, data: Any) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return os.write(handle, data)


@pytest.fixture
def run_on_full_disk(
    recipe_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Path, int | DiskError]]:
    """`run_on_full_disk(first, last, *overrides)`: the folder and the exit code or error of a run."""

    def run(first: int, last: int, *overrides: str) -> tuple[Path, int | DiskError]:
        system, registry = FullOs(), Registry.installed()

        def fill(trainer: Trainer, moment: str, **arguments: Any) -> None:
            if moment in ("run_started", "step_finished"):
                system.full = first <= trainer.engine.completed <= last

        with monkeypatch.context() as patch:
            patch.setattr(atomic, "os", system)
            patch.setattr(Trainer, "call_hook", fill)
            try:
                document = read_recipe(recipe_file(RECIPE), overrides)
                return tmp_path / "run", train(document, registry, tmp_path / "run").code
            except DiskError as error:
                return tmp_path / "run", error

    return run


def test_a_run_outlives_a_full_disk(
    run_on_full_disk: Any, trained: Any, recipe_file: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, code = run_on_full_disk(3, 7)
    printed = capsys.readouterr().err
    assert code == 0
    assert storage.saved_steps(folder / "checkpoints") == [2, 8]
    for step in (4, 6):
        assert f"warning: step {step}: no checkpoint: cannot write" in printed
    assert "No space left on device" in printed and "trying again at the next one" in printed
    assert "nothing was saved for 2 steps" in printed and "nothing was saved for 4 steps" in printed
    assert printed.count("training goes on") == 1  # not at every line of a log
    trained(recipe_file(RECIPE), tmp_path / "whole")
    for name in ("model/model.safetensors", "checkpoints/step-00000008/networks.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    ours, theirs = (
        [{k: v for k, v in each.items() if k != "time"} for each in read_metrics(path / "metrics.jsonl")]
        for path in (folder, tmp_path / "whole")
    )
    assert ours == theirs  # records that could not be written were written later


def test_a_last_step_that_cannot_be_saved_is_an_error(run_on_full_disk: Any) -> None:
    folder, error = run_on_full_disk(3, 8)
    assert isinstance(error, DiskError) and error.exit_code == 7
    assert "step-00000008" in str(error) and "No space left on device" in str(error)
    assert storage.saved_steps(folder / "checkpoints") == [2]
    assert storage.read_model(folder / "model")[1]["steps"] == 2  # a run that fails has a model too


def test_without_a_checkpoint_to_go_back_to_the_guardian_stops_the_run(run_on_full_disk: Any) -> None:
    from transgan.errors import DivergedError

    with pytest.raises(DivergedError, match="Stopped"):
        run_on_full_disk(0, 9, "guard.action='rollback'", "guard.warmup=0", "guard.patience=1", "guard.hiding=1.0001",
                         "guard.copying=1e9", "train.checkpoint_every=8")  # fmt: skip


def test_records_that_could_not_be_written_are_written_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = FullOs()
    monkeypatch.setattr(atomic, "os", system)
    with MetricsLog(tmp_path / "m") as log:
        log.write({"step": 1})
        system.full = True
        for step in (2, 3):
            with pytest.raises(DiskError):
                log.write({"step": step})
            with pytest.raises(DiskError):
                log.sync()
        assert log.count == 3
        log.rewind(2, 3)  # needs no space
        assert log.count == 1
        with pytest.raises(DiskError):
            log.write({"step": 4})
        system.full = False
        log.sync()
    assert read_metrics(tmp_path / "m") == [{"step": 1}, {"step": 4}]
