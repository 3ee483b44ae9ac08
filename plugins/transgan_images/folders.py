"""The source `folders`: a domain is a folder, a glob, or one half of images that show two side by side."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transgan.api import DataError, FoundFiles, Sample, Source, UsageError, expand_home, find_files, listed
from transgan_images.media import HalfImage, ImageMedia

#: Behind a message about a folder that is not there, where the recipe names no folder with the data.
NO_ROOT = "data.root is not set, so the working folder was searched: set it to the folder with the data"


class FolderSource(Source):
    """Files in folders. A domain is a folder below `data.root`, including its subfolders and linked ones, or a glob.

    Examples: `horse = "trainA"`, `horse = "train*/horse_*.jpg"`, `horse = { path = "trainA", held_out = "testA" }`,
    and, for images that show two side by side, `photo = { path = "train", half = "left" }`. `without` is the end of all
    files' names that keys leave out, where pairs differ by it: `{ path = "train_img", without = "_leftImg8bit" }`.
    Files of other kinds than the recipe's media reads are skipped and counted, and so are hidden files and folders.
    """

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        """Return the files of a domain; a sample's key is its path below the folder, without suffix.

        Args:
            domain: the domain's name, for messages.
            selection: a folder, a glob, or a table with `path` and optionally `half` and `without`.

        Raises:
            DataError: there is no such folder, or no file that the media reads.
            UsageError: the selection is of another form.
        """
        half, without = None, ""
        if isinstance(selection, Mapping):
            if set(selection) - {"path", "half", "without"} or not isinstance(selection.get("path"), str):
                raise UsageError(f'found {dict(selection)}; expected a folder, or {{ path = "folder", half = "left" }}')
            half, without = selection.get("half"), selection.get("without", "")
            if not isinstance(without, str):
                raise UsageError(f"without = {without!r}; expected the end of all files' names, without suffix")
            if half not in (None, "left", "right"):
                raise UsageError(f"half = {half!r}; expected 'left' or 'right'")
            if half and not set(self.suffixes) <= set(ImageMedia.suffixes):
                raise UsageError(f"half = '{half}' is for images, and this recipe's media reads none; remove half")
            selection = selection["path"]
        if not isinstance(selection, str):
            raise UsageError(f"found {selection!r}; expected the path of a folder, or a glob")
        root = self.root if self.root is not None else Path()
        try:
            files, skipped = files_in(root, selection, domain, self.suffixes)
        except DataError as error:
            if self.root is not None or expand_home(selection).is_absolute():
                raise
            raise DataError(f"{str(error).removesuffix('.')}; {NO_ROOT}") from None
        self.skipped |= skipped
        if others := [path for key, path in files if not key.endswith(without)]:
            what = f"{len(others)} files" if len(others) > 1 else "1 file"
            raise DataError(
                f"[domains] {domain}: the names of {what} do not end in {without!r}, such as {others[0]}; correct "
                "without, or move them elsewhere"
            )
        found = [Sample(key.removesuffix(without), HalfImage(path, half) if half else path) for key, path in files]
        return sorted(found, key=lambda sample: sample.key)


def files_in(
    root: Path, pattern: str, domain: str, suffixes: tuple[str, ...]
) -> tuple[list[tuple[str, Path]], dict[Path, str]]:
    """Return keys and paths of files, sorted, and what was skipped, with the reasons.

    Args:
        root: the folder that relative patterns start from.
        pattern: a folder or a glob. Keys are paths below the folder, or below the glob's first part with a wildcard,
            without suffix.
        domain: the domain's name, for messages.
        suffixes: the file suffixes to include, with dot, in lower case.

    Raises:
        DataError: the folder is missing or cannot be read, or no file has one of the suffixes.
    """
    folder = root / expand_home(pattern)
    try:
        if folder.is_dir():
            base, glob = folder, "**/*"
        elif any(wildcard in pattern for wildcard in "*?["):
            first = next(i for i, part in enumerate(folder.parts) if any(wildcard in part for wildcard in "*?["))
            base, glob = Path(*folder.parts[:first]), "/".join(folder.parts[first:])
        else:
            if folder.is_file():
                why = f"{str(folder)!r} is a file; expected a folder, or a pattern such as 'photos/*.jpg'"
                raise DataError(f"[domains] {domain}: {why}")
            raise DataError(f"[domains] {domain}: there is no folder {str(folder)!r}. {_alternatives(folder)}")
        found = find_files(base, glob) if base.is_dir() else FoundFiles()
    except OSError as error:
        raise DataError(f"[domains] {domain}: {folder} cannot be read: {error.strerror}") from None
    except DataError as error:
        raise DataError(str(error) if str(error).startswith("[") else f"[domains] {domain}: {error}") from None
    files = [path for path in found.files if path.suffix.lower() in suffixes]
    others = {path: f"ending in {path.suffix.lower()}" if path.suffix else "without a suffix" for path in found.files}
    skipped = {**{path: why for path, why in others.items() if path.suffix.lower() not in suffixes}, **found.skipped}
    if not files:
        count = f"{len(skipped)} files" if len(skipped) > 1 else "1 file"
        names = listed((f"{path.relative_to(base)} is {reason}" for path, reason in skipped.items()), 5)
        what = f"{count}, none of the kind ({names})" if skipped else "nothing"
        raise DataError(
            f"[domains] {domain}: nothing to read in {str(folder)!r}: found {what}; "
            f"expected files ending in {', '.join(suffixes)}"
        )
    return sorted((path.relative_to(base).with_suffix("").as_posix(), path) for path in files), skipped


def _alternatives(folder: Path) -> str:
    """Return a hint for a missing folder: the folders beside it, or that its parent is missing too."""
    parent = folder.parent
    if not parent.is_dir():
        return f"{str(parent)!r} does not exist either."
    siblings = sorted(path.name for path in parent.iterdir() if path.is_dir())
    return f"{str(parent)!r} has {', '.join(siblings[:8]) or 'no folders'}."
