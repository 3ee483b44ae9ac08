"""Finding files in folders: hidden ones are skipped, linked folders are followed, and what is skipped is listed."""

import os
import stat
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from transgan.errors import DataError


@dataclass
class FoundFiles:
    """The files in a folder, and what was skipped."""

    files: list[Path] = field(default_factory=list)
    """Regular files, sorted by path."""
    skipped: dict[Path, str] = field(default_factory=dict)
    """Other entries, each with the reason: files and folders that are hidden, broken links, what cannot be read."""
    unreadable: list[Path] = field(default_factory=list)
    """Of these the folders that cannot be read, in which there may be files."""


def find_files(folder: Path, pattern: str = "**/*") -> FoundFiles:
    """Return the files below a folder that match a glob, with those in linked folders, without hidden ones.

    A folder is read once: one to which several links lead is found at its own place or, if it has none here, by the
    first link. So a link to a folder above it ends nowhere in a circle.

    Args:
        folder: the folder.
        pattern: a glob below it, in which `**` stands for any number of folders.

    Raises:
        DataError: the folder cannot be read.
    """
    found = FoundFiles()
    segments = pattern.split("/")
    read = {_identity(folder)}
    waiting = deque([folder])  # linked folders come after those that lie here themselves
    while waiting:
        linked = waiting.popleft()
        if linked != folder:
            if (identity := _identity(linked)) in read:
                found.skipped[linked] = "a link to a folder that is read already"
                continue
            read.add(identity)
        stack = [linked]
        while stack:
            current = stack.pop()
            try:
                entries = sorted(os.scandir(current), key=lambda entry: entry.name)
            except OSError as error:
                if current == folder:
                    raise DataError(f"{folder} cannot be read: {error.strerror}") from None
                found.skipped[current] = f"cannot be read: {error.strerror}"
                found.unreadable.append(current)
                continue
            for entry in entries:
                path = Path(entry.path)
                parts = path.relative_to(folder).parts
                kind = _kind(entry)
                if not (_may_contain if kind == "folder" else _matches)(parts, segments):
                    continue
                if entry.name.startswith("."):
                    found.skipped[path] = "hidden"
                elif kind == "file":
                    found.files.append(path)
                elif kind != "folder":
                    found.skipped[path] = kind
                elif entry.is_symlink():
                    waiting.append(path)
                elif (identity := _identity(path)) in read:
                    found.skipped[path] = "a folder that is read already"
                else:
                    read.add(identity)
                    stack.append(path)
    found.files.sort()
    return found


def _identity(folder: Path) -> object:
    """Return what is equal for all paths of one folder."""
    try:
        status = folder.stat()
    except OSError:
        return folder
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(folder)


def _kind(entry: os.DirEntry[str]) -> str:
    """Return `folder`, `file`, or why an entry is neither."""
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        return "a broken link" if entry.is_symlink() else f"cannot be read: {error.strerror}"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "not a regular file"


def _matches(parts: Sequence[str], segments: Sequence[str]) -> bool:
    """Return whether a path, by its parts, matches a glob."""
    if not segments:
        return not parts
    if segments[0] == "**":
        return any(_matches(parts[i:], segments[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatch(parts[0], segments[0]) and _matches(parts[1:], segments[1:])


def _may_contain(parts: Sequence[str], segments: Sequence[str]) -> bool:
    """Return whether files in a folder, by the parts of its path, may match a glob."""
    for part, segment in zip(parts, segments, strict=False):
        if segment == "**":
            return True
        if not fnmatch(part, segment):
            return False
    return len(parts) < len(segments)
