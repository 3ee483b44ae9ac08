"""Translating files: those that hold one item, and those that hold a sequence of items."""

import os
import shutil
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from transgan.api import Container, Region, Tensor
from transgan.errors import TERMINATED, DataError, DiskError, TransganError, UsageError
from transgan.inference.ahead import Outcome, Stages
from transgan.inference.containers import Containers
from transgan.inference.regions import RegionSelection
from transgan.inference.translator import Translator
from transgan.inference.variation import Variation
from transgan.plan import Direction
from transgan.progress import progress_bar, share_bar
from transgan.storage.atomic import disk_errors, replacing_file
from transgan.text import option

Advance = Callable[[float], None]

#: Results of one file that are in memory together; of more, some are written before the next are computed.
RESULTS = 4


@dataclass(frozen=True)
class FileTranslator:
    """How files are translated: the same for all files of a command."""

    translator: Translator
    direction: Direction
    out: Path
    """The folder for the results."""
    overwrite: bool
    native: bool
    attributes: Mapping[str, Any]
    regions: RegionSelection | None
    """Translate only these regions; None for whole items."""
    show_boxes: bool
    containers: Containers
    """Of files that hold sequences."""
    folders: Mapping[str, Path]
    """Folders with further inputs, by name."""
    samples: int | None
    seed: int
    style: Tensor | None
    strength: float | None
    passes: int | None

    def __call__(self, files: Sequence[tuple[Path, Path]]) -> Generator[tuple[Path, Outcome[int | None]], None, None]:
        """Translate files; yield each, in their order, with a function that returns the number of regions in it.

        It returns None for a file that has no regions and is copied, and raises what went wrong with the file. Files
        with one item are read and written in threads beside the network, which takes several at a time.

        Args:
            files: pairs of a file and the path of its result below `out`.
        """
        for container, group in groupby(files, lambda file: self.containers.of_path(file[0])):
            if container is None:
                yield from self._items(list(group))
            else:
                yield from ((path, partial(self._sequence, path, name, container)) for path, name in group)

    def _items(self, files: Sequence[tuple[Path, Path]]) -> Generator[tuple[Path, Outcome[int | None]], None, None]:
        """Translate files with one item, with a bar of all of them."""
        count = self.samples or 1
        parts = [range(first, min(first + RESULTS, count)) for first in range(0, count, RESULTS)]
        given = [(path, name, part) for path, name in files for part in parts]
        number = {(name, part): i for i, (_, name, part) in enumerate(given)}

        def translate(items: Sequence[_Item]) -> Sequence[_Item]:
            first, last = (number[each.name, each.part] for each in (items[0], items[-1]))
            done = self._translate(items, lambda share: show((first + share * (last + 1 - first)) / len(given)))
            show((last + 1) / len(given))
            return done

        what = files[0][0].name if len(files) == 1 else f"{len(files)} files"
        stages = Stages(self._read, translate, self._write, results=len(parts[0]))
        if len(parts) > 1:
            stages.at_once = 1  # what is computed together is of the same results
        with share_bar(what) as show, closing(stages(given)) as outcomes:
            own: list[Outcome[int | None]] = []
            for (path, _, part), outcome in outcomes:
                own.append(outcome)
                if part == parts[-1]:
                    yield path, partial(_first, own)
                    own = []

    def _read(self, file: tuple[Path, Path, range]) -> "_Item":
        """Read a file with one item."""
        path, name, part = file
        x = self.translator.sides(self.direction)[0].read(path)
        inputs = {each: self._input(each, folder, name) for each, folder in self.folders.items()}
        variation = self._variation(path, name, 0, inputs)
        content = x if self.regions else self.translator.prepare(x, self.direction, self.native, variation)
        return _Item(path, name, part, variation, content)

    def _translate(self, items: Sequence["_Item"], advance: Advance) -> Sequence["_Item"]:
        """Translate items, those of one size in common passes.

        Args:
            advance: called with the share that is done, 0 to 1.
        """
        if self.regions:
            return [self._in_regions(x, self.regions, _part(advance, i, len(items))) for i, x in enumerate(items)]
        prepared = [each.content for each in items]
        encoded = self.translator.encode_attributes(self.direction, self.attributes)
        outputs = []
        for i, number in enumerate(part := items[0].part):
            self.translator.on_progress = _part(advance, i, len(part))
            variation = replace(items[0].variation, sample=number)
            # what waits to be written takes none of the device's memory
            found = self.translator.outputs(prepared, self.direction, encoded, variation)
            outputs.append([y.cpu() for y in found])
        return [replace(each, results=list(own)) for each, own in zip(items, zip(*outputs, strict=True), strict=True)]

    def _in_regions(self, item: "_Item", regions: RegionSelection, advance: Advance) -> "_Item":
        tensor, found = self._detect(item.content, regions)
        results = []
        for i, number in enumerate(item.part):
            self.translator.on_progress = _part(advance, i, len(item.part))
            variation = replace(item.variation, sample=number)
            results.append(self._item(item.content, tensor, found, variation, regions))
        return replace(item, results=results, found=found)

    def _write(self, item: "_Item") -> int | None:
        """Write the results of an item; return the number of regions in it, or None where it has none and is copied."""
        target = self.translator.sides(self.direction)[1]
        copied = self.regions is not None and not item.found
        names = results_of(item.name, self.samples)
        for y, number in zip(item.results, item.part, strict=True):
            result = self._free(names[number])
            if copied and result.suffix == item.path.suffix:
                _copy(item.path, result)
            else:
                target.write(y if self.regions else self.translator.finish(item.content, y, self.direction), result)
        return None if copied else len(item.found)

    def _sequence(self, path: Path, name: Path, container: Container[Any]) -> int | None:
        """Translate a file that holds a sequence of items.

        Returns the number of regions in all of them, or None where there is none and the file is copied.
        """
        if self.folders:
            given = option("inputs")
            raise UsageError(f"{path}: {given} is of files with one item, and this one holds a sequence")
        self.translator.on_progress = None  # the bar counts items
        count = 0
        for number, each in enumerate(results_of(name, self.samples)):
            variation = self._variation(path, name, number, {})  # the same for all items
            with progress_bar(path.name, container.count(path)) as advance:
                change = _Change(self, variation, self.regions and self.regions.for_sequence(), advance)
                result = self._free(each)
                try:
                    with _terminated_as_interrupted(), _warnings_held_back() as said:
                        container.transform(path, result, change, change.note)
                        if self.regions and not change.count:  # neither the note nor what was said is true of it
                            said[:] = self._without_change(path, result, container, said)
                except TransganError as error:
                    if str(path) not in str(error) and str(result) not in str(error):
                        item = f"item {change.begun:,}: " if change.begun > change.done else ""
                        error.args = (f"{path}: {item}{error}",)
                    raise
            count = change.count
        return None if self.regions and not count else count

    def _without_change(
        self, path: Path, result: Path, container: Container[Any], said: list[warnings.WarningMessage]
    ) -> list[warnings.WarningMessage]:
        """Write a sequence as it is: the file itself, or its items in another format.

        Args:
            said: the warnings so far, of a result that is not kept; those that hold still are returned.
        """
        source, target = self.translator.sides(self.direction)
        if path.is_file() and result.suffix == path.suffix:
            _copy(path, result)
            return [each for each in said if not str(each.message).startswith(f"{result}:")]
        before = len(said)
        container.transform(path, result, lambda item: target.export(source.read(item)), "")
        return said[before:]

    def _detect(self, x: Any, regions: RegionSelection | None) -> tuple[Any, list[Region]]:
        """Return an item as regions are cut out of it, and its regions."""
        if regions is None:
            return x, []
        tensor = regions.tensor_of(x, self.translator.sides(self.direction)[0])
        return tensor, regions.of(tensor)

    def _item(
        self, x: Any, tensor: Any, found: list[Region], variation: Variation, regions: RegionSelection | None
    ) -> Any:
        """Return the translation of an item, or of its regions."""
        if regions is None:
            return self.translator.translate(x, self.direction, self.native, self.attributes, variation)
        if not found and not regions.of_sequence:
            return x
        how = self.direction, self.native, self.attributes, variation
        pasted = self.translator.translate_regions(tensor, regions, found, *how)
        marked = regions.detector.mark(pasted, found) if self.show_boxes else pasted
        return self.translator.sides(self.direction)[1].with_tensor(x, marked)

    def _variation(self, path: Path, name: Path, number: int, inputs: Mapping[str, Any]) -> Variation:
        named = name.with_suffix(path.suffix).as_posix()  # the same whatever file type is written
        return Variation(self.seed, number, named, self.style, self.strength, self.passes, inputs)

    def _input(self, kind: str, folder: Path, name: Path) -> Any:
        """Return a further input of the file of that name.

        Raises:
            DataError: there is none.
        """
        media = self.translator.input_media[f"{self.direction.translation.source}.{kind}"]
        found = [path for suffix in media.suffixes if (path := folder / name.with_suffix(suffix)).is_file()]
        if not found:
            raise DataError(f"{folder / name.with_suffix('')}: there is no such file, the '{kind}' of {name}")
        return self.translator.read_input(kind, found[0], self.direction)

    def _free(self, name: Path) -> Path:
        """Return the path of a result, which nothing has taken since the command began."""
        result = self.out / name
        if not self.overwrite and os.path.lexists(result):
            raise DiskError(f"{result}: exists since this command began; not replaced")
        return result


