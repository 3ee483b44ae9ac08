"""Signals while a run is measured: at its end, during training, by `finish`; of one process and of several."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from transgan import storage
from transgan.errors import HUNG_UP, INTERRUPTED, TERMINATED
from transgan.evaluation.evaluate import Evaluation

SMALL = ("--set", "evaluate.batch=1", "--set", "train.checkpoint_every=2", "--set", "data.held_out=0.5")
#: As `interrupt` below, for processes of which the one of rank SIGNALLED gets the signal.
TEAM = """
import os, signal, sys
from transgan.evaluation.evaluate import Evaluation
from transgan.training.trainer import Trainer

evaluate, update = Trainer._evaluate, Evaluation._update

def updated(*arguments):
    signal.raise_signal(signal.SIGTERM)
    return update(*arguments)

def evaluated(trainer, step):
    if trainer.processes.rank:
        signal.raise_signal(signal.SIGTERM)
    evaluate(trainer, step)

if os.environ["SIGNALLED"] == "0":
    Evaluation._update = updated
else:
    Trainer._evaluate = evaluated
from transgan.cli import main
sys.argv = ["transgan", *sys.argv[1:]]
main()
"""


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """`interrupt(number)`: this process gets a signal in each batch that is measured, and has one item for it."""

    def set_up(number: int) -> list[int]:
        batches: list[int] = []
        update = Evaluation._update

        def signalled(*arguments: Any) -> None:
            batches.append(number)
            signal.raise_signal(number)
            update(*arguments)

        monkeypatch.setattr(Evaluation, "_update", signalled)
        return batches

    return set_up


def result_of(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "result.json").read_text())
    return result


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED), (signal.SIGHUP, HUNG_UP)]
)
def test_a_signal_ends_the_last_measurement(
    transgan: Any, recipe: Path, interrupt: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, code: int
) -> None:
    before = signal.signal(number, signal.default_int_handler)  # whatever started these tests may ignore it
    try:
        batches = interrupt(number)
        for command in (("run", recipe, "--out", tmp_path / "run", *SMALL), ("finish", "run")):
            done = transgan(*command)
            assert done.code == code and len(batches) == 1, done.err
            line = f"interrupted while measuring; transgan finish {tmp_path / 'run'} measures it"
            assert line in done.err.splitlines()
            assert storage.read_model(tmp_path / "run/model")[1]["steps"] == 2
            assert not (tmp_path / "run/result.json").exists()
            assert "interrupted at step 2: while measuring" in (tmp_path / "run/log.txt").read_text()
            batches.clear()
    finally:
        signal.signal(number, before)
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert transgan("finish", "run", "-q").code == 0
    assert transgan("run", recipe, "--out", "whole", "-q", *SMALL).code == 0
    assert result_of(tmp_path / "run") == result_of(tmp_path / "whole")
    assert "nothing was done" in transgan("resume", "run").err


def test_a_signal_ends_an_evaluation_during_training_that_is_done_again(
    transgan: Any, recipe: Path, interrupt: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = (*SMALL, "--set", "train.steps=4", "--set", "evaluate.every=3", "--set", "train.log_every=1")
    batches = interrupt(signal.SIGTERM)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        done = transgan("run", recipe, "--out", "run", *words)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done.code == TERMINATED and len(batches) == 1
    assert "interrupted after a checkpoint; transgan resume" in done.err
    assert storage.saved_steps(Path("run/checkpoints"))[-1] == 3
    assert storage.read_model(Path("run/model"))[1]["steps"] == 3
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert transgan("resume", "run", "-q").code == 0
    assert transgan("run", recipe, "--out", "whole", "-q", *words).code == 0
    assert Path("run/model/model.safetensors").read_bytes() == Path("whole/model/model.safetensors").read_bytes()
    ours, theirs = (
        [{**each, "time": 0} for each in storage.read_metrics(Path(name, "metrics.jsonl"))] for name in ("run", "whole")
    )
    assert ours == theirs and any("cycle_error" in key for each in ours for key in each)


@pytest.mark.parametrize("rank", ["0", "1"])
def test_several_processes_end_an_evaluation_alike(
    start_processes: Any, recipe: Path, tmp_path: Path, rank: str
) -> None:
    words = (*SMALL, "--set", "train.steps=9", "--set", "evaluate.every=3")
    ended = start_processes(2, "-c", TEAM, "run", recipe, "--out", tmp_path / "run", *words, SIGNALLED=rank)
    assert [code for code, _ in ended] == [TERMINATED, TERMINATED], ended
    assert storage.saved_steps(tmp_path / "run/checkpoints")[-1] == 3
