"""Samples: where they come from, how they become tensors and files again, and which regions of them are translated.

Shapes are those of `transgan.api.protocols`.
"""

import mimetypes
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from pydantic import PositiveInt
from torch import Tensor

from transgan.errors import DataWarning, UsageError
from transgan.options import Configurable, OptionsT, Size


@dataclass(frozen=True)
class Sample:
    """One file, part of a file, or a function that makes a sample."""

    key: str
    """Its name: the split hashes it, pairs share it, outputs are named after it."""
    location: Any
    """What the media decodes: a path, or a callable for synthetic samples."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Its labels, by name."""


class Source(Configurable[OptionsT]):
    """Where samples come from; knows files, not tensors.

    Args:
        options: the recipe's.
        root: `data.root`, or None.
    """

    card: ClassVar[str] = ""
    """What the model card of a model trained on such data must say: labels, terms, intended use. Markdown."""
    reads_root: ClassVar[bool] = True
    """Whether it reads the folder `data.root`: a recipe that gives one to a source that reads none is refused."""
    regions: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Options of region detectors, by their names, that cut out regions as such data show them; a model keeps them."""

    def __init__(self, options: OptionsT, root: Path | None):
        self.options = options
        self.root = root
        self.suffixes: tuple[str, ...] = ()
        """File suffixes that the recipe's media reads; set by the framework."""
        self.skipped: dict[Path, str] = {}
        """Files and folders that `samples` came across and does not use, each with the reason, such as `hidden`: a
        source adds to it, and the framework reports it."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        """Return the samples of a domain, sorted by key.

        Args:
            selection: the domain's value in `[domains]`.

        Raises:
            DataError: there is nothing, or it cannot be read; says where it looked and what it found.
            UsageError: the selection is not of a form that this source knows.
        """
        raise NotImplementedError

    def counterpart(self, sample: Sample, source: Any, target: Any) -> Sample | None:
        """Return the true translation of a sample from selection `source` to `target`, or None where unknown."""
        return None


class SampleRng(Protocol):
    """Random numbers for N samples, each a pure function of (seed, purpose, epoch, index of the sample)."""

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """Return (N, *shape), uniform in [0, 1)."""

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """Return (N, *shape), standard normal."""


@dataclass(frozen=True)
class Column:
    """A column of a preview: samples of one domain, as networks see them."""

    domain: str
    items: Sequence[Tensor]
    """(C, *space) each."""


@dataclass(frozen=True)
class Description:
    """What is in an item, for `transgan data check`."""

    figures: Mapping[str, float] = field(default_factory=dict)
    """Sizes, ranges, statistics, by name and with unit."""
    kind: str = ""
    """The kind of file: colours, bits, channels."""
    remarks: Sequence[str] = ()
    """What is wrong with it, in a few words, which are the same for the same fault."""
    fingerprint: int | None = None
    """64 bits, of which items that people take for the same differ in few; None where the item says too little."""


class Notes:
    """What a user should know of files that are read and written: of each kind the first one, as a `DataWarning`."""

    def __init__(self) -> None:
        self.said: dict[str, object] = {}

    def say(self, kind: str, text: str) -> None:
        """Warn, unless something of this kind has been said."""
        own = object()
        if self.said.setdefault(kind, own) is own:  # in one step: several threads may read files
            warnings.warn(DataWarning(f"{text} (said once)"), stacklevel=3)


Cell = tuple[float, float, float, float]
"""Left, top, width and height of a part of a preview, as shares of its width and height."""


@dataclass(frozen=True)
class Embedded:
    """A file of a preview, as a web page embeds it."""

    type: str
    """Its media type, such as `text/plain`; empty for one that a page can only link."""
    content: bytes
    cells: Mapping[str, Sequence[Cell]] = field(default_factory=dict)
    """Where the items of each of the preview's columns are, where that is known."""


