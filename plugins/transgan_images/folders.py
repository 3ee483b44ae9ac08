"""The source `folders`: a domain is a folder, a glob, or one half of images that show two side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transgan.api import DataError, Sample, Source, UsageError
from transgan_images.media import HalfImage, ImageMedia


class FolderSource(Source):
    """Files in folders. A domain is a folder below `data.root`, including its subfolders, or a glob.

    Examples: `horse = "trainA"`, `horse = "train*/horse_*.jpg"`, `horse = { path = "trainA", held_out = "testA" }`,
    and, for images that show two side by side, `photo = { path = "train", half = "left" }`. Files of other kinds than
    the recipe's media reads are ignored, and so are hidden files.
    """

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        """Return the files of a domain; a sample's key is its path below the folder, without suffix.

        Args:
            domain: the domain's name, for messages.
            selection: a folder, a glob, or a table with `path` and optionally `half`.

        Raises:
            DataError: there is no such folder, or no file that the media reads.
            UsageError: the selection is of another form.
        """
        half = None
        if isinstance(selection, Mapping):
            if set(selection) - {"path", "half"} or not isinstance(selection.get("path"), str):
                raise UsageError(f'found {dict(selection)}; expected a folder, or {{ path = "folder", half = "left" }}')
            half = selection.get("half")
            if half not in (None, "left", "right"):
                raise UsageError(f"half = {half!r}; expected 'left' or 'right'")
            if half and not set(self.suffixes) <= set(ImageMedia.suffixes):
                raise UsageError(f"half = '{half}' is for images, and this recipe's media reads none; remove half")
            selection = selection["path"]
        if not isinstance(selection, str):
            raise UsageError(f"found {selection!r}; expected the path of a folder, or a glob")
        root = self.root if self.root is not None else Path()
        files = files_in(root, selection, domain, self.suffixes)
        return [Sample(key, HalfImage(path, half) if half else path) for key, path in files]


def files_in(root: Path, pattern: str, domain: str, suffixes: tuple[str, ...]) -> list[tuple[str, Path]]:
    """Return keys and paths of files, sorted.

    Args:
        root: the folder that relative patterns start from.
        pattern: a folder or a glob. Keys are paths below the folder, or below the glob's first part with a wildcard,
            without suffix.
        domain: the domain's name, for messages.
        suffixes: the file suffixes to include, with dot, in lower case.

    Raises:
        DataError: the folder is missing or cannot be read, or no file has one of the suffixes.
    """
    folder = root / Path(pattern).expanduser()
    glob = "**/*"
    try:
        if not folder.is_dir() and any(wildcard in pattern for wildcard in "*?["):
            first = next(i for i, part in enumerate(folder.parts) if any(wildcard in part for wildcard in "*?["))
            base, glob = Path(*folder.parts[:first]), "/".join(folder.parts[first:])
        elif folder.is_dir():
            base = folder
        else:
            raise DataError(f"[domains] {domain}: there is no folder {str(folder)!r}. {_alternatives(folder)}")
        found = [path for path in base.glob(glob) if path.is_file()]
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


def _alternatives(folder: Path) -> str:
    """Return a hint for a missing folder: the folders beside it, or that its parent is missing too."""
    parent = folder.parent
    if not parent.is_dir():
        return f"{str(parent)!r} does not exist either."
    siblings = sorted(path.name for path in parent.iterdir() if path.is_dir())
    return f"{str(parent)!r} has {', '.join(siblings[:8]) or 'no folders'}."
