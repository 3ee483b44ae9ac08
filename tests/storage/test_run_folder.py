"""The run folder: names, cleanup after a crash, and the lock, in processes that compete for it."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from transgan.errors import BusyError, DiskError, UsageError
from transgan.storage import RunFolder, atomic, run_folder, save

FreshProcess = Callable[..., subprocess.Popen[str]]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_runs_are_numbered_and_name_their_files(tmp_path: Path) -> None:
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
def test_invalid_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a folder"):
        RunFolder.create(tmp_path, name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["horse2zebra", "età", "v1.2+x_y", "0"])
def test_valid_names_are_accepted(tmp_path: Path, name: str) -> None:
    with RunFolder.create(tmp_path, name) as run:
        assert run.path == tmp_path / f"{name}-1"


def test_file_in_the_way_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="a file is in the way; choose another folder"):
            RunFolder.create(path, "a")
        with pytest.raises(UsageError, match="a file is in the way; choose another folder"):
            RunFolder.open(path)


def test_folder_without_write_permission_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, mode: int = 0) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    for base in (tmp_path / "runs", tmp_path):
        with pytest.raises(
            DiskError, match=r"^cannot write .*: Permission denied; choose a folder that you may write to$"
        ):
            RunFolder.create(base, "a")


def test_empty_folder_becomes_a_run_and_opens_again(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "new", tmp_path / "new"):
        with RunFolder.open(path) as run:
            run.recipe.write_text("")
    save(tmp_path / "new/checkpoints", 1, {}, {})
    (tmp_path / "new" / ".lock").unlink()  # as when copied without hidden files
    RunFolder.open(tmp_path / "new").close()


def test_folder_with_other_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_text("")
    (tmp_path / ".tmp-mine").write_text("")
    with pytest.raises(UsageError, match="neither a run nor empty"):
        RunFolder.open(tmp_path)
    assert names(tmp_path) == [".tmp-mine", "photo.jpg"]


#: Hidden names that are like those of temporary files, and a user's.
LOOKALIKES = [
    *(".tmp-secret", ".trash-mine", ".old-photos", ".hidden", ".transgan-tmp-", ".transgan-trash-mine"),
    *(f".transgan-tmp-{'g' * 32}", f".transgan-tmp-{'0' * 31}", f".transgan-tmp-{'0' * 32}.png"),
    *(f"transgan-tmp-{'0' * 32}", f".transgan-tmp-{'A' * 32}", f".transgan-old-{'0' * 32}", ".transgan-old-photos"),
]


def test_leftovers_of_a_crash_are_deleted_on_opening(tmp_path: Path) -> None:
    """Of the kind: a sweep deletes names that only we give, and nothing through links."""
    outside = tmp_path / "outside"
    outside.mkdir()
    temporary, trash = (kind + "0123456789abcdef" * 2 for kind in (atomic.TEMPORARY, atomic.TRASH))
    with RunFolder.open(tmp_path / "run") as run:
        for place in (run.path, run.checkpoints, run.samples, outside):
            (place / temporary / "deep").mkdir(parents=True)
            (place / temporary / "deep" / "file").write_text("")
            (place / temporary / "link").symlink_to(outside)
            (place / trash).symlink_to(outside)
            for name in LOOKALIKES:
                (place / name).mkdir()
                (place / name / "kept").write_text("")
    before = names(outside)
    with RunFolder.open(run.path):
        for place in (run.path, run.checkpoints, run.samples):
            visible = {name for name in names(place) if "transgan-" in name or name.startswith(".")} - {".lock"}
            assert visible == set(LOOKALIKES)
    assert names(outside) == before
    run.samples.rename(tmp_path / "elsewhere")
    run.samples.symlink_to(outside)
    with RunFolder.open(run.path):
        assert names(outside) == before


STRANGERS = {
    "a recipe": {"recipe.toml": 'name = "soup"', "notes.txt": ""},
    "a recipe of TransGAN": {"recipe.toml": 'version = 2\nname = "mine"', "photos": None},
    "a lock": {".lock": "12345"},
    "a lock in JSON": {".lock": '{"pid": 1}', "notes.txt": ""},
    "logs": {"log.txt": "mine", "metrics.jsonl": "mine", "result.json": "{}", "env.json": "{}", "report.html": ""},
    "checkpoints": {"checkpoints/step-00000001/weights.pt": "mine", "samples/1.png": "mine"},
    "hidden folders and files": {"recipe.toml": "", ".tmp-secret/a": "", ".trash-mine": "", ".old-photos/a": ""},
}


@pytest.mark.parametrize("files", STRANGERS.values(), ids=STRANGERS)
def test_folder_with_the_names_of_a_run_is_no_run(tmp_path: Path, files: dict[str, str | None]) -> None:
    """Of the kind: what has the names of our files, but was not written by us, stays."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if text is None else path.write_text(text)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="neither a run nor empty; choose another folder"):
        RunFolder.open(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_lock_that_is_a_link_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.lock").symlink_to(tmp_path / "letter.txt")
    with pytest.raises(UsageError, match="neither a run nor empty"):
        RunFolder.open(tmp_path / "run")
    assert (tmp_path / "letter.txt").read_text() == "kept"


def test_model_of_a_stranger_in_a_run_is_reported_before_training(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path) as run:
        run.model.mkdir()
        (run.model / "README.md").write_text("kept")
    with pytest.raises(UsageError, match="model holds something other than a model of TransGAN"):
        RunFolder.open(tmp_path)
    assert (run.model / "README.md").read_text() == "kept"


def test_hidden_files_in_an_empty_folder_stay(tmp_path: Path) -> None:
    for name in (".tmp-secret", ".DS_Store"):
        (tmp_path / name).write_text("kept")
    with RunFolder.open(tmp_path):
        assert names(tmp_path) == [".DS_Store", ".lock", ".tmp-secret", "checkpoints", "samples"]


def test_run_in_use_is_refused_until_it_is_closed(tmp_path: Path) -> None:
    run = RunFolder.open(tmp_path)
    holder = json.loads((tmp_path / ".lock").read_text())
    assert (holder["pid"], holder["host"]) == (os.getpid(), socket.gethostname()) and "started" in holder
    for _ in range(2):
        with pytest.raises(BusyError) as error:
            RunFolder.open(tmp_path)
        assert str(error.value) == (
            f"{tmp_path} is in use by process {os.getpid()} on {socket.gethostname()};"
            " wait for it or choose another folder"
        )
    run.close()
    run.close()
    RunFolder.open(tmp_path).close()


def test_lock_without_a_readable_holder_still_locks(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path):
        for text in ("", "[]", "{}", '{"pid": "x"}', "\0"):
            (tmp_path / ".lock").write_text(text)
            with pytest.raises(BusyError, match="in use by another process;"):
                RunFolder.open(tmp_path)


def test_error_while_opening_releases_the_lock(tmp_path: Path) -> None:
    RunFolder.open(tmp_path).close()
    (tmp_path / "samples").rmdir()
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
        monkeypatch.setattr(run_folder, "fcntl", None)
    else:
        monkeypatch.setattr("fcntl.flock", unsupported)
    message = rf"process {os.getpid()} on .*if that process is gone, delete .*\.lock-held"
    with RunFolder.open(tmp_path), pytest.raises(BusyError, match=message):
        RunFolder.open(tmp_path)
    RunFolder.open(tmp_path).close()
    assert not (tmp_path / ".lock-held").exists()
    monkeypatch.setattr(os, "ftruncate", unsupported)
    with pytest.raises(DiskError):
        RunFolder.open(tmp_path)
    assert not (tmp_path / ".lock-held").exists()


def race(work: Callable[[], bytes]) -> list[bytes]:
    """Start 12 processes that do the work at the same time and end together; return their outputs.

    This runs in a fresh process.
    """
    started, start = os.pipe()
    finished, finish = os.pipe()
    racers = []
    for _ in range(12):
        receive, send = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                signal.alarm(60)  # end even where the test fails
                os.read(started, 1)
                os.write(send, work())
                os.read(finished, 1)
            finally:
                os._exit(0)
        os.close(send)
        racers.append((pid, receive))
    os.write(start, b"!" * len(racers))
    outputs = [os.read(receive, 10_000) for _, receive in racers]
    os.write(finish, b"!" * len(racers))
    for pid, _ in racers:
        os.waitpid(pid, 0)
    return outputs


def create_five_runs_each(base: str) -> None:
    """Print the folders that 12 processes create. This runs in a fresh process."""

    def work() -> bytes:
        return "".join(f"{RunFolder.create(Path(base), 'race').path}\n" for _ in range(5)).encode()

    print(b"".join(race(work)).decode())


def open_one_run(path: str) -> None:
    """Print which of 12 processes could open one folder. This runs in a fresh process."""
    held = []

    def work() -> bytes:
        try:
            held.append(RunFolder.open(Path(path)))
            return b"won"
        except BusyError:
            return b"busy"

    print(b" ".join(race(work)).decode())


def hold_with_a_worker(path: str) -> None:
    """Open a run, fork a worker, print the worker's id and wait. This runs in a fresh process."""
    run = RunFolder.open(Path(path))
    worker = os.fork()
    signal.alarm(60)
    if worker == 0:
        run.close()  # has no effect: the lock belongs to the parent
        print(os.getpid(), flush=True)
    signal.pause()


@needs_fork
def test_concurrent_runs_get_different_folders(tmp_path: Path, in_fresh_process: FreshProcess) -> None:
    out, _ = in_fresh_process(__file__, create_five_runs_each, tmp_path).communicate(timeout=120)
    assert sorted(out.split()) == sorted(str(tmp_path / f"race-{n}") for n in range(1, 61))


@needs_fork
def test_one_of_several_processes_gets_a_folder(tmp_path: Path, in_fresh_process: FreshProcess) -> None:
    out, _ = in_fresh_process(__file__, open_one_run, tmp_path).communicate(timeout=120)
    assert sorted(out.split()) == ["busy"] * 11 + ["won"]


@needs_fork
def test_killed_run_releases_its_folder_while_its_workers_live(tmp_path: Path, in_fresh_process: FreshProcess) -> None:
    holder = in_fresh_process(__file__, hold_with_a_worker, tmp_path)
    assert holder.stdout is not None
    worker = int(holder.stdout.readline())
    try:
        with pytest.raises(BusyError, match=f"in use by process {holder.pid} on {socket.gethostname()};"):
            RunFolder.open(tmp_path)
        holder.kill()
        holder.wait()
        os.kill(worker, 0)  # it is alive
        RunFolder.open(tmp_path).close()
    finally:
        os.kill(worker, signal.SIGKILL)


if __name__ == "__main__":  # see `in_fresh_process`
    torch.set_num_threads(1)
    globals()[sys.argv[1]](*sys.argv[2:])
