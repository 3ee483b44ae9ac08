"""One run's folder: where each of its files is, and the lock that keeps a second process out."""

import errno
import json
import os
import re
import socket
from contextlib import suppress
from datetime import datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from transgan.errors import BusyError, UsageError
from transgan.runs import _disk

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_NO_FLOCK = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # some network file systems

_held: set[int] = set()  # handles of the locks of this process


class RunFolder:
    """The folder of one run, locked; the only place that knows the names of its files."""

    def __init__(self, path: Path, lock: int, claim: Path | None = None):
        self.path = path
        self._lock = lock
        self._claim = claim

    @classmethod
    def create(cls, base: Path, name: str) -> Self:
        """A new run `base/<name>-<n>`, with the smallest `n` that is free."""
        if not re.fullmatch(r"\w[\w.+-]{0,99}", name):
            raise UsageError(f"name {name!r} cannot name a folder; use letters, digits, '.', '_', '+' and '-'")
        for n in count(1):
            path = base.absolute() / f"{name}-{n}"
            _make(path.parent)
            with _disk.blame(path), suppress(FileExistsError, BusyError):  # somebody was quicker
                path.mkdir()
                _disk.sync(path.parent)
                return cls.open(path)
        raise AssertionError("unreachable")

    @classmethod
    def open(cls, path: Path) -> Self:
        """An existing run, or an empty or new folder that is to become one."""
        path = path.absolute()
        _make(path)
        with _disk.blame(path):
            names = {entry.name for entry in path.iterdir()}
            if not names & {".lock", "recipe.toml", "checkpoints"} and any(not name.startswith(".") for name in names):
                raise UsageError(f"{path} is neither a run nor empty; choose another --out")
            run = cls(path, *_take(path))
            try:
                _disk.sweep(path)
                for folder in (run.samples, run.checkpoints):
                    _disk.make(folder)
                    _disk.sweep(folder)
            except BaseException:
                run.close()
                raise
        return run

    @property
    def recipe(self) -> Path:
        """The recipe as resolved."""
        return self.path / "recipe.toml"

    @property
    def fallback(self) -> Path:
        """The recipe that the run has gone on by, where its objective had failed."""
        return self.path / "recipe.fallback.toml"

    @property
    def metrics(self) -> Path:
        """One JSON record a line."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """What was said, with the time."""
        return self.path / "log.txt"

    @property
    def samples(self) -> Path:
        """The folder of samples drawn on the way."""
        return self.path / "samples"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The folder of the trained model."""
        return self.path / "model"

    @property
    def result(self) -> Path:
        """How the run ended."""
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        """The run as one page."""
        return self.path / "report.html"

    def close(self) -> None:
        """Let the next process in."""
        if self._lock in _held:
            _held.remove(self._lock)
            _give_back(self._lock, self._claim)
        self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def _make(folder: Path) -> None:
    with _disk.blame(folder):
        try:
            _disk.make(folder)
        except NotADirectoryError:
            raise UsageError(f"{folder} cannot be a folder, a file is in the way; choose another --out") from None


def _take(folder: Path) -> tuple[int, Path | None]:
    """The lock's handle, and the file that must be deleted as well where the system has no locks."""
    lock, claim = folder / ".lock", None
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _flock(handle, lock):
            file = folder / ".lock-held"
            try:
                os.close(os.open(file, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                raise _busy(lock, f"; if that process is gone, delete {file}") from None
            claim = file
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "started": datetime.now().astimezone().isoformat()}
        os.ftruncate(handle, 0)
        os.write(handle, json.dumps(holder).encode())
    except BaseException:
        _give_back(handle, claim)
        raise
    _held.add(handle)
    return handle, claim


def _give_back(handle: int, claim: Path | None) -> None:
    os.close(handle)
    if claim:
        with suppress(OSError):
            claim.unlink()


def _flock(handle: int, lock: Path) -> bool:
    """Whether the system gave us the lock, which it takes back however this process ends; no if it has no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _busy(lock) from None
    except OSError as error:
        if error.errno in _NO_FLOCK:
            return False
        raise
    return True


def _busy(lock: Path, hint: str = "") -> BusyError:
    try:
        holder = json.loads(lock.read_text())
        who = f"process {int(holder['pid'])} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):  # it has only just begun
        who = "another process"
    return BusyError(f"{lock.parent} is in use by {who}; wait for it or choose another --out{hint}")


def _forget() -> None:
    """A forked worker must not keep the lock when the run is killed."""
    for handle in _held:
        os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
