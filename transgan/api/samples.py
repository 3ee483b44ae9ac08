"""Samples: where they come from, how they become tensors and files again, and which parts of them are worked on.

Shapes are those of `transgan.api.protocols`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from torch import Tensor

from transgan.api.options import Options


@dataclass(frozen=True)
class Sample:
    """One file, part of a file, or recipe for making one."""

    key: str
    """Its name: the split is by it, pairs share it, outputs are called after it."""
    location: Any
    """What the media can decode: a path, or a callable where samples are made and not read."""
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Source:
    """Where samples come from; knows files, not tensors."""

    Options: ClassVar[type[Options]] = Options
    card: ClassVar[str] = ""
    """What the card of a model made from such data must say: labels, terms, intended use. Markdown."""

    def __init__(self, options: Any, root: Path | None):
        self.options = options
        self.root = root
        self.suffixes: tuple[str, ...] = ()
        """Endings of files that the recipe's media reads. Set from without."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        """The samples of a domain, sorted by key. `selection` is what `[domains]` says of it.

        Raises:
            DataError: nothing there, or not readable; says where it looked and what it found.
            UsageError: the selection is not of a form that this source knows.
        """
        raise NotImplementedError

    def counterpart(self, sample: Sample, source: Any, target: Any) -> Sample | None:
        """The true translation of `sample`, from selection `source` to selection `target`, where it can be known."""
        return None


class Draws(Protocol):
    """Random numbers, each a pure function of (seed, purpose, epoch, index of the sample)."""

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """(N, *shape) in [0, 1)."""

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """(N, *shape), standard normal."""


@dataclass(frozen=True)
class Column:
    """Samples of one domain, as networks see them, that are shown below each other."""

    domain: str
    items: Sequence[Tensor]
    """(C, *space) each."""


class Media:
    """How a kind of file becomes a tensor and back, and how it is shown.

    An *item* is a whole file in memory, of any size, as `read` makes it and `write` takes it.
    """

    Options: ClassVar[type[Options]] = Options
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings of files that `read` knows, with dot, in lower case."""
    ragged: ClassVar[bool] = False
    """True when the first axis of what `decode` returns differs from sample to sample."""
    channels: int = 3

    def __init__(self, options: Any, size: int):
        self.options = options
        self.size = size
        self.learnt: Mapping[str, Mapping[str, Tensor]] = {}
        """What `learn` has found, by domain. Set from without, and kept in the model."""

    @property
    def space(self) -> tuple[int, ...]:
        """The axes of a training batch behind N and C."""
        raise NotImplementedError

    def decode(self, location: Any) -> np.ndarray:
        """What the cache keeps of a sample: an array of the same shape and type for every sample. DataError."""
        raise NotImplementedError

    def learn(self, decoded: Iterable[np.ndarray]) -> Mapping[str, Tensor]:
        """What has to be known of a domain before the first step, such as statistics, from its training samples."""
        return {}

    def batch(self, decoded: Tensor | Sequence[Tensor], draws: Draws | None, domains: Sequence[str]) -> Tensor:
        """Decoded samples as (N, C, *space), each as its domain wants it; augmented where `draws` is given.

        Args:
            decoded: (N, ...) on the device; where they are ragged, N tensors on the CPU.
            domains: of each sample.
        """
        raise NotImplementedError

    def read(self, item: Any) -> Any:
        """The item in a file, or in an object of Python's that holds one. DataError."""
        raise NotImplementedError

    def export(self, x: Any) -> Any:
        """The opposite of `read` in Python: an item as an object that others know, too."""
        raise NotImplementedError

    def to_model(self, x: Any, stride: int, native: bool, domain: str) -> tuple[Tensor, Any]:
        """An item of a domain as the (N, C, *space) that a generator takes, in one part or more, and what `from_model`
        needs to undo it; with `native` at its own size, not at the size trained at."""
        raise NotImplementedError

    def from_model(self, y: Tensor, undo: Any, domain: str) -> Any:
        """The generator's (N, C, *space), which are of `domain` now, as an item of the size that it had."""
        raise NotImplementedError

    def write(self, x: Any, path: Path) -> None:
        """Writes an item. DiskError."""
        raise NotImplementedError

    def preview(self, columns: Mapping[str, Column], path: Path) -> Path:
        """Shows samples side by side, a column a name and a row an item; returns the file written.

        It may write more files, whose names begin as the returned one's without its ending.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Domain:
    """A domain's samples as metrics see them."""

    name: str
    samples: Sequence[Sample]
    held_out: Sequence[Sample]
    batches: Callable[..., Iterable[tuple[list[str], Tensor]]]
    """`batches(held_out: bool, size: int)` yields keys and (N, C, *space), once over all."""
    media: Media


@dataclass(frozen=True)
class Part:
    """A part of an item that a model is to work on."""

    sample: Tensor
    """(C, *space) in [-1, 1], cut out of the item: an item itself."""
    extent: float
    """Its size in the item, in the unit in which sizes are asked for."""
    place: Any
    """What its finder needs to put it back."""


class Finder:
    """Finds the parts of an item, (C, *space) in [-1, 1], that a model should work on; puts what has changed back.

    It has the name of what it finds, in the plural, by which it is told that none were found.
    """

    Options: ClassVar[type[Options]] = Options
    smallest: ClassVar[float] = 0.0
    """The extent below which parts are left alone, where nothing else is asked for."""
    note: str = ""
    """What whoever uses it should be told once."""

    def __init__(self, options: Any):
        self.options = options

    def find(self, x: Tensor, smallest: float) -> list[Part]:
        """The parts with an extent of at least `smallest`, the largest first."""
        raise NotImplementedError

    def put_back(self, x: Tensor, parts: Sequence[Part], changes: Sequence[Tensor]) -> Tensor:
        """The item with its parts changed, and untouched where there are none.

        Args:
            changes: what to add to each part's sample, of the same shape: the translation less what the model was
                shown, both at the sample's size, so that no detail is lost which the model did not see.
        """
        raise NotImplementedError

    def show(self, x: Tensor, parts: Sequence[Part]) -> Tensor:
        """The item with marks round its parts."""
        raise NotImplementedError
