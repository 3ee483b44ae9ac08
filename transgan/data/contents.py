"""Which samples are the same: by what files hold, whatever their names, and links resolved."""

import os
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from transgan.api.samples import Sample
from transgan.data.records import Records, name_of

#: Files up to this size are hashed whole at once; of larger ones first the middle and the end, then those that agree.
SMALL = 1 << 16
_PIECE = 1 << 12


class Contents:
    """A number for the content of each sample, equal for equal content: the same file, or another with the same bytes.

    Files are compared by size first, and read only where sizes are equal. Samples that a function makes are the same
    where the functions are equal. Files that are empty or cannot be read are like no other.

    Args:
        samples: all samples that will be asked for.
        on_disk: keep hashes in the cache folder.
    """

    def __init__(self, samples: Iterable[Sample], on_disk: bool = True):
        files: dict[str, None] = {}
        for sample in samples:
            if path := file_of(sample):
                files[os.fspath(path)] = None
        self.numbers: dict[Hashable, int] = {}
        self._number_files(list(files), on_disk)

    def of(self, sample: Sample) -> int:
        """Return the number of a sample's content: for a part of a file that of the whole file."""
        path = file_of(sample)
        key: Hashable = os.fspath(path) if path else _made_by(sample)
        return self.numbers.setdefault(key, len(self.numbers))

    def _number_files(self, paths: Sequence[str], on_disk: bool) -> None:
        status: dict[str, os.stat_result] = {}
        for path in paths:
            try:
                status[path] = os.stat(path)  # noqa: PTH116 - paths are texts here, for speed
            except OSError:
                self.numbers[path] = len(self.numbers)
        by_inode: dict[object, list[str]] = defaultdict(list)
        for path, each in status.items():
            by_inode[(each.st_dev, each.st_ino) if each.st_ino else os.path.realpath(path)].append(path)
        by_size: dict[int, list[list[str]]] = defaultdict(list)
        for same in by_inode.values():
            by_size[status[same[0]].st_size].append(same)
        records = Records("contents", _common_folder(status), on_disk=on_disk)
        for size, groups in by_size.items():
            alike = [groups]
            if size and len(groups) > 1:
                alike = _divide(groups, status, records, whole=size <= SMALL)
                if size > SMALL:
                    alike = [part for each in alike for part in _divide(each, status, records, whole=True)]
            elif not size:
                alike = [[group] for group in groups]
            for part in alike:
                number = len(self.numbers)
                self.numbers.update({path: number for group in part for path in group})
        records.save()


def file_of(sample: Sample) -> Path | None:
    """Return the file of a sample, or None for one that a function makes."""
    return Path(sample.location) if isinstance(sample.location, (str, os.PathLike)) else None


def content_hash(path: Path) -> str:
    """Return a hash of what a file contains; of a large one, of its middle and its end.

    Raises:
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    return _hash(str(path), size, whole=size <= SMALL)


def part_of(sample: Sample) -> str:
    """Return which part of its file a sample is, in its location's own words; an empty text for a whole file."""
    path = file_of(sample)
    return str(sample.location).removeprefix(str(path)) if path else ""


def _common_folder(paths: Iterable[str]) -> str:
    try:
        return os.path.commonpath([os.path.abspath(path) for path in paths])  # noqa: PTH100
    except ValueError:  # there are none, or they are on several drives
        return ""


def _made_by(sample: Sample) -> Hashable:
    try:
        hash(sample.location)
    except TypeError:
        return id(sample.location)
    return ("made by", sample.location)


def _divide(
    groups: list[list[str]], status: dict[str, os.stat_result], records: Records, whole: bool
) -> list[list[list[str]]]:
    """Divide groups of paths, each of one file, by the hash of the files or of a part of them."""
    if len(groups) < 2:
        return [groups]
    parts: dict[object, list[list[str]]] = defaultdict(list)
    for group in groups:
        path = group[0]
        name = f"{name_of(Path(path))}{'' if whole else ' (part)'}"
        found = records.get(name, status[path])
        if not isinstance(found, str):
            try:
                found = _hash(path, status[path].st_size, whole)
            except OSError:
                parts[path].append(group)
                continue
            records.put(name, status[path], found)
        parts[found].append(group)
    return list(parts.values())


def _hash(path: str, size: int, whole: bool) -> str:
    digest = blake2b(digest_size=16)
    with Path(path).open("rb") as file:
        if whole:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        else:
            for start in (size // 2, size - _PIECE):
                file.seek(start)
                digest.update(file.read(_PIECE))
    return digest.hexdigest()
