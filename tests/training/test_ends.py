"""Runs that lose their terminal or their launcher, or are asked to end: each really does, in a process of its own.

Of the kind: SIGHUP, SIGTERM and SIGINT, in any number; a standard stream that nobody reads any more; a launcher that is
killed, at each of the levels that there are between it and a worker.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from transgan import storage
from transgan.errors import BusyError

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals on Windows")

# Ends by itself only if nothing else ends it.
RECIPE = """
[train]
steps = 20000
batch = 2
log_every = 10
checkpoint_every = 20000
sample_every = 20000
[generators]
g = { use = "resnet", per = "direction", width = 2, blocks = 0 }
[losses]
cycle = 1.0
"""
SHORT = ("--set", "train.steps=20")
TRANSGAN = (sys.executable, "-m", "transgan", "run")
#: Begins a session in the terminal of this descriptor, and runs the rest of the command line in it.
LOGIN = "import os, sys; os.login_tty(int(sys.argv[1])); os.execv(sys.argv[2], sys.argv[2:])"
IN_TERMINAL = (sys.executable, "-c", LOGIN)


@pytest.fixture
def recipe(recipe_file: Callable[[str], Path]) -> Path:
    return recipe_file(RECIPE)


@pytest.fixture
def started() -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """`started(*words)`: a process; at the end of the test it is killed with all that it has started."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*words: object, **options: Any) -> "subprocess.Popen[bytes]":
        outside = ("WORLD_SIZE", "RANK", "LOCAL_RANK")
        environment = {key: value for key, value in os.environ.items() if key not in outside}
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(list(map(str, words)), **{**streams, "env": environment, **options})
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


