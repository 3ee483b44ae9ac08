"""One save is broken at each of its calls to the system, in every way that a system has."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from transgan.errors import DiskError
from transgan.runs import RunFolder, _disk, digest, newest, read_model, save, write_model

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="a crash is played in a forked process"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),  # the child only ever makes files
]

CHANGING = {"open", "write", "fsync", "rename", "replace", "mkdir", "unlink", "rmdir", "ftruncate"}


class Breaking:
    """The module `os`, which does `harm` instead of the call number `at`, and of all later ones if it is for good."""

    def __init__(self, at: int, harm: Callable[..., Any], for_good: bool = False):
        self.at, self.harm, self.for_good = at, harm, for_good
        self.calls = 0
        self.unsynced: dict[int, int] = {}  # handle of a file -> a handle of ours, which follows it through renames

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CHANGING:
            return real

        def call(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls == self.at or (self.for_good and self.calls > self.at):
                self.harm(self, name, *args)
            result = real(*args, **options)
            if name == "open" and args[1] & os.O_CREAT:
                self.unsynced[result] = os.dup(result)
            if name == "fsync" and args[0] in self.unsynced:
                os.close(self.unsynced.pop(args[0]))
            return result

        return call


def fail(number: int) -> Callable[..., None]:
    def harm(system: Breaking, name: str, *args: Any) -> None:
        raise OSError(number, os.strerror(number))

    return harm


def kill(system: Breaking, name: str, *args: Any) -> None:
    if name == "write":  # half a file
        os.write(args[0], args[1][: len(args[1]) // 2])
    os._exit(9)


class PowerLost(BaseException):
    """Nothing runs any more, not even what cleans up."""


def lose_power(system: Breaking, name: str, *args: Any) -> None:
    for handle in system.unsynced.values():
        os.ftruncate(handle, 0)
    raise PowerLost


WAYS = {"eio": fail(errno.EIO), "enospc": fail(errno.ENOSPC), "killed": kill, "power lost": lose_power}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def groups(step: int) -> dict[str, dict[str, torch.Tensor]]:
    make = torch.Generator().manual_seed(step)
    return {
        "networks": {"w": torch.randn(3, 4, generator=make), "steps": torch.tensor(step)},
        "ema": {"w": torch.randn(3, 4, generator=make)},
    }


def save_step(run: Path, step: int, version: int) -> None:
    save(run / "checkpoints", step, groups(version), {"step": step}, keep=2, texts={"recipe.toml": "a = 1\n"})


def save_a_new_step(run: Path) -> None:
    save_step(run, 3, 3)


def save_the_same_step(run: Path) -> None:
    save_step(run, 2, 3)


def save_an_earlier_step(run: Path) -> None:
    save_step(run, 1, 3)


def leftovers(run: Path) -> list[str]:
    return [path.name for path in run.rglob(".*") if not path.name.startswith(".lock")]


def damaged_runs(template: Path, at: Path, work: Callable[[Path], None], way: str) -> Iterator[tuple[Path, bool]]:
    """The run after each failure, and whether the work said that it was done."""
    k = 0
    while True:
        k += 1
        run = at / str(k)
        shutil.copytree(template, run)
        system = Breaking(k, WAYS[way], for_good=way in ("enospc", "power lost"))
        done = False
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_disk, "os", system)
            if way == "killed":
                child = os.fork()
                if child == 0:
                    with suppress(BaseException):
                        work(run)
                        os._exit(0 if system.calls < k else 1)
                    os._exit(2)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                assert status in (0, 9)
                done = status == 0
            else:
                try:
                    work(run)
                    done = True
                except DiskError as error:
                    assert "\n" not in str(error) and str(run) in str(error), error
                except PowerLost:
                    pass
        for handle in system.unsynced.values():
            os.close(handle)
        yield run, done
        shutil.rmtree(run)
        if done and system.calls < k:  # in the end there was nothing left to break
            assert k > 20
            return


@pytest.fixture(autouse=True)
def no_real_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a sync is for is played by `lose_power`; a real one would only take time."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("template") / "run"
    for step in (1, 2):
        save_step(run, step, step)
    write_model(run / "model", groups(1)["ema"], {"version": 1}, "card")
    return run


@pytest.mark.parametrize(
    ("work", "way"),
    [
        *((save_a_new_step, way) for way in WAYS),
        *((save_the_same_step, way) for way in ("eio", "power lost")),
        *((save_an_earlier_step, way) for way in ("eio", "power lost")),
    ],
)
def test_a_broken_save_leaves_the_old_or_the_new_checkpoint(
    template: Path, tmp_path: Path, work: Callable[[Path], None], way: str
) -> None:
    old, new = digest(groups(2)), digest(groups(3))
    for run, done in damaged_runs(template, tmp_path, work, way):
        if way == "eio":
            assert not list(run.rglob(".tmp-*")), "the save cleans up after itself"
        found, rejected = newest(run / "checkpoints")
        assert not rejected
        if work is save_a_new_step or way == "eio":  # else opening the folder puts back what was being replaced
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


@pytest.mark.parametrize("way", ["eio", "enospc", "killed", "power lost"])
def test_a_broken_write_leaves_the_old_or_the_new_model(template: Path, tmp_path: Path, way: str) -> None:
    def work(run: Path) -> None:
        write_model(run / "model", groups(2)["ema"], {"version": 2}, "card")

    for run, done in damaged_runs(template, tmp_path, work, way):
        with RunFolder.open(run):
            assert leftovers(run) == []
            tensors, config = read_model(run / "model")
            assert config["version"] == 2 if done else config["version"] in (1, 2)
            assert digest({"": tensors}) == digest({"": groups(config["version"])["ema"]})


def test_a_system_that_takes_a_few_bytes_at_a_time_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:7]))
    save_step(tmp_path, 1, 1)
    found, _ = newest(tmp_path / "checkpoints")
    assert found and digest(found.groups) == digest(groups(1))


def test_a_disk_that_changes_what_is_written_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, bytes(data).replace(b"BF16", b"BF61")))
    with pytest.raises(DiskError, match=r"networks\.safetensors.*does not give back.*check the disk"):
        save(tmp_path, 1, {"networks": {"w": torch.zeros(2, dtype=torch.bfloat16)}}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_limit_on_file_sizes_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    import resource

    save_step(tmp_path, 1, 1)
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            save(tmp_path / "checkpoints", 2, {"networks": {"w": torch.zeros(100_000)}}, {})
        except DiskError as error:
            os._exit(7 if "networks.safetensors" in str(error) and "limit on file sizes" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert names(tmp_path / "checkpoints") == ["LATEST", "step-00000001"]
