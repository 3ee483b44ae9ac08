"""Files in folders: a folder, a glob, or one half of pictures that hold two."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transgan.api import DataError, Sample, Source, UsageError
from transgan_images.media import ImageMedia, Part


class FolderSource(Source):
    """A domain is a folder below `data.root` (with all folders in it), or a glob; of any files that the media reads.

    Written `horse = "trainA"`, `horse = "train*/horse_*.jpg"`, `horse = { path = "trainA", held_out = "testA" }`,
    or, for pictures that hold two side by side, `photo = { path = "train", half = "left" }`.
    """

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        half = None
        if isinstance(selection, Mapping):
            if set(selection) - {"path", "half"} or not isinstance(selection.get("path"), str):
                raise UsageError(f'found {dict(selection)}; expected a folder, or {{ path = "folder", half = "left" }}')
            half = selection.get("half")
            if half not in (None, "left", "right"):
                raise UsageError(f"half = {half!r}; expected 'left' or 'right'")
            if half and not set(self.suffixes) <= set(ImageMedia.suffixes):
                raise UsageError("half is for pictures, of which this recipe's media reads none")
            selection = selection["path"]
        if not isinstance(selection, str):
            raise UsageError(f"found {selection!r}; expected the name of a folder, or a glob")
        root = self.root if self.root is not None else Path()
        files = files_in(root, selection, domain, self.suffixes)
        return [Sample(key, Part(path, half) if half else path) for key, path in files]


def files_in(root: Path, pattern: str, domain: str, suffixes: tuple[str, ...]) -> list[tuple[str, Path]]:
    """Keys and paths, sorted; a key is the path below the folder, or below a glob's first `*`, without its ending."""
    folder = root / Path(pattern).expanduser()
    parts = "**/*"
    try:
        if not folder.is_dir() and any(mark in pattern for mark in "*?["):
            first = next(i for i, part in enumerate(folder.parts) if any(mark in part for mark in "*?["))
            base, parts = Path(*folder.parts[:first]), "/".join(folder.parts[first:])
        elif folder.is_dir():
            base = folder
        else:
            raise DataError(f"[domains] {domain}: there is no folder {str(folder)!r}. {_around(folder)}")
        found = [path for path in base.glob(parts) if path.is_file()]
    except OSError as error:
        raise DataError(f"[domains] {domain}: {folder} cannot be read: {error.strerror}") from None
    files = [path for path in found if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    if not files:
        count = f"{len(found)} files" if len(found) > 1 else "1 file"
        what = f"{count}, none of the kind" if found else "nothing"
        raise DataError(
            f"[domains] {domain}: nothing to read in {str(folder)!r}: found {what}; "
            f"expected files ending in {', '.join(suffixes)}"
        )
    keys = [(path.relative_to(base).with_suffix("").as_posix(), path) for path in files]
    return sorted(keys)


def _around(folder: Path) -> str:
    parent = folder.parent
    if not parent.is_dir():
        return f"Nor is there {str(parent)!r}."
    inside = sorted(path.name for path in parent.iterdir() if path.is_dir())
    return f"{str(parent)!r} has {', '.join(inside[:8]) or 'no folders'}."
