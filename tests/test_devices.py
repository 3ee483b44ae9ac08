"""Other systems, as far as they can be simulated here: Apple's GPUs, which have no float64, and macOS and Windows."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transgan_images

import transgan
from transgan import cli, rng
from transgan.inference import devices
from transgan.inference.tiling import statistics
from transgan.storage import atomic

FOLDERS = (Path(transgan.__file__).parent, Path(transgan_images.__file__).parent.parent)


def sources() -> list[Path]:
    core, plugins = FOLDERS
    return [*core.rglob("*.py"), *(path for path in plugins.glob("transgan_*/**/*.py"))]


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_models_run_on_the_best_device(cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert devices.best_device() == expected


@pytest.mark.skipif(torch.accelerator.is_available(), reason="there is a GPU")
def test_where_the_best_device_cannot_be_used_the_cpu_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)  # and torch here is built without it
    assert devices.find_device(None) == torch.device("cpu")
    with pytest.raises(transgan.errors.UsageError, match='device="mps": cannot be used'):
        devices.find_device("mps")


def test_apples_gpus_are_given_no_float64() -> None:
    on_mps: Any = SimpleNamespace(device=torch.device("mps"), float=lambda: "float32", double=lambda: "float64")
    assert statistics.exact(on_mps) == "float32"
    assert statistics.exact(torch.ones(1)).dtype == torch.float64


def test_numbers_go_to_the_cpu_before_they_become_float64() -> None:
    found = [path for path in sources() if re.search(r"\.double\(\)\.cpu\(\)", path.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    ("system", "before", "after"),
    [("darwin", None, "1"), ("darwin", "0", "0"), ("linux", None, None), ("win32", None, None)],
)
def test_what_apples_gpus_lack_is_computed_on_the_cpu(
    system: str, before: str | None, after: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "PYTORCH_ENABLE_MPS_FALLBACK"
    monkeypatch.setenv(name, "")  # so that it is restored
    monkeypatch.delenv(name)
    if before is not None:
        monkeypatch.setenv(name, before)
    monkeypatch.setattr(cli, "sys", SimpleNamespace(platform=system))
    cli._allow_fallback()
    assert os.environ.get(name) == after


def test_text_files_are_read_as_utf_8() -> None:
    """Not in the encoding of the system, which on Windows is another one."""
    found = [path for path in sources() if ".read_text()" in path.read_text(encoding="utf-8")]
    assert found == []


def failing(times: int, real: Callable[..., None]) -> Callable[..., None]:
    """Return a function that fails that often, as Windows does with a file that is open elsewhere."""
    left = [times]

    def call(*paths: Path) -> None:
        if left[0]:
            left[0] -= 1
            raise PermissionError(13, "The process cannot access the file because it is being used by another process")
        real(*paths)

    return call


@pytest.mark.parametrize("times", [0, 1, 4])
def test_on_windows_a_file_that_is_open_for_a_moment_is_replaced(
    times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = SimpleNamespace(**vars(os))
    windows.name, windows.replace = "nt", failing(times, os.replace)
    monkeypatch.setattr(atomic, "os", windows)
    monkeypatch.setattr(atomic, "_ATTEMPTS", (0.0,) * 5)
    atomic.replace(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("system", "times"), [("nt", 6), ("posix", 1)])
def test_a_file_that_stays_open_is_an_error_and_nothing_is_left(
    system: str, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = SimpleNamespace(**vars(os))
    other.name, other.replace = system, failing(times, os.replace)
    monkeypatch.setattr(atomic, "os", other)
    monkeypatch.setattr(atomic, "_ATTEMPTS", (0.0,) * 5)
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(PermissionError):
        atomic.replace(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("device", "copies"),
    [("cuda", ["pinned", ("cuda", True)]), ("mps", [("mps", False)]), ("meta", [("meta", True)]), ("cpu", [])],
)
def test_only_copies_to_cuda_do_not_wait(device: str, copies: list[Any]) -> None:
    """PyTorch's copies from memory that is not pinned could read it after it is free."""
    seen: list[Any] = []

    class Array:
        device = torch.device("cpu")

        def pin_memory(self) -> "Array":
            seen.append("pinned")
            return self

        def to(self, device: torch.device, non_blocking: bool = False) -> "Array":
            seen.append((device.type, non_blocking))
            return self

    on_host: Any = Array()
    rng.to_device(on_host, device)
    assert seen == copies


@pytest.mark.parametrize(
    ("device", "copied"), [("cuda", False), ("cuda:1", False), ("cuda:0", True), ("cpu", True), ("cpu:0", True)]
)
def test_what_is_on_another_device_of_a_type_is_copied_too(device: str, copied: bool) -> None:
    class Array:
        device = torch.device("cuda:1")

        def to(self, device: torch.device, non_blocking: bool = False) -> "Array":
            other = Array()
            other.device = device
            return other

    x: Any = Array()
    result = rng.to_device(x, device)
    assert (result is not x) == copied
    assert not copied or result.device == torch.device(device)
