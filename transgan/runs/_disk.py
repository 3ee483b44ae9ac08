"""Every call that changes the disk, in one place, so that a test can break any one of them."""

# A test replaces this module's `os`, so all goes through it.
# ruff: noqa: PTH102, PTH104, PTH105, PTH106, PTH108, PTH208

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from transgan.errors import DiskError

ASIDE = ".tmp-"  # half written: of no use to anybody
TRASH = ".trash-"  # on its way out
REPLACED = ".old-"  # whole, and kept until its successor is in place

_BINARY = getattr(os, "O_BINARY", 0)
_ADVICE = {
    errno.ENOSPC: "free some space and try again",
    errno.EDQUOT: "free some of your quota and try again",
    errno.EFBIG: "raise the limit on file sizes, or choose another folder",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder that can be written to",
    errno.EIO: "check the disk",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
}


@contextmanager
def blame(path: Path) -> Iterator[None]:
    """Turn an `OSError` into a `DiskError`: which file, why, and what to do."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "check the folder and the disk")
        reason = error.strerror or str(error)
        raise DiskError(f"cannot write {error.filename or path}: {reason}; {advice}") from error


def make(folder: Path) -> None:
    """The folder, with its parents, if it is not there yet."""
    if not folder.is_dir():
        make(folder.parent)
        try:
            os.mkdir(folder)
        except FileExistsError:
            if not folder.is_dir():  # else another process was quicker
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
        sync(folder.parent)


def write(path: Path, data: bytes) -> None:
    """A new file, on the disk and not just in a cache when this returns."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    try:
        _write(handle, data)
        os.fsync(handle)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(handle)


def appending(path: Path) -> int:
    """A handle whose writes go to the end of the file."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY, 0o666)


def append(handle: int, data: bytes) -> None:
    """All of `data` at the end of a file, or nothing of it."""
    size = os.lseek(handle, 0, os.SEEK_END)
    try:
        _write(handle, data)
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, size)
        raise


def cut(handle: int, count: int) -> None:
    """Take `count` bytes off the end of a file."""
    os.ftruncate(handle, os.lseek(handle, 0, os.SEEK_END) - count)


def replace(path: Path, data: bytes) -> None:
    """A file that holds, at any moment, either what it held or `data`."""
    aside = _aside(path)
    try:
        write(aside, data)
        os.replace(aside, path)
        sync(path.parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(aside)
        raise


def write_text(path: Path, text: str) -> None:
    """A file that holds, at any moment, either what it held or `text`, in a folder that is made where it is missing.
    What is there and is no file, such as /dev/stdout, is written into. DiskError."""
    with blame(path):
        make(path.parent)
        if path.exists() and not path.is_file():
            path.write_bytes(text.encode())
        else:
            replace(path.resolve(), text.encode())  # a link stays a link


@contextmanager
def replacing(place: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `place` when all went well, and vanishes if not."""
    aside = _aside(place)
    _settle(place)
    try:
        os.mkdir(aside)
        yield aside
        sync(aside)
        if os.path.lexists(place):
            os.rename(place, place.with_name(REPLACED + place.name))
        os.rename(aside, place)
        sync(place.parent)
    except BaseException:
        with suppress(OSError):
            _settle(place)
        with suppress(OSError):
            _remove(aside)
        raise
    with suppress(OSError):  # what stays behind is swept later
        _settle(place)


def discard(path: Path) -> None:
    """Put a file or folder out of sight at once, and delete it, now or at the next `sweep`."""
    trash = path.with_name(f"{TRASH}{uuid4().hex}")
    os.rename(path, trash)
    with suppress(OSError):
        _remove(trash)


def sweep(folder: Path) -> None:
    """Finish or undo what a crash cut short; what cannot be deleted now is left for the next time."""
    for name in sorted(os.listdir(folder)):
        with suppress(OSError):
            if name.startswith((ASIDE, TRASH)):
                _remove(folder / name)
            elif name.startswith(REPLACED):
                _settle(folder / name.removeprefix(REPLACED))


def sync(folder: Path) -> None:
    """Make the names in a folder last."""
    if os.name == "nt":  # which neither can nor need
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        error.filename = str(folder)
        if error.errno != errno.EINVAL:  # a file system that does not sync folders
            raise
    finally:
        os.close(handle)


def measure(path: Path) -> tuple[int, str]:
    """Bytes and sha256 of a file, as the disk gives them back."""
    with os.fdopen(os.open(path, os.O_RDONLY | _BINARY), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def _aside(path: Path) -> Path:
    return path.with_name(f"{ASIDE}{path.name}-{uuid4().hex}")


def _write(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:  # the system may take a part, above all of more than 2 GiB
        rest = rest[os.write(handle, rest) :]


def _settle(place: Path) -> None:
    """After a replacement, whole or cut short: `place` is there and its predecessor is not."""
    old = place.with_name(REPLACED + place.name)
    if not os.path.lexists(old):
        return
    if os.path.lexists(place):
        discard(old)
    else:
        os.rename(old, place)


def _remove(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        os.unlink(path)
        return
    for name in os.listdir(path):
        _remove(path / name)
    os.rmdir(path)
