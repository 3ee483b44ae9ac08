"""The previews of a run for a page: which are shown, and what of them is embedded."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from transgan.api.samples import Cell, Embedded, Media
from transgan.plan import Plan

#: The most previews that a page shows; of more, every second, fourth, ... one, and the newest.
SHOWN = 24
#: The longest side of the newest preview and of the earlier ones, in units of a screen.
LARGE, SMALL = 1600, 1000
#: The largest file that is embedded, and the most bytes of all of them; of the newest preview, others are linked.
LARGEST, MOST = 4_000_000, 12_000_000


@dataclass(frozen=True)
class File:
    """A file of a preview."""

    name: str
    title: str
    kind: str
    """The element that shows it, in a page's words; empty for a link."""
    source: str
    """The file itself as a URL, or where it lies beside the page."""


@dataclass(frozen=True)
class Preview:
    """What was written at one step."""

    step: int
    files: list[File]
    pairs: Mapping[str, Sequence[tuple[Cell, Cell]]]
    """Parts of the first file, by translation: each source and its translation."""


class Previews:
    """Reads the previews in a folder; keeps those that it has embedded.

    Args:
        folder: that of the samples.
        kinds: the elements of a page by the first half of a media type, beside `""` for links.
    """

    def __init__(self, folder: Path, kinds: Mapping[str, str]):
        self.folder = folder
        self.kinds = kinds
        self._kept: dict[tuple[str, int, int, int], Embedded | None] = {}

    def read(self, plan: Plan | None) -> list[Preview]:
        """Return the previews that a page shows, by step; of the earlier ones only their first file."""
        media: type[Media] = Media if plan is None else plan.media[plan.directions[-1].translation.target].cls
        steps = self._steps()
        numbers = list(steps)
        stride = 1
        while len(numbers) > SHOWN * stride:
            stride *= 2
        shown = sorted({*numbers[::stride], *numbers[-1:]})
        used: dict[tuple[str, int, int, int], Embedded | None] = {}
        previews, total = [], 0
        for step in reversed(shown):
            newest = step == numbers[-1]
            files: list[File] = []
            pairs: Mapping[str, Sequence[tuple[Cell, Cell]]] = {}
            for path in steps[step] if newest else steps[step][:1]:
                embedded = self._embed(media, path, LARGE if newest else SMALL, used)
                known = embedded is not None and re.fullmatch(r"[\w.+-]+/[\w.+-]+", embedded.type)
                element = self.kinds.get(embedded.type.partition("/")[0], "") if embedded and known else ""
                if embedded and element and not files and newest:
                    pairs = pairs_of(embedded.cells)
                if embedded and element and total + len(embedded.content) <= MOST:
                    total += len(embedded.content)
                    url = f"data:{embedded.type};base64,{b64encode(embedded.content).decode()}"
                    files.append(File(path.name, _title(path, steps[step][0]), element, url))
                else:
                    files.append(File(path.name, _title(path, steps[step][0]), "", f"samples/{quote(path.name)}"))
            if newest or files[0].kind:
                previews.append(Preview(step, files, pairs))
        self._kept = used
        return previews[::-1]

    def _steps(self) -> dict[int, list[Path]]:
        """Return the files of each step; the first is the preview itself."""
        try:
            paths = [path for path in self.folder.iterdir() if not path.name.startswith(".") and path.is_file()]
        except OSError:
            return {}
        found: dict[int, list[Path]] = {}
        for path in sorted(paths, key=lambda path: _by_number(path.name)):
            if match := re.match(r"step-(\d+)", path.name):
                found.setdefault(int(match[1]), []).append(path)
        return dict(sorted(found.items()))

    def _embed(
        self, media: type[Media], path: Path, side: int, used: dict[tuple[str, int, int, int], Embedded | None]
    ) -> Embedded | None:
        """Return what a page embeds of a file; None where it is too large, or cannot be read."""
        try:
            state = path.stat()
            key = (path.name, state.st_size, state.st_mtime_ns, side)
            if key not in self._kept:
                found = media.embed(path, side) if state.st_size <= 10 * LARGEST else None
                self._kept[key] = found if found and len(found.content) <= LARGEST else None
            used[key] = self._kept[key]
            return used[key]
        except Exception:  # a plugin's own code, or a file that is gone: then there is a link
            return None


def pairs_of(cells: Mapping[str, Sequence[Cell]]) -> dict[str, list[tuple[Cell, Cell]]]:
    """Return each translation with its source, by title; a preview's columns are a source, and what follows from it."""
    found: dict[str, list[tuple[Cell, Cell]]] = {}
    source: Sequence[Cell] = ()
    of = ""
    for name, column in cells.items():
        title, _, kind = name.partition("\n")
        if kind == "(source)":
            source, of = column, title
        elif kind == "(translated)" and source:
            target = title.removeprefix(of.partition(": ")[0] + ": ")
            found[f"{of} {target}" if target.startswith("-> ") else title] = list(zip(source, column, strict=False))
    return found


def _title(path: Path, first: Path) -> str:
    """Return what a further file adds to the name of the first one: `1 young source`."""
    return path.stem.removeprefix(first.stem).lstrip("-").replace("-", " ") or path.name


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a sort key: numbers in names by value, and a name before its continuations."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name.partition(".")[0])
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
