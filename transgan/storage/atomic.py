"""Durable changes to the disk: write aside, fsync, rename.

Every write of the project that replaces something goes through this module. A test can thus replace its `os` and make
any one call fail. It removes nothing but what it was given, and what has a name that only this module gives.
"""

# A test replaces this module's `os`, so all calls go through it.
# ruff: noqa: PTH102, PTH106, PTH108, PTH208

import errno
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from transgan.errors import DiskError

TEMPORARY = ".transgan-tmp-"  # incomplete: deleted by the next sweep
TRASH = ".transgan-trash-"  # about to be deleted
BACKUP = ".transgan-old-"  # complete, kept until its replacement is in place

_SWEPT = re.compile(f"({re.escape(TEMPORARY)}|{re.escape(TRASH)})[0-9a-f]{{32}}")
_BACKUP = re.compile(f"{re.escape(BACKUP)}[0-9a-f]{{32}}-(.+)", re.DOTALL)

_BINARY = getattr(os, "O_BINARY", 0)
#: Seconds between attempts to rename on Windows, where a file that another program has open, such as a virus scanner or
#: `transgan watch`, can be neither renamed nor replaced.
_ATTEMPTS = (0.01, 0.03, 0.1, 0.3, 1.0)
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
        path: the file to name where the `OSError` names none, or a temporary one.
    """
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the folder and the disk")
        reason = error.strerror or str(error)
        raise DiskError(f"cannot write {_named(error, path)}: {reason}; {remedy}") from error


def _named(error: OSError, path: Path) -> Path:
    """Return the file to name: `path`, or what would be below it, where the error names a temporary file."""
    parts = Path(str(error.filename or path)).parts
    for i, part in enumerate(parts):
        if _SWEPT.fullmatch(part):
            return path.joinpath(*parts[i + 1 :])
    return Path(*parts)


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


def sync_file(handle: int) -> None:
    """Wait until all that was written to a file is on the disk."""
    os.fsync(handle)


def drop_end(handle: int, count: int) -> None:
    """Remove the last `count` bytes of a file."""
    os.ftruncate(handle, os.lseek(handle, 0, os.SEEK_END) - count)


def replace(path: Path, data: bytes) -> None:
    """Replace the content of a file, or create it: at any moment it holds either the old content or all of `data`."""
    temporary = _own_path(path.parent, TEMPORARY)
    try:
        write_new(temporary, data)
        _moved(os.replace, temporary, path)
        sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


@contextmanager
def replacing_file(path: Path, durable: bool = True) -> Iterator[BinaryIO]:
    """Yield an open temporary file that becomes `path` at the end of the body; an error in the body deletes it.

    Use it where the content comes in pieces, or from a library that writes to an open file. So a failed write leaves
    what stood at `path`. A link at `path` is replaced, not what it links to. Errors stay `OSError`s.

    Args:
        path: the file to create or replace. Its folder is created where it is missing.
        durable: wait until the content is on the disk. False for files that can be computed again: a crash of the
            system may then leave `path` damaged.

    Yields:
        A binary file, open for writing and reading. Its `name` is the path of the temporary file.
    """
    make_folder(path.parent)
    temporary = _own_path(path.parent, TEMPORARY)
    try:
        with open(temporary, "x+b", opener=lambda name, flags: os.open(name, flags, 0o666)) as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        _moved(os.replace, temporary, path)
        if durable:
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file as `replace` does; create its folder where it is missing.

    A link is replaced, not what it links to. What exists and is no regular file, such as /dev/stdout, is written to
    directly.

    Raises:
        DiskError: the file cannot be written.
    """
    with disk_errors(path):
        make_folder(path.parent)
        if path.exists() and not path.is_file():
            path.write_bytes(text.encode())
        else:
            replace(path, text.encode())


