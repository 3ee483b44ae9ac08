"""Durable changes to the disk: write aside, fsync, rename.

Every write of the project that must not leave half a file goes through this module. A test can thus replace its `os`
and make any one call fail.
"""

# A test replaces this module's `os`, so all calls go through it.
# ruff: noqa: PTH102, PTH104, PTH105, PTH106, PTH108, PTH208

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from transgan.errors import DiskError

TEMPORARY = ".tmp-"  # incomplete: deleted by the next sweep
TRASH = ".trash-"  # about to be deleted
BACKUP = ".old-"  # complete, kept until its replacement is in place

_BINARY = getattr(os, "O_BINARY", 0)
_REMEDIES = {
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
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the body into a `DiskError` that names the file, the reason and the remedy.

    Args:
        path: the file to name where the `OSError` names none.
    """
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the folder and the disk")
        reason = error.strerror or str(error)
        raise DiskError(f"cannot write {error.filename or path}: {reason}; {remedy}") from error


def make_folder(folder: Path) -> None:
    """Create a folder and its parents where they are missing."""
    if not folder.is_dir():
        make_folder(folder.parent)
        try:
            os.mkdir(folder)
        except FileExistsError:
            if not folder.is_dir():  # else another process created it first
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
        sync_folder(folder.parent)


def write_new(path: Path, data: bytes) -> None:
    """Write a new file; it is on the disk, not only in the system's cache, when this returns.

    Raises:
        FileExistsError: there is a file at `path`.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o666)
    try:
        _write_all(handle, data)
        os.fsync(handle)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(handle)


def open_to_append(path: Path) -> int:
    """Return a file descriptor whose writes go to the end of the file; create the file where it is missing."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _BINARY, 0o666)


def append(handle: int, data: bytes) -> None:
    """Append all of `data` to a file, or nothing of it where an error occurs."""
    size = os.lseek(handle, 0, os.SEEK_END)
    try:
        _write_all(handle, data)
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, size)
        raise


def drop_end(handle: int, count: int) -> None:
    """Remove the last `count` bytes of a file."""
    os.ftruncate(handle, os.lseek(handle, 0, os.SEEK_END) - count)


def replace(path: Path, data: bytes) -> None:
    """Replace the content of a file, or create it: at any moment it holds either the old content or all of `data`."""
    temporary = _temporary_path(path)
    try:
        write_new(temporary, data)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


@contextmanager
def replacing_file(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield an open temporary file that becomes `path` at the end of the body; an error in the body deletes it.

    Use it where the content comes in pieces. Errors stay `OSError`s; see `disk_errors`.

    Args:
        path: the file to create or replace. Its folder must exist.
        durable: wait until the content is on the disk. False for files that can be computed again: a crash of the
            system may then leave `path` damaged.

    Yields:
        A binary file, open for writing and reading. Its `name` is the path of the temporary file.
    """
    temporary = _temporary_path(path)
    try:
        with open(temporary, "x+b", opener=lambda name, flags: os.open(name, flags, 0o666)) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if durable:
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file as `replace` does; create its folder where it is missing.

    The target of a symbolic link is replaced, not the link. Something that exists and is no regular file, such as
    /dev/stdout, is written to directly.

    Raises:
        DiskError: the file cannot be written.
    """
    with disk_errors(path):
        make_folder(path.parent)
        if path.exists() and not path.is_file():
            path.write_bytes(text.encode())
        else:
            replace(path.resolve(), text.encode())


@contextmanager
def replacing_folder(place: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `place` at the end of the body; an error in the body deletes it."""
    temporary = _temporary_path(place)
    _finish_replacement(place)
    try:
        os.mkdir(temporary)
        yield temporary
        sync_folder(temporary)
        if os.path.lexists(place):
            os.rename(place, place.with_name(BACKUP + place.name))
        os.rename(temporary, place)
        sync_folder(place.parent)
    except BaseException:
        with suppress(OSError):
            _finish_replacement(place)
        with suppress(OSError):
            _delete(temporary)
        raise
    with suppress(OSError):  # the next sweep deletes what is left
        _finish_replacement(place)


def discard(path: Path) -> None:
    """Rename a file or folder to a hidden name, then delete it; the next `sweep` deletes what could not be deleted."""
    trash = path.with_name(f"{TRASH}{uuid4().hex}")
    os.rename(path, trash)
    with suppress(OSError):
        _delete(trash)


def sweep(folder: Path) -> None:
    """Finish or undo what a crash interrupted in a folder; skip what cannot be deleted now."""
    for name in sorted(os.listdir(folder)):
        with suppress(OSError):
            if name.startswith((TEMPORARY, TRASH)):
                _delete(folder / name)
            elif name.startswith(BACKUP):
                _finish_replacement(folder / name.removeprefix(BACKUP))


def sync_folder(folder: Path) -> None:
    """Write a folder's entries (created, renamed and deleted names) to the disk."""
    if os.name == "nt":  # Windows cannot open folders, and does not need to
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        error.filename = str(folder)
        if error.errno != errno.EINVAL:  # some file systems do not sync folders
            raise
    finally:
        os.close(handle)


def size_and_hash(path: Path) -> tuple[int, str]:
    """Return the size in bytes and the sha256 of a file, read back from the disk."""
    with os.fdopen(os.open(path, os.O_RDONLY | _BINARY), "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def _temporary_path(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY}{path.name}-{uuid4().hex}")


def _write_all(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:  # one call may write less than it is given, and never writes more than 2 GiB
        rest = rest[os.write(handle, rest) :]


def _finish_replacement(place: Path) -> None:
    """Delete the backup of `place` where `place` exists; else restore `place` from it."""
    backup = place.with_name(BACKUP + place.name)
    if not os.path.lexists(backup):
        return
    if os.path.lexists(place):
        discard(backup)
    else:
        os.rename(backup, place)


def _delete(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        os.unlink(path)
        return
    for name in os.listdir(path):
        _delete(path / name)
    os.rmdir(path)
