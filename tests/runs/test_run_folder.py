import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from transgan.errors import BusyError, DiskError, UsageError
from transgan.runs import RunFolder, folder

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_runs_are_numbered_and_know_their_files(tmp_path: Path) -> None:
    base = tmp_path / "runs"
    with RunFolder.create(base, "horses") as first, RunFolder.create(base, "horses") as second:
        assert (first.path, second.path) == (base / "horses-1", base / "horses-2")
        paths = [first.recipe, first.metrics, first.log, first.samples, first.checkpoints]
        paths += [first.model, first.result, first.report]
        assert [str(path.relative_to(first.path)) for path in paths] == [
            *("recipe.toml", "metrics.jsonl", "log.txt", "samples", "checkpoints"),
            *("model", "result.json", "report.html"),
        ]
        assert first.samples.is_dir() and first.checkpoints.is_dir()
    (base / "horses-4").mkdir()
    with RunFolder.create(base, "horses") as third:
        assert third.path.name == "horses-3"


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "/a", "a\\b", "a b", "a\n", "a\0", "-x", "~", "x" * 101, "a:b"]
)
def test_a_name_that_cannot_be_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a folder"):
        RunFolder.create(tmp_path, name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["horse2zebra", "età", "v1.2+x_y", "0"])
def test_a_name_of_letters_digits_and_little_else_is_taken(tmp_path: Path, name: str) -> None:
    with RunFolder.create(tmp_path, name) as run:
        assert run.path == tmp_path / f"{name}-1"


def test_a_file_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="a file is in the way; choose another --out"):
            RunFolder.create(path, "a")
        with pytest.raises(UsageError, match="a file is in the way; choose another --out"):
            RunFolder.open(path)


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, mode: int = 0) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    for base in (tmp_path / "runs", tmp_path):
        with pytest.raises(
            DiskError, match=r"^cannot write .*: Permission denied; choose a folder that you may write to$"
        ):
            RunFolder.create(base, "a")


def test_an_empty_folder_becomes_a_run_and_is_one_again_later(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "new", tmp_path / "new"):
        with RunFolder.open(path) as run:
            run.recipe.write_text("")
    (tmp_path / "new" / ".lock").unlink()  # as when copied without hidden files
    RunFolder.open(tmp_path / "new").close()