def wait_until(what: Callable[[], Any], seconds: float = 120.0) -> Any:
    """Return what a function returns as soon as that is true; a failure after a time that is never needed."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "nothing has happened"
        time.sleep(0.05)
    return found


def wait_for_steps(folder: Path) -> None:
    wait_until(lambda: len(storage.read_metrics(folder / "metrics.jsonl")) > 1)


def saved_early(folder: Path) -> bool:
    """Return whether a run was ended before its last step, with a checkpoint and a model."""
    checkpoint, rejected = storage.newest(folder / "checkpoints")
    assert checkpoint is not None and not rejected
    assert storage.read_model(folder / "model")[1]["steps"] == checkpoint.step
    assert (folder / "report.html").is_file()
    return 0 < checkpoint.step < 20000


@pytest.mark.skipif(not hasattr(os, "login_tty"), reason="needs terminals")
def test_a_terminal_that_is_closed_ends_a_run_with_a_checkpoint(started: Any, recipe: Path, tmp_path: Path) -> None:
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        pytest.skip("these tests were started by nohup: programs that they start ignore SIGHUP")
    ours, theirs = pty.openpty()
    words = (*IN_TERMINAL, theirs, *TRANSGAN, recipe, "--out", tmp_path / "run")
    process = started(*words, pass_fds=(theirs,))
    os.close(theirs)
    wait_for_steps(tmp_path / "run")
    os.close(ours)  # the system sends SIGHUP, and every write to the terminal fails from now on
    process.send_signal(signal.SIGHUP)  # and the shell sends another one
    assert process.wait(120) == 129
    assert saved_early(tmp_path / "run")


def test_nohup_keeps_a_run_going(started: Any, recipe: Path, tmp_path: Path) -> None:
    words = ("nohup", *TRANSGAN, recipe, "--out", tmp_path / "run", "--set", "train.steps=300")
    process = started(*words)
    wait_for_steps(tmp_path / "run")
    process.send_signal(signal.SIGHUP)
    assert process.wait(120) == 0
    assert storage.saved_steps(tmp_path / "run" / "checkpoints")[-1] == 300


def test_streams_that_nobody_reads_do_not_end_a_run(started: Any, recipe: Path, tmp_path: Path) -> None:
    """As in `transgan run ... 2>&1 | head -1`: every write to either stream fails."""
    reader, writer = os.pipe()
    process = started(*TRANSGAN, recipe, "--out", tmp_path / "run", *SHORT, stdout=writer, stderr=writer)
    os.close(writer)
    os.close(reader)
    assert process.wait(120) == 0
    assert (tmp_path / "run" / "result.json").is_file()


@pytest.mark.parametrize("lost", ["accelerate", "relaunched"])
def test_workers_without_a_launcher_end_with_a_checkpoint(
    started: Any, recipe: Path, tmp_path: Path, lost: str
) -> None:
    """`accelerate launch --cpu` starts a process that starts the workers: either may be lost."""
    launch = (sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "2")
    folder = tmp_path / "run"
    process = started(*launch, "-m", "transgan", "run", recipe, "--out", folder, "-q")
    wait_for_steps(folder)
    (middle,) = psutil.Process(process.pid).children()
    workers = middle.children()
    assert len(workers) == 2
    (process if lost == "accelerate" else middle).send_signal(
        signal.SIGTERM if lost == "accelerate" else signal.SIGKILL
    )
    gone, alive = psutil.wait_procs(workers, 120)
    assert len(gone) == 2 and not alive
    with storage.RunFolder.open(folder):
        assert saved_early(folder)


def children_of(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []


def has_imported_torch(process: psutil.Process) -> bool:
    try:
        return any("libtorch" in each.path for each in process.memory_maps())
    except psutil.NoSuchProcess:  # a short one that imports nothing
        return False


@pytest.mark.skipif(not hasattr(psutil.Process, "memory_maps"), reason="sees what a process has imported")
@pytest.mark.parametrize("lost", ["before the workers are there", "while they begin"])
def test_processes_that_lose_their_launcher_before_they_train_end(
    started: Any, recipe: Path, tmp_path: Path, lost: str
) -> None:
    launch = (sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "2")
    folder = tmp_path / "run"
    with (tmp_path / "stderr").open("wb") as stderr:
        words = (*launch, "-m", "transgan", "run", recipe, "--out", folder, "-q")
        process = started(*words, stderr=stderr)
        launcher = psutil.Process(process.pid)

        def beginning() -> tuple[psutil.Process, list[psutil.Process]] | None:
            """The process between and those that are to end; short children that import nothing pass by."""
            for between in launcher.children():
                expected = children_of(between) if lost == "while they begin" else [between]
                found = [each for each in expected if has_imported_torch(each)]
                if len(found) == (2 if lost == "while they begin" else 1):
                    return between, found
            return None

        between, ended = wait_until(beginning)
        process.kill()
        if lost == "while they begin":
            between.kill()
    assert psutil.wait_procs(ended, 120)[1] == []
    assert "launcher of this process is gone" in (tmp_path / "stderr").read_text()


def test_a_launched_single_process_ends_without_its_launcher(started: Any, recipe: Path, tmp_path: Path) -> None:
    launch = (sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes", "1")
    process = started(*launch, "-m", "transgan", "run", recipe, "--out", tmp_path / "run", "-q")
    wait_for_steps(tmp_path / "run")
    (worker,) = psutil.Process(process.pid).children()
    process.kill()
    assert psutil.wait_procs([worker], 120)[1] == []
    assert saved_early(tmp_path / "run")


def test_a_process_that_nobody_waits_for_trains_on(started: Any, recipe: Path, tmp_path: Path) -> None:
    """A shell that has started a run in the background, and ends, is no launcher."""
    words = " ".join(map(str, (*TRANSGAN, recipe, "--out", tmp_path / "run", "-q", *SHORT, "&")))
    assert started("sh", "-c", words).wait() == 0
    wait_until(lambda: (tmp_path / "run" / "result.json").is_file())

    def is_free() -> bool:
        try:
            storage.RunFolder.open(tmp_path / "run").close()
        except BusyError:
            return False
        return True

    wait_until(is_free)


def test_each_rank_but_the_first_is_silent(start_processes: Any, recipe: Path, tmp_path: Path) -> None:
    first, second = start_processes(2, "-m", "transgan", "run", recipe, "--out", tmp_path / "run", *SHORT)
    assert (first[0], second) == (0, (0, ""))
    assert "step 20/20" in first[1]
