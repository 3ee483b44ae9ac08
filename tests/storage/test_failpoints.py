"""Fault injection: each system call of a save fails once, in each way in which it can fail."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from transgan.errors import DiskError
from transgan.storage import RunFolder, atomic, digest, newest, read_model, save, write_model
from transgan.storage.atomic import replacing_file

FreshProcess = Callable[..., subprocess.Popen[str]]
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="a crash needs a forked process")

MARKS = {"format": 1, "transgan": "", "recipe": {}}
FAILPOINTS = {"open", "write", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "ftruncate"}


class FaultyOs:
    """The module `os`, with a fault at the call number `at`, and at all later calls if it is permanent."""

    def __init__(self, at: int, fault: Callable[..., Any], permanent: bool = False):
        self.at, self.fault, self.permanent = at, fault, permanent
        self.calls = 0
        self.unsynced: dict[int, int] = {}  # descriptor -> a duplicate, which stays valid through close and rename

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in FAILPOINTS:
            return real

        def call(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == self.at or (self.permanent and self.calls > self.at):
                self.fault(self, name, *args)
            result = real(*args, **options)
            if name == "open" and args[1] & os.O_CREAT:
                self.unsynced[result] = os.dup(result)
            if name == "fsync" and args[0] in self.unsynced:
                os.close(self.unsynced.pop(args[0]))
            return result

        return call


def fail(number: int) -> Callable[..., None]:
    def fault(system: FaultyOs, name: str, *args: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fault


def kill(system: FaultyOs, name: str, *args: Any) -> None:
    if name == "write":  # half of the data
        os.write(args[0], args[1][: len(args[1]) // 2])
    os._exit(9)


class PowerLossError(BaseException):
    """Nothing runs any more; as the fault is permanent, cleanup has no effect either."""


def lose_power(system: FaultyOs, name: str, *args: Any) -> None:
    for handle in system.unsynced.values():
        os.ftruncate(handle, 0)
    raise PowerLossError


FAULTS = {"eio": fail(errno.EIO), "enospc": fail(errno.ENOSPC), "power loss": lose_power}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def groups(step: int) -> dict[str, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(step)
    return {
        "networks": {"w": torch.randn(3, 4, generator=generator), "steps": torch.tensor(step)},
        "ema": {"w": torch.randn(3, 4, generator=generator)},
    }


def save_step(run: Path, step: int, version: int) -> None:
    save(run / "checkpoints", step, groups(version), {"step": step}, keep=2)


def save_new_step(run: Path) -> None:
    save_step(run, 3, 3)


def save_same_step(run: Path) -> None:
    save_step(run, 2, 3)


def save_earlier_step(run: Path) -> None:
    save_step(run, 1, 3)


def save_model(run: Path) -> None:
    write_model(run / "model", groups(2)["ema"], {**MARKS, "version": 2}, "card")


def save_file(run: Path) -> None:
    with atomic.disk_errors(run / "array.npy"), replacing_file(run / "array.npy") as file:
        file.write(b"new" * 10_000)


def leftovers(run: Path) -> list[str]:
    return [path.name for path in run.rglob(".*") if not path.name.startswith(".lock")]


def faulty_runs(template: Path, folder: Path, work: Callable[[Path], None], fault: str) -> Iterator[tuple[Path, bool]]:
    """Yield the run folder after a fault at each call, and whether the work completed; at last after no fault."""
    for k in count(1):
        run = folder / str(k)
        shutil.copytree(template, run)
        system = FaultyOs(k, FAULTS[fault], permanent=fault != "eio")
        done = False
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(atomic, "os", system)
            try:
                work(run)
                done = True
            except DiskError as error:
                assert "\n" not in str(error) and str(run) in str(error), error
            except PowerLossError:
                pass
        for handle in system.unsynced.values():
            os.close(handle)
        yield run, done
        shutil.rmtree(run)
        if done and system.calls < k:
            return


def kill_at_each_call(template: str, folder: str, work: str) -> None:
    """Run the work once for each of its calls, in a process killed at that call; print each exit code.

    This runs in a fresh process.
    """
    patch = pytest.MonkeyPatch()
    patch.setattr(os, "fsync", lambda handle: None)
    for k in count(1):
        run = Path(folder) / str(k)
        shutil.copytree(template, run)
        system = FaultyOs(k, kill)
        child = os.fork()
        if child == 0:
            with suppress(BaseException):
                patch.setattr(atomic, "os", system)
                globals()[work](run)
                os._exit(0 if system.calls < k else 1)
            os._exit(2)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, flush=True)
        if code != 9:
            return


def killed_runs(
    template: Path, folder: Path, work: Callable[[Path], None], start: FreshProcess
) -> Iterator[tuple[Path, bool]]:
    """Yield the run folder after a kill at each call, and whether the work completed; at last after no kill."""
    out, _ = start(__file__, kill_at_each_call, template, folder, work.__name__).communicate(timeout=300)
    codes = [int(code) for code in out.split()]
    assert codes[:-1] == [9] * (len(codes) - 1) and codes[-1] == 0
    for k, code in enumerate(codes, 1):
        yield folder / str(k), code == 0


def damaged_runs(
    template: Path, folder: Path, work: Callable[[Path], None], fault: str, start: FreshProcess
) -> Iterator[tuple[Path, bool]]:
    if fault == "kill":
        yield from killed_runs(template, folder, work, start)
    else:
        yield from faulty_runs(template, folder, work, fault)


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """`lose_power` simulates the effect of fsync; the real one takes time."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("template") / "run"
    for step in (1, 2):
        save_step(run, step, step)
    write_model(run / "model", groups(1)["ema"], {**MARKS, "version": 1}, "card")
    (run / "array.npy").write_bytes(b"old")
    return run