@dataclass(frozen=True)
class _Item:
    """A file with one item on its way from the disk through the network to the disk."""

    path: Path
    name: Path
    """The path of the result below `out`."""
    part: range
    """The numbers of those of the file's results that are made of it."""
    variation: Variation
    content: Any
    """As the generator takes it, `Prepared`; with regions as the media has read it."""
    results: Sequence[Any] = ()
    """Of each result the generator's output; with regions what the media writes."""
    found: Sequence[Region] = ()
    """Its regions."""


@dataclass
class _Change:
    """What a container calls for each item of a sequence; it counts items and regions."""

    files: FileTranslator
    variation: Variation
    regions: RegionSelection | None
    """Those of the sequence: followed from item to item."""
    advance: Callable[[], None]
    begun: int = 0
    done: int = 0
    count: int = 0
    """Regions so far."""

    @property
    def note(self) -> str:
        """What the result has to say of itself."""
        return self.regions.detector.disclosure if self.regions else ""

    def __call__(self, item: Any) -> Any:
        self.begun += 1
        source, target = self.files.translator.sides(self.files.direction)
        x = source.read(item)
        tensor, found = self.files._detect(x, self.regions)
        y = target.export(self.files._item(x, tensor, found, self.variation, self.regions))
        self.count += len(found)
        self.done += 1
        self.advance()
        return y