class Media(Configurable[OptionsT]):
    """How a kind of file becomes a tensor and back, and how it is previewed.

    An *item* is a whole file in memory, of any size, as `read` returns it and `write` takes it. Of many files, `read`,
    `to_model`, `from_model` and `write` are called in several threads at a time.

    Args:
        options: the recipe's.
        size: `data.size`, in a unit of the media's own: a number, or one for each axis.

    Raises:
        UsageError: the size is not of a form that this media knows.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    """File suffixes that `read` knows, with dot, in lower case."""
    options_at_use: ClassVar[tuple[str, ...]] = ()
    """Names of options that may be others when a model is used than they were in training, such as limits."""
    ragged: bool = False
    """True where the axes of what `decode` returns, but for the last one, differ between samples."""
    bounded: ClassVar[bool] = True
    """Whether values of batches lie in [-1, 1]; others are reported."""
    channels: PositiveInt = 3

    def __init__(self, options: OptionsT, size: Size):
        self.options = options
        self.size = size
        self.statistics: Mapping[str, Mapping[str, Tensor]] = {}
        """What `fit_statistics` has returned, by domain; set by the framework, and kept in the model."""

    @property
    def space(self) -> tuple[int, ...]:
        """The axes of a training batch behind N and C."""
        raise NotImplementedError

    def decode(self, location: Any) -> np.ndarray:
        """Return what the cache keeps of a sample: an array, of the same shape and dtype for every sample.

        Args:
            location: that of a `Sample`: a path; or a function, which is called with what the media says, usually
                `size`, and returns what a file holds, in the same form for every sample.

        Raises:
            DataError: the file cannot be decoded.
        """
        raise NotImplementedError

    def fit_statistics(self, decoded: Iterable[np.ndarray]) -> Mapping[str, Tensor]:
        """Return statistics of a domain's training samples that must be known before the first step, by name."""
        return {}

    def batch(self, decoded: Any, rng: SampleRng | None, domains: Sequence[str]) -> Tensor:
        """Return decoded samples as (N, C, *space) in floating point; augmented where `rng` is given.

        The first batch of each domain and size is compared with `channels` and, where `rng` is given, with `space`.

        Args:
            decoded: a tensor (N, ...) on the device; where samples are ragged, a list of N tensors on the CPU.
            domains: the domain of each sample.
        """
        raise NotImplementedError

    def is_item(self, value: Any) -> bool:
        """Return whether `read` takes a value as one item. Every other value holds several: it is iterated.

        By default arrays, and all that cannot be iterated, are one item; a tensor is one unless it has an axis more
        than (C, *space).
        """
        if isinstance(value, Tensor):
            return value.dim() <= len(self.space) + 1
        one = (str, bytes, os.PathLike, Mapping, np.ndarray)
        return isinstance(value, one) or not isinstance(value, Iterable)

    def read(self, item: Any) -> Any:
        """Return the item in a file, or in a Python object such as a PIL image, an array or a tensor.

        Which objects these are, and in which ranges, the media says.

        Raises:
            DataError: it cannot be read.
        """
        raise NotImplementedError

    def describe(self, x: Any) -> Description:
        """Return what is in an item; by default nothing is said of it."""
        return Description()

    def export(self, x: Any) -> Any:
        """Return an item as a common Python object: the opposite of `read`."""
        raise NotImplementedError

    def export_like(self, x: Any, like: Any) -> Any:
        """Return an item as a Python object of the kind of another one; by default what `export` returns.

        Args:
            x: the item.
            like: what `read`, of the media of the source, has taken. For an array it is an array of the same type, for
                a tensor a tensor on the same device.
        """
        return self.export(x)

    def as_tensor(self, x: Any) -> Tensor | None:
        """Return an item as (C, *space) in [-1, 1], of which regions are cut out; None where that cannot be."""
        return x if isinstance(x, Tensor) else None

    def as_levels(self, x: Any) -> Tensor | None:
        """Return an item as (C, *space) of levels, uint8, from 0 for -1 to 255 for 1, if possible without a copy; None
        where it has other numbers. See `RegionDetector.takes_levels`."""
        return None

    def with_tensor(self, x: Any, changed: Tensor) -> Any:
        """Return an item, of the media of the source, with what `as_tensor` or `as_levels` returns of it changed, of
        this media."""
        return changed

    def to_model(self, x: Any, stride: int, native: bool, domain: str) -> tuple[Tensor, Any]:
        """Return an item of a domain as the (N, C, *space) that a generator takes, and what `from_model` needs.

        Args:
            stride: every axis of *space must be a multiple of it.
            native: keep the item's own size instead of the training size.
        """
        raise NotImplementedError

    def from_model(self, y: Tensor, undo: Any, domain: str) -> Any:
        """Return a generator's output (N, C, *space), of `domain`, as an item of the original size."""
        raise NotImplementedError

    def write(self, x: Any, path: Path) -> None:
        """Write an item; where that fails, what stood at `path` stays: `transgan.api.replacing_file` writes so.

        Raises:
            DiskError: it cannot be written.
        """
        raise NotImplementedError

    def preview(self, columns: Mapping[str, Column], path: Path) -> Path:
        """Write a preview, samples side by side, and return its path: `path` with a suffix.

        Further files may be written if their names begin with that of the returned one, less its suffix.
        """
        raise NotImplementedError

    @classmethod
    def embed(cls, path: Path, side: int) -> Embedded:
        """Return a file that `preview` has written for a web page; by default as it is.

        Args:
            side: what is wider or higher than this many units of a screen may be made smaller.

        Raises:
            OSError: the file cannot be read.
        """
        return Embedded(mimetypes.guess_type(path.name)[0] or "", path.read_bytes())


