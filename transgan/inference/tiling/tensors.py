"""Tensors whose numbers are computed tile by tile, and where those that are stored lie."""

import math
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import Any, BinaryIO

import torch
from torch import Tensor

from transgan.api.weights import cache_root
from transgan.storage.atomic import disk_errors, make_folder

#: Bounds on what is computed at once, in bytes: all tensors that one step over a tile needs.
LEAST_TILE, MOST_TILE = 1 << 16, 128 << 20
#: What a step over a tile takes in all, as a multiple of that: convolutions make copies.
SPARE = 3
#: What is computed anew each time that a tile is needed has at most this many operations; more are stored.
MOST_OPERATIONS = 24


class NotTileable(Exception):
    """A network does what cannot be done with tiles; says what."""


class Node:
    """The numbers of a tensor, one tile at a time. It never changes.

    Args:
        axis: which axis is cut into tiles, counted from the last one, -1.
    """

    #: The stored tensors that a tile is computed from, by `id`; the operations that this takes, and the bytes that they
    #: need for each index along the axis.
    sources: frozenset[int]
    operations = 0
    needed: float

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device, axis: int, tiling: "Tiling"):
        self.shape = shape
        self.dtype = dtype
        self.device = device
        self.axis = axis
        self.tiling = tiling
        self.length = shape[axis]
        self.bytes = math.prod(shape) * dtype.itemsize
        self.needed = self.bytes / max(1, self.length)
        self.sources = frozenset((id(self),))  # a reference would be a cycle, which is not freed at once

    def rows(self, first: int, last: int) -> Tensor:
        """Return what lies from index `first` to before `last` along the axis. It must not be changed."""
        raise NotImplementedError

    def tiles(self) -> Iterator[tuple[int, int]]:
        """Yield the first and last index of each tile, such that a tile and what it is computed from fit."""
        step = max(1, int(self.tiling.tile_bytes / max(1.0, self.needed)))
        for first in range(0, self.length, step):
            yield first, min(first + step, self.length)

    def whole(self) -> Tensor:
        """Return all numbers as an ordinary tensor."""
        y = torch.empty(self.shape, dtype=self.dtype, device=self.device)
        for first, last in self.tiles():
            y.narrow(self.axis, first, last - first).copy_(self.rows(first, last))
        return y


class Held(Node):
    """Numbers in memory, of the device or of the host."""

    def __init__(self, x: Tensor, axis: int, tiling: "Tiling", device: torch.device | None = None):
        super().__init__(tuple(x.shape), x.dtype, device or x.device, axis, tiling)
        self.x = x

    def rows(self, first: int, last: int) -> Tensor:
        return self.x.narrow(self.axis, first, last - first).to(self.device)

    def write(self, first: int, y: Tensor) -> None:
        self.x.narrow(self.axis, first, y.shape[self.axis]).copy_(y)

    def whole(self) -> Tensor:
        return self.x.to(self.device)


class Filed(Node):
    """Numbers in a temporary file, which is deleted with this object. Along the axis they lie one after the other."""

    def __init__(self, file: BinaryIO, folder: Path, *of: Any):
        super().__init__(*of)
        self.file = file
        weakref.finalize(self, file.close)
        self.folder = folder
        self.rest = tuple(side for i, side in enumerate(self.shape) if i != len(self.shape) + self.axis)
        self.row_bytes = math.prod(self.rest) * self.dtype.itemsize

    def rows(self, first: int, last: int) -> Tensor:
        y = torch.empty((last - first, *self.rest), dtype=self.dtype)
        with disk_errors(self.folder):
            self.file.seek(first * self.row_bytes)
            if self.file.readinto(_bytes_of(y)) != (last - first) * self.row_bytes:  # type: ignore[attr-defined]
                raise OSError(f"a temporary file in {self.folder} ends early")
        return y.movedim(0, self.axis).to(self.device)

    def write(self, first: int, y: Tensor) -> None:
        with disk_errors(self.folder):
            self.file.seek(first * self.row_bytes)
            self.file.write(_bytes_of(y.movedim(self.axis, 0).contiguous().cpu()))


class Lazy(Node):
    """Numbers that are computed when a tile of them is needed.

    Args:
        like: a tensor of its shape and dtype, without numbers.
        compute: `compute(first, last)` returns what `rows` does.
        inputs: what it reads.
    """

    def __init__(self, like: Tensor, axis: int, compute: Callable[[int, int], Tensor], inputs: list[Node]):
        first = inputs[0]
        super().__init__(tuple(like.shape), like.dtype, first.device, axis, first.tiling)
        self.compute = compute
        self.sources = frozenset().union(*(each.sources for each in inputs))
        self.operations = 1 + sum(each.operations for each in inputs)
        self.needed += sum(each.needed * each.length for each in inputs) / max(1, self.length)

    def rows(self, first: int, last: int) -> Tensor:
        return self.compute(first, last)