@contextmanager
def _warnings_held_back() -> Iterator[list[warnings.WarningMessage]]:
    """Give the warnings of the body only when it has ended: those that are left then."""
    said: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            yield said
    finally:
        for each in said:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def _copy(path: Path, result: Path) -> None:
    with disk_errors(result), path.open("rb") as original, replacing_file(result) as file:
        shutil.copyfileobj(original, file)


def _first(outcomes: Sequence[Outcome[int | None]]) -> int | None:
    """Return the first of several results, or raise the first error of any."""
    results = [outcome() for outcome in outcomes]
    return results[0]


def _part(advance: Advance, number: int, count: int) -> Advance:
    """Return a function to call with the share that is done of one of several parts."""
    return lambda share: advance((number + share) / count)


def results_of(name: Path, samples: int | None) -> list[Path]:
    """Return the names of a file's results: its own, or with `samples` `NAME-1`, `NAME-2`, ... of its suffix"""
    if samples is None:
        return [name]
    return [name.with_name(f"{name.stem}-{number + 1}{name.suffix}") for number in range(samples)]


class _Terminated(SystemExit):
    """SIGTERM, and no plugin's call of sys.exit."""


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM end the body with an exception, so that a temporary file, which may be large, is deleted."""

    def stop(number: int, frame: Any) -> None:
        raise _Terminated(TERMINATED)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
