"""The folder of one run: the places of its files, and the lock that excludes other processes."""

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
from typing import Any, Self

from transgan.errors import BusyError, UsageError
from transgan.storage import atomic, checkpoints
from transgan.text import shell_word

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FLOCK_UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # some network file systems

_locks: set[int] = set()  # file descriptors of the locks that this process holds


class RunFolder:
    """The locked folder of one run; the only place that defines the names of its files.

    Make one with `create` or `open`; `close` it, or use it in a `with` statement.
    """

    def __init__(self, path: Path, lock: int, lock_file: Path | None = None):
        self.path = path
        self._lock = lock
        self._lock_file = lock_file

    @classmethod
    def create(cls, base: Path, name: str) -> Self:
        """Create and lock a new run folder `base/<name>-<n>`, with the smallest free `n`.

        Raises:
            UsageError: `name` is no valid folder name, or `base` is a file.
            DiskError: the folder cannot be created.
        """
        if not re.fullmatch(r"\w[\w.+-]{0,99}", name):
            raise UsageError(f"name {name!r} cannot name a folder; use letters, digits, '.', '_', '+' and '-'")
        for n in count(1):
            path = base.absolute() / f"{name}-{n}"
            _make(path.parent)
            with atomic.disk_errors(path), suppress(FileExistsError, BusyError):  # another process took this number
                path.mkdir()
                atomic.sync_folder(path.parent)
                return cls.open(path)
        raise AssertionError("unreachable")

    @classmethod
    def at(cls, path: Path) -> Self:
        """Return a folder as it is, unlocked, to read what is in it."""
        return cls(path.absolute(), -1)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open and lock the folder of a run, or make a run folder of an empty or missing folder.

        Hidden files do not count, and stay. What an interrupted write left in a run is finished or undone.

        Raises:
            UsageError: `path` is a file, or a folder with other content, also where it has the names of a run's files;
                or `model/` in it holds something other than a model.
            BusyError: another process has locked it.
            DiskError: it cannot be written.
        """
        path = path.absolute()
        _make(path)
        lock = path / ".lock"
        with atomic.disk_errors(path):
            ours = _is_run(path)
            visible = any(not entry.name.startswith(".") for entry in path.iterdir())
            other = UsageError(f"{path} is neither a run nor empty; choose another folder")
            if lock.is_symlink() or (visible and not ours and not lock.is_file()):
                raise other
            run = cls(path, *_acquire_lock(path))  # this says first that another process uses it
            try:
                if not ours and not _is_run(path) and (visible or lock.stat().st_size):
                    raise other
                _write_holder(run._lock)
                checkpoints.check_model_place(run.model, of_run=True)
                if ours:
                    atomic.sweep(path.resolve())
                for folder in (run.samples, run.checkpoints):
                    atomic.make_folder(folder)
                    if ours:
                        atomic.sweep(folder)
            except BaseException:
                run.close()
                raise
        return run

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.toml"

    @property
    def fallback(self) -> Path:
        """The fallback recipe that the run continued with, where its objective failed."""
        return self.path / "recipe.fallback.toml"

    @property
    def metrics(self) -> Path:
        """Losses and metrics, one JSON record a line."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """Messages with their time."""
        return self.path / "log.txt"

    @property
    def samples(self) -> Path:
        """The folder of previews saved during training."""
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
        """The final evaluation."""
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        """The report on the run, an HTML page."""
        return self.path / "report.html"

    @property
    def environment(self) -> Path:
        """Versions, device and processes of the run."""
        return self.path / "env.json"

    @property
    def in_use(self) -> bool | None:
        """Whether the process that last locked the folder exists; None where that cannot be known."""
        holder = _read_holder(self.path / ".lock")
        if holder is None:
            return False
        if holder["host"] != socket.gethostname() or os.name == "nt":  # there `os.kill` would end the process
            return None
        try:
            os.kill(holder["pid"], 0)
        except (ProcessLookupError, OverflowError):
            return False
        except OSError:
            pass  # somebody else's
        return True

    def close(self) -> None:
        """Release the lock."""
        if self._lock in _locks:
            _locks.remove(self._lock)
            _release_lock(self._lock, self._lock_file)
        self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


def finish_remedy(folder: Path) -> str:
    """Return the end of a message about something damaged in a folder: where it is that of a run, how to mend it."""
    if not checkpoints.has_checkpoint(RunFolder.at(folder).checkpoints):
        return ""
    return f"; transgan finish {shell_word(folder)} writes it anew"


def _make(folder: Path) -> None:
    with atomic.disk_errors(folder):
        try:
            atomic.make_folder(folder)
        except NotADirectoryError:
            raise UsageError(f"{folder} cannot be a folder, a file is in the way; choose another folder") from None


def _acquire_lock(folder: Path) -> tuple[int, Path | None]:
    """Lock a folder. The content of `.lock` stays as it is, see `_write_holder`.

    Returns:
        The descriptor of `.lock`, and `.lock-held` where the system has no locks and that file's existence is the lock.
    """
    lock, lock_file = folder / ".lock", None
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _flock(handle, lock):
            file = folder / ".lock-held"
            try:
                os.close(os.open(file, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                raise _busy_error(lock, f"; if that process is gone, delete {file}") from None
            lock_file = file
    except BaseException:
        _release_lock(handle, lock_file)
        raise
    _locks.add(handle)
    return handle, lock_file


def _write_holder(handle: int) -> None:
    """Write into `.lock` who holds it; this also marks the folder as a run."""
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "started": datetime.now().astimezone().isoformat()}
    data = json.dumps(holder).encode()
    os.lseek(handle, 0, os.SEEK_SET)
    os.ftruncate(handle, os.write(handle, data))


def _is_run(folder: Path) -> bool:
    """Return whether a folder is a run, by what only TransGAN writes: the names of a run's files may be anybody's."""
    return _read_holder(folder / ".lock") is not None or checkpoints.has_checkpoint(folder / "checkpoints")


def _read_holder(lock: Path) -> dict[str, Any] | None:
    """Return who holds or held a lock, or None where the file says nothing of the kind."""
    try:
        if not lock.is_file() or lock.is_symlink() or lock.stat().st_size > 10_000:
            return None
        holder = json.loads(lock.read_text(encoding="utf-8"))
        return {**holder, "pid": int(holder["pid"])} if holder.keys() >= {"pid", "host", "started"} else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _release_lock(handle: int, lock_file: Path | None) -> None:
    os.close(handle)
    if lock_file:
        with suppress(OSError):
            lock_file.unlink()


def _flock(handle: int, lock: Path) -> bool:
    """Lock a file by the system, which releases the lock when this process ends; return False where it has no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _busy_error(lock) from None
    except OSError as error:
        if error.errno in _FLOCK_UNSUPPORTED:
            return False
        raise
    return True


def _busy_error(lock: Path, hint: str = "") -> BusyError:
    holder = _read_holder(lock)  # None until the holder has written it
    who = f"process {holder['pid']} on {holder['host']}" if holder else "another process"
    return BusyError(f"{lock.parent} is in use by {who}; wait for it or choose another folder{hint}")


def _close_inherited_locks() -> None:
    """Close the locks in a forked process: a worker that outlives a killed run must not keep its folder locked."""
    for handle in _locks:
        os.close(handle)
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited_locks)