class Container(Configurable[OptionsT]):
    """A kind of file that holds a sequence of items that a media reads, and of what comes with them.

    `transgan translate` gives it files with its suffixes: so a model whose media knows single items translates whole
    sequences, one item after the other, all with the same latent codes.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Suffixes of its files, with dot, in lower case."""
    folder_suffixes: ClassVar[tuple[str, ...]] = ()
    """Suffixes of folders that are one sequence; other folders are searched for files."""
    media: ClassVar[tuple[str, ...]] = ()
    """The names of the media that read its items."""

    def __init__(self, options: OptionsT):
        self.options = options

    def holds(self, path: Path) -> bool:
        """Return whether a file, whose suffix the media may have too, holds a sequence; it may be damaged."""
        return True

    def count(self, path: Path) -> int | None:
        """Return how many items a file says that it holds; None where it does not say.

        Raises:
            DataError: it cannot be read.
        """
        return None

    def transform(self, path: Path, result: Path, change: Callable[[Any], Any], note: str = "") -> None:
        """Write a file like another one, with each of its items changed, as a stream: no more items are kept in memory
        than the container needs.

        What stands at `result` is replaced at the end; it stays as it is where an error occurs.

        Args:
            path: the file.
            result: where to write; its suffix may be another one of the container's, also of a folder.
            change: takes an item that `Media.read` takes, and returns what `Media.export` returns of its translation.
                It is called once for each item, in order. Its errors pass through.
            note: what the result has to say of itself in its metadata; empty for nothing.

        Raises:
            DataError: the file cannot be read.
            DiskError: the result cannot be written.
        """
        raise NotImplementedError


def _nowhere_else(root: Path, selection: Any = None) -> "Domain":
    raise UsageError(f"these samples do not come from a source that could be opened at another root, {str(root)!r}")


def _not_decoded(held_out: bool, numbers: Sequence[int]) -> Sequence[np.ndarray]:
    raise UsageError("these samples do not come from a source: there is nothing that the media has decoded")


@dataclass(frozen=True)
class Domain:
    """A domain's samples, as metrics and `init_from_data` get them."""

    name: str
    samples: Sequence[Sample]
    """The training samples."""
    held_out: Sequence[Sample]
    batches: Callable[..., Iterable[tuple[list[str], Tensor]]]
    """`batches(held_out: bool, size: int, numbers: Sequence[int] = ...)` yields keys and (N, C, *space), one pass over
    all, or over the samples of these numbers, without augmentation."""
    media: Media
    elsewhere: Callable[..., "Domain"] = _nowhere_else
    """`elsewhere(root: Path, selection=None)` opens the same source, with the same media, at another root, and returns
    the domain's samples there, or those of another selection, such as `{"age": [0, 150]}`. They are split by the usual
    hash; what has the content of a sample that the run holds out is held out there too. It raises DataError where there
    are no samples, and UsageError where the source does not know the selection."""
    decoded: Callable[[bool, Sequence[int]], Sequence[np.ndarray]] = _not_decoded
    """`decoded(held_out, numbers)` returns what `media.decode` returned of these samples: all of each of them."""


@dataclass(frozen=True)
class Region:
    """A region of an item."""

    sample: Tensor
    """(C, *space) in [-1, 1], cut out of the item: an item itself."""
    extent: float
    """Its size in the item, in the unit of `min_extent`."""
    place: Any
    """What the detector needs to paste it back."""


class RegionDetector(Configurable[OptionsT]):
    """Detects regions of an item, (C, *space) in [-1, 1], and pastes what has changed back.

    It is registered under the name of what it detects, in the plural (`faces`), which messages use.
    """

    min_extent: ClassVar[float] = 0.0
    """The default of `detect`'s `min_extent`."""
    note: str = ""
    """What its user should know, said once."""
    takes_levels: ClassVar[bool] = False
    """Items may also be of levels, uint8, where a media has them: a quarter of the memory. `paste` and `mark` return
    what they were given; samples of regions are in [-1, 1] all the same."""
    keeps_detail: bool = True
    """Whether detail of a region that is finer than the network's input is kept: `paste` then gets the translation less
    that input, else the translation less the region's sample."""
    disclosure: str = ""
    """What the file of a sequence says in its metadata where regions of it were translated; empty for nothing."""

    def __init__(self, options: OptionsT):
        self.options = options

    def tracker(self) -> "RegionDetector[OptionsT]":
        """Return a detector for the items of one sequence, which are given to `detect` and `paste` in order.

        It may remember what was in earlier items. `paste` is called for every item, also where it has no regions.
        """
        return self

    def detect(self, x: Tensor, min_extent: float) -> list[Region]:
        """Return the regions with an extent of at least `min_extent`, the largest first."""
        raise NotImplementedError

    def paste(self, x: Tensor, regions: Sequence[Region], changes: Sequence[Tensor]) -> Tensor:
        """Return the item with its regions changed, and unchanged elsewhere.

        Args:
            changes: what to add to each region's sample, of the same shape: the translation less the network's input,
                both resized to the sample, so that detail finer than the network's input is kept; without
                `keeps_detail` the translation less the sample.
        """
        raise NotImplementedError

    def mark(self, x: Tensor, regions: Sequence[Region]) -> Tensor:
        """Return the item with its regions outlined."""
        raise NotImplementedError