@contextmanager
def replacing_folder(place: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `place` at the end of the body; an error in the body deletes it.

    The current folder and a mount point cannot be renamed: there the content is replaced, entry by entry, and put back
    where that fails.
    """
    fixed = place.is_dir() and (os.path.ismount(place) or place.samefile(os.curdir))
    temporary = _own_path(place if fixed else place.parent, TEMPORARY)
    _finish_replacement(place)
    try:
        os.mkdir(temporary)
        yield temporary
        sync_folder(temporary)
        if fixed:
            _exchange_content(temporary, place)
        else:
            if os.path.lexists(place):
                _moved(os.rename, place, place.with_name(f"{BACKUP}{uuid4().hex}-{place.name}"))
            _moved(os.rename, temporary, place)
            sync_folder(place.parent)
    except BaseException:
        with suppress(OSError):
            _finish_replacement(place)
        with suppress(OSError):
            _delete(temporary)
        raise
    with suppress(OSError):  # the next sweep deletes what is left
        if fixed:
            os.rmdir(temporary)
        else:
            _finish_replacement(place)


def discard(path: Path) -> None:
    """Rename a file or folder to a hidden name, then delete it; the next `sweep` deletes what could not be deleted."""
    trash = _own_path(path.parent, TRASH)
    _moved(os.rename, path, trash)
    with suppress(OSError):
        _delete(trash)


def set_aside(path: Path) -> None:
    """Give a file or folder that is in the way, and that nobody may delete, another visible name beside it."""
    _moved(os.rename, path, path.with_name(f"{path.name}.{uuid4().hex[:8]}"))


def sweep(folder: Path) -> None:
    """Finish or undo what a crash interrupted in a folder of ours; skip what cannot be deleted now.

    Only names that this module gives are touched, so a user's own hidden files stay. A folder that is a link is not
    swept: what it links to may be anybody's.
    """
    if folder.is_symlink():
        return
    for name in sorted(os.listdir(folder)):
        with suppress(OSError):
            if _SWEPT.fullmatch(name):
                _delete(folder / name)
            elif backup := _BACKUP.fullmatch(name):
                _finish_replacement(folder / backup[1])


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


def ignores_case(folder: Path) -> bool:
    """Return whether names that differ by case or Unicode form alone are one file in a folder, or where it would be."""
    while not folder.is_dir():
        folder = folder.parent
    probe = _own_path(folder, TEMPORARY)
    try:
        write_new(probe, b"")
    except OSError:
        return True  # the careful answer
    try:
        return probe.with_name(probe.name.upper()).exists()
    finally:
        os.unlink(probe)


def _own_path(folder: Path, kind: str) -> Path:
    """Return a new hidden path in a folder. It does not hold the name of what it is for, which may be long."""
    return folder / f"{kind}{uuid4().hex}"


def _moved(call: Callable[[Path, Path], None], before: Path, after: Path) -> None:
    """Call `os.rename` or `os.replace`; on Windows again where another program has the file open for a moment."""
    for wait in _ATTEMPTS if os.name == "nt" else ():
        try:
            call(before, after)
            return
        except PermissionError:
            time.sleep(wait)
    call(before, after)


def _write_all(handle: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:  # one call may write less than it is given, and never writes more than 2 GiB
        rest = rest[os.write(handle, rest) :]


def _finish_replacement(place: Path) -> None:
    """Delete the backups of `place` where `place` exists; else restore `place` from one."""
    for name in os.listdir(place.parent):
        if (backup := _BACKUP.fullmatch(name)) and backup[1] == place.name:
            if os.path.lexists(place):
                discard(place.with_name(name))
            else:
                _moved(os.rename, place.with_name(name), place)


def _exchange_content(temporary: Path, place: Path) -> None:
    """Replace the entries of `place` by those of `temporary`, a folder in it; where that fails, put them back."""
    old, new = (sorted(os.listdir(folder)) for folder in (place, temporary))
    aside = place / f"{BACKUP}{uuid4().hex}-content"
    os.mkdir(aside)
    moves = [(place / name, aside / name) for name in old if name != temporary.name]
    moves += [(temporary / name, place / name) for name in new]
    moved = 0
    try:
        for before, after in moves:
            _moved(os.rename, before, after)
            moved += 1
        sync_folder(place)
    except BaseException:
        for before, after in reversed(moves[:moved]):
            _moved(os.rename, after, before)
        os.rmdir(aside)
        raise
    with suppress(OSError):
        _delete(aside)


def _delete(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        os.unlink(path)
        return
    for name in os.listdir(path):
        _delete(path / name)
    os.rmdir(path)