class TiledTensor(Tensor):
    """A tensor without storage, whose numbers a `Node` returns tile by tile. Create one with `Tiling.wrap`."""

    node: Node
    aliases: list["weakref.ref[TiledTensor]"]
    """The tensors that change with this one where it is changed in place, and itself."""
    partial: bool
    """Whether some of those have, or had, other numbers than this one, such as a part of them."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, node: Node) -> "TiledTensor":
        wrapped = Tensor._make_wrapper_subclass(cls, node.shape, dtype=node.dtype, device=node.device)
        wrapped.node = node
        wrapped.aliases, wrapped.partial = [], False
        return wrapped

    def __init__(self, node: Node):
        pass

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"TiledTensor({', '.join(map(str, self.shape))}; {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        from transgan.inference.tiling.operations import apply

        return apply(func, args, kwargs or {})


class Tiling:
    """A translation in tiles: how large they are, and where what they leave is stored.

    Args:
        device: where the networks run.
        memory: bytes of the device's memory that it may take.
        host_memory: on another device than the CPU, bytes of the host's memory that it may take besides.
        advance: called after each tile of a convolution with the number of multiplications, as `Meter` counts them.
    """

    def __init__(
        self,
        device: torch.device,
        memory: int,
        host_memory: int = 0,
        advance: Callable[[float], None] | None = None,
    ):
        self.device = device
        self.tile_bytes = min(MOST_TILE, max(LEAST_TILE, memory // 16))
        self.free = {device: max(0, memory - SPARE * self.tile_bytes)}
        if device.type != "cpu":
            self.free[torch.device("cpu")] = host_memory
        self.advance = advance or (lambda multiplications: None)
        self.computed_whole: set[str] = set()
        """The operations on large tensors that could not be computed in tiles."""

    def wrap(self, x: Tensor) -> Tensor:
        """Return a tensor (N, C, *space) as one that is computed with in tiles."""
        return TiledTensor(Held(x, 2 - x.dim(), self))

    def store(self, node: Node, finished: Callable[[int], None] | None = None) -> Node:
        """Compute and store the tiles of a node; return where they are.

        Args:
            finished: called after each tile with its length.

        Raises:
            DiskError: the temporary file cannot be written.
        """
        stored = self._allocate(node)
        for first, last in node.tiles():
            stored.write(first, node.rows(first, last))
            if finished:
                finished(last - first)
        return stored

    def _allocate(self, node: Node) -> Held | Filed:
        for place, free in self.free.items():
            if node.bytes <= free:
                held = Held(torch.empty(node.shape, dtype=node.dtype, device=place), node.axis, self, node.device)
                self.free[place] -= node.bytes
                weakref.finalize(held, self._release, place, node.bytes)
                return held
        folder = _temporary_folder()
        with disk_errors(folder):
            file: Any = TemporaryFile(dir=folder)  # noqa: SIM115 - closed, and so deleted, with the node
        return Filed(file, folder, node.shape, node.dtype, node.device, node.axis, self)

    def _release(self, place: torch.device, count: int) -> None:
        self.free[place] += count


def whole(x: Tensor) -> Tensor:
    """Return a tensor with all its numbers in memory."""
    return x.node.whole() if isinstance(x, TiledTensor) else x


def seam(y: Tensor, borders: list[int], axis: int = -2) -> float:
    """Return how far borders between tiles can be seen in samples: 1 or less where they cannot.

    It is the largest step across a border over the largest step elsewhere, where a step is the mean absolute difference
    of two neighbours along an axis, over everything else.

    Args:
        y: (N, C, *space).
        borders: the first index of each tile along the axis, but for that of the first tile.
        axis: along which tiles follow each other.
    """
    steps = y.detach().cpu().double().diff(dim=axis).abs().movedim(axis, 0).flatten(1).mean(1)
    across = torch.zeros(len(steps), dtype=torch.bool)
    across[torch.tensor(borders) - 1] = True
    return float(steps[across].max() / steps[~across].max())


def _temporary_folder() -> Path:
    """Return a folder for large temporary files: the cache folder, since that of temporary files may lie in memory."""
    try:
        make_folder(cache_root())
    except OSError:
        return Path(gettempdir())
    return cache_root()


def _bytes_of(x: Tensor) -> memoryview:
    """Return the memory of a contiguous tensor on the CPU."""
    numbers: Any = x.view(-1).view(torch.uint8).numpy()
    return memoryview(numbers)
