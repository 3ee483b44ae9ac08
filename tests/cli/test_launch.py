"""Several processes: a mistake is said once, before they are started, and a lost process has its exit code."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from transgan.cli import launch
from transgan.training.trainer import Trainer

LAUNCH = (sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "2")


def launched(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("WORLD_SIZE", "RANK", "LOCAL_RANK")}
    command = [*LAUNCH, "-m", "transgan", *map(str, words)]
    return subprocess.run(command, env=environment | {"HF_HOME": str(cwd)}, capture_output=True, text=True, cwd=cwd)


def test_a_mistake_in_a_recipe_is_said_once(recipe: Path, tmp_path: Path) -> None:
    ended = launched("run", recipe, "--set", "train.stepps=3", cwd=tmp_path)
    assert ended.returncode
    assert ended.stderr.count("error: ") == 1 and "unknown key" in ended.stderr
    assert "torch/distributed" not in ended.stderr and not (tmp_path / "runs").exists()


def test_data_that_are_missing_are_said_once(recipe: Path, tmp_path: Path) -> None:
    ended = launched("run", recipe, "--set", "data.root=nowhere", "--set", "data.source=folders", cwd=tmp_path)
    assert ended.returncode
    assert ended.stderr.count("error: ") == 1 and "'nowhere' does not exist" in ended.stderr
    assert "torch/distributed" not in ended.stderr


def test_the_launcher_returns_the_code_of_what_failed(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the kind: an exit code of its own, and a signal."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    done = subprocess.run(
        [sys.executable, "-m", "transgan.cli.launch", "2", "check", "nowhere.toml"], capture_output=True, text=True
    )
    assert (
        done.returncode == 2
        and done.stderr == "error: no recipe 'nowhere.toml'. 'transgan recipes' lists those that are installed.\n"
    )


def test_a_process_that_was_killed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

    def run(arguments: Any) -> None:
        raise ChildFailedError("transgan", {1: ProcessFailure(1, 4242, -9, "<N/A>")})

    monkeypatch.setattr("torch.distributed.run.run", run)
    monkeypatch.setenv("TRANSGAN_LAUNCHER", "")  # to be restored: it is set for the processes that would be started
    assert launch.launch(2, ["run", "x.toml"]) == 4
    assert capsys.readouterr().err == (
        "error: process 1 of the run was killed by signal 9, as where memory is short; transgan resume FOLDER goes on "
        "from the newest checkpoint, or the same command, if it has --out\n"
    )


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (
            RuntimeError("[/pytorch/gloo/transport/tcp/pair.cc:545] Connection closed by peer [127.0.0.1]:1\nGLHF!"),
            4,
            "another process of the run was lost, as where memory is short; transgan resume FOLDER goes on from the "
            "newest checkpoint, or the same command, if it has --out",
        ),
        (MemoryError(), 5, "out of memory; set train.checkpointing"),
        (OSError(5, "Input/output error", "data/a.png"), 7, "data/a.png: Input/output error"),
    ],
)
def test_log_and_report_say_what_the_terminal_says(
    transgan: Any, recipe: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, code: int, said: str
) -> None:
    def fail(trainer: Trainer) -> int:
        raise raised

    monkeypatch.setattr(Trainer, "_train", fail)
    done = transgan("run", recipe, "--out", "run", "-q")
    assert done.code == code and done.err.startswith(f"error: {said}")
    message = done.err.removeprefix("error: ").rstrip("\n")
    assert Path("run/log.txt").read_text().splitlines()[-1].endswith(f"failed at step 0: {message}")
    assert "pair.cc" not in done.err and "pair.cc" not in Path("run/report.html").read_text()