def test_a_folder_of_other_things_does_not_become_a_run(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("")
    (tmp_path / ".tmp-mine").write_text("")
    with pytest.raises(UsageError, match="neither a run nor empty"):
        RunFolder.open(tmp_path)
    assert names(tmp_path) == [".tmp-mine", "photo.jpg"]


def test_what_a_crash_left_behind_is_removed_on_opening(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "dear").write_text("")
    with RunFolder.open(tmp_path / "run") as run:
        for place in (run.path, run.checkpoints, run.samples):
            (place / ".tmp-a-1" / "deep").mkdir(parents=True)
            (place / ".tmp-a-1" / "deep" / "file").write_text("")
            (place / ".tmp-a-1" / "link").symlink_to(outside)
            (place / ".trash-b").symlink_to(outside)
            (place / ".tmp-file").write_text("")
            (place / ".hidden").write_text("")
    with RunFolder.open(run.path):
        for place in (run.path, run.checkpoints, run.samples):
            assert {name for name in names(place) if name.startswith(".")} - {".lock"} == {".hidden"}
    assert names(outside) == ["dear"]


def test_a_run_in_use_is_refused_until_it_is_closed(tmp_path: Path) -> None:
    run = RunFolder.open(tmp_path)
    holder = json.loads((tmp_path / ".lock").read_text())
    assert (holder["pid"], holder["host"]) == (os.getpid(), socket.gethostname()) and "started" in holder
    for _ in range(2):
        with pytest.raises(BusyError) as error:
            RunFolder.open(tmp_path)
        assert str(error.value) == (
            f"{tmp_path} is in use by process {os.getpid()} on {socket.gethostname()};"
            " wait for it or choose another --out"
        )
    run.close()
    run.close()
    RunFolder.open(tmp_path).close()


def test_a_lock_without_a_readable_holder_is_still_a_lock(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path):
        for text in ("", "[]", "{}", '{"pid": "x"}', "\0"):
            (tmp_path / ".lock").write_text(text)
            with pytest.raises(BusyError, match="in use by another process;"):
                RunFolder.open(tmp_path)


def test_an_error_while_opening_frees_the_lock(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    (tmp_path / "samples").write_text("a file in the way")
    with pytest.raises(DiskError, match="samples: Not a directory"):
        RunFolder.open(tmp_path)
    (tmp_path / "samples").unlink()
    RunFolder.open(tmp_path).close()


@pytest.mark.parametrize("missing", ["module", "support"])
def test_without_system_locks_a_file_is_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    def unsupported(handle: int, how: int) -> None:
        raise OSError(95, "Operation not supported")

    if missing == "module":
        monkeypatch.setattr(folder, "fcntl", None)
    else:
        monkeypatch.setattr("fcntl.flock", unsupported)
    told = rf"process {os.getpid()} on .*if that process is gone, delete .*\.lock-held"
    with RunFolder.open(tmp_path), pytest.raises(BusyError, match=told):
        RunFolder.open(tmp_path)
    RunFolder.open(tmp_path).close()
    assert not (tmp_path / ".lock-held").exists()
    monkeypatch.setattr(os, "ftruncate", unsupported)
    with pytest.raises(DiskError):
        RunFolder.open(tmp_path)
    assert not (tmp_path / ".lock-held").exists()


def in_a_child(work: Callable[[int, int], None]) -> tuple[int, int, int]:
    """A process that does `work`; its id, and our ends of two pipes: to hear from it, and to tell it by closing."""
    hear, say = os.pipe()
    wait, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(60)  # no child outlives a test that failed
            os.close(tell)
            work(say, wait)
        finally:
            os._exit(0)
    os.close(say)
    os.close(wait)
    return pid, hear, tell


@forks
def test_processes_that_race_get_a_folder_each(tmp_path: Path) -> None:
    def race(say: int, wait: int) -> None:
        os.read(wait, 1)
        for _ in range(5):
            os.write(say, f"{RunFolder.create(tmp_path, 'race').path}\n".encode())

    racers = [in_a_child(race) for _ in range(12)]
    for _, _, tell in racers:
        os.write(tell, b"!")
    paths = []
    for pid, hear, tell in racers:
        with os.fdopen(hear) as file:
            paths += file.read().split()
        os.close(tell)
        os.waitpid(pid, 0)
    assert sorted(paths) == sorted(str(tmp_path / f"race-{n}") for n in range(1, 61))


@forks
def test_of_processes_that_race_for_one_folder_one_wins(tmp_path: Path) -> None:
    def race(say: int, wait: int) -> None:
        os.read(wait, 1)
        try:
            run = RunFolder.open(tmp_path)
            os.write(say, b"won")
            os.read(wait, 1)
            run.close()
        except BusyError:
            os.write(say, b"busy")

    racers = [in_a_child(race) for _ in range(12)]
    for _, _, tell in racers:
        os.write(tell, b"!")
    outcomes = [os.read(hear, 10) for _, hear, _ in racers]
    for pid, hear, tell in racers:
        os.close(tell)
        os.close(hear)
        os.waitpid(pid, 0)
    assert sorted(outcomes) == [b"busy"] * 11 + [b"won"]


@forks
def test_a_killed_run_frees_its_folder_even_while_its_workers_live(tmp_path: Path) -> None:
    def hold(say: int, wait: int) -> None:
        run = RunFolder.open(tmp_path)
        worker = os.fork()
        if worker == 0:
            signal.alarm(60)
            run.close()  # of no effect: the lock is its parent's
            os.write(say, f"{os.getpid()}\n".encode())
            signal.pause()
        signal.pause()

    pid, hear, _ = in_a_child(hold)
    worker = int(os.read(hear, 20))
    try:
        with pytest.raises(BusyError, match=f"in use by process {pid} on {socket.gethostname()};"):
            RunFolder.open(tmp_path)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.kill(worker, 0)
        RunFolder.open(tmp_path).close()
    finally:
        os.kill(worker, signal.SIGKILL)