@pytest.mark.parametrize(
    ("work", "fault"),
    [
        *((save_new_step, fault) for fault in FAULTS),
        pytest.param(save_new_step, "kill", marks=needs_fork),
        *((save_same_step, fault) for fault in ("eio", "power loss")),
        *((save_earlier_step, fault) for fault in ("eio", "power loss")),
    ],
)
def test_failed_save_leaves_old_or_new_checkpoint(
    template: Path, tmp_path: Path, work: Callable[[Path], None], fault: str, in_fresh_process: FreshProcess
) -> None:
    old, new = digest(groups(2)), digest(groups(3))
    faults = 0
    for run, done in damaged_runs(template, tmp_path, work, fault, in_fresh_process):
        faults += 1
        if fault == "eio":
            assert not list(run.rglob(f"{atomic.TEMPORARY}*")), "the save cleans up after itself"
        found, rejected = newest(run / "checkpoints")
        assert not rejected
        if work is save_new_step or fault == "eio":  # else opening the folder restores what was being replaced
            assert found and digest(found.groups) in (old, new)
        with RunFolder.open(run) as folder:
            assert leftovers(run) == []
            found, rejected = newest(folder.checkpoints)
            assert found and not rejected
            assert digest(found.groups) == new if done else digest(found.groups) in (old, new)
            work(run)
            found, rejected = newest(folder.checkpoints)
            assert found and not rejected and digest(found.groups) == new
            assert leftovers(run) == []
            assert len(list(folder.checkpoints.glob("step-*"))) <= 2
    assert faults > 20


@pytest.mark.parametrize("fault", [*FAULTS, pytest.param("kill", marks=needs_fork)])
def test_failed_write_leaves_old_or_new_model(
    template: Path, tmp_path: Path, fault: str, in_fresh_process: FreshProcess
) -> None:
    faults = 0
    for run, done in damaged_runs(template, tmp_path, save_model, fault, in_fresh_process):
        faults += 1
        with RunFolder.open(run):
            assert leftovers(run) == []
            tensors, config = read_model(run / "model")
            assert config["version"] == 2 if done else config["version"] in (1, 2)
            assert digest({"": tensors}) == digest({"": groups(config["version"])["ema"]})
    assert faults > 20


@pytest.mark.parametrize("fault", [*FAULTS, pytest.param("kill", marks=needs_fork)])
def test_failed_replacement_leaves_old_or_new_file(
    template: Path, tmp_path: Path, fault: str, in_fresh_process: FreshProcess
) -> None:
    for run, done in damaged_runs(template, tmp_path, save_file, fault, in_fresh_process):
        content = (run / "array.npy").read_bytes()
        assert content == b"new" * 10_000 or (content == b"old" and not done)
        with RunFolder.open(run):
            assert leftovers(run) == []


def test_replacing_file_deletes_its_temporary_file_on_errors(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(ValueError, match="of the body"), replacing_file(tmp_path / "a") as file:
        assert Path(file.name).parent == tmp_path
        file.write(b"new")
        raise ValueError("of the body")
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"old"
    with replacing_file(tmp_path / "a", durable=False) as file:
        file.write(b"new")
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"new"


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:7]))
    save_step(tmp_path, 1, 1)
    found, _ = newest(tmp_path / "checkpoints")
    assert found and digest(found.groups) == digest(groups(1))


def test_disk_that_alters_data_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data).replace(b"BF16", b"BF61")))
    with pytest.raises(DiskError, match=r"networks\.safetensors.*does not give back.*check the disk"):
        save(tmp_path, 1, {"networks": {"w": torch.zeros(2, dtype=torch.bfloat16)}}, {})
    assert list(tmp_path.iterdir()) == []


def save_more_than_allowed(folder: str) -> None:
    """Save 400 kB where files are limited to 100 kB; print the error. This runs in a fresh process."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        save(Path(folder), 2, {"networks": {"w": torch.zeros(100_000)}}, {})
    except DiskError as error:
        print(error)


def test_limit_on_file_sizes_is_reported_and_leaves_no_files(tmp_path: Path, in_fresh_process: FreshProcess) -> None:
    pytest.importorskip("resource")
    save_step(tmp_path, 1, 1)
    out, _ = in_fresh_process(__file__, save_more_than_allowed, tmp_path / "checkpoints").communicate(timeout=120)
    assert "networks.safetensors" in out and "limit on file sizes" in out and len(out.splitlines()) == 1
    assert names(tmp_path / "checkpoints") == ["LATEST", "step-00000001"]


if __name__ == "__main__":  # see `in_fresh_process`
    torch.set_num_threads(1)
    globals()[sys.argv[1]](*sys.argv[2:])
