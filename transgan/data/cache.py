"""Decoded samples, kept: each file is decoded once, then read from memory or from a file mapped into it."""

import os
import threading
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import transgan
from transgan.api.samples import Media, Sample
from transgan.api.weights import cache_root
from transgan.data.draws import hashed
from transgan.errors import DataError

#: Share of a domain's files that may be unreadable before a run stops.
TOLERATED = 0.01


def cache_folder() -> Path:
    """Where decoded samples are kept."""
    return cache_root() / "decoded"


class DecodedCache:
    """The decoded samples of one domain at one size, filled as they are asked for.

    On disk there are the array (or, where samples differ in length, an array each) and a checksum for each sample; a
    sample whose checksum is 0 or wrong is decoded again, so that several processes may fill the same cache and a crash
    leaves no lie in it.
    """

    array: "np.ndarray | Ragged"

    def __init__(
        self, samples: Sequence[Sample], media: Media, on_disk: bool = True, made: dict[Any, np.ndarray] | None = None
    ):
        self.samples = samples
        self.media = media
        self.made = {} if made is None else made
        self.unreadable: dict[int, str] = {}
        first = self._first()
        self.shape = first.shape[int(media.ragged) :]
        self.trusted = np.zeros(len(samples), dtype=bool)
        files = [sample.location for sample in samples if isinstance(sample.location, (str, os.PathLike))]
        if on_disk and len(files) == len(samples):
            self.array, self.checksums = self._mapped(first.dtype)
        else:
            self.array, self.checksums = self._in_memory(first.dtype)
        self.pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))

    def _first(self) -> np.ndarray:
        """Some decoded sample, to know the shape of all."""
        for i in range(len(self.samples)):
            decoded = self._decode(i)
            if decoded is not None:
                return decoded
        raise DataError(next(iter(self.unreadable.values()), "a domain without samples has nothing to decode"))

    def _in_memory(self, dtype: np.dtype) -> "tuple[np.ndarray | Ragged, np.ndarray]":
        count = len(self.samples)
        array = Ragged() if self.media.ragged else np.zeros((count, *self.shape), dtype)
        return array, np.zeros(count, dtype=np.uint32)

    def _mapped(self, dtype: np.dtype) -> "tuple[np.ndarray | Ragged, np.ndarray]":
        shape = (len(self.samples), *self.shape)
        parts: list[object] = [transgan.__version__, type(self.media).__qualname__, self.media.options, self.media.size]
        for sample in self.samples:
            try:
                status = Path(sample.location).stat()
            except OSError as error:
                raise DataError(f"{sample.location}: cannot be read: {error.strerror}") from None
            parts += [Path(sample.location).absolute(), sample.location, status.st_size, status.st_mtime_ns]
        parts += [shape, dtype]
        folder = cache_folder() / f"{hashed(*parts):016x}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            array = Ragged(folder) if self.media.ragged else _open(folder / "samples.npy", shape, dtype)
            return array, _open(folder / "checksums.npy", shape[:1], np.dtype(np.uint32))
        except (OSError, ValueError):  # a cache that cannot be had is no reason to stop
            return self._in_memory(dtype)

    def _decode(self, index: int) -> np.ndarray | None:
        location = self.samples[index].location
        if callable(location):
            if location not in self.made:
                self.made[location] = self.media.decode(location)
            made: np.ndarray = self.made[location]
            return made
        try:
            return self.media.decode(location)
        except DataError as error:
            self.unreadable[index] = str(error)
            if len(self.unreadable) > max(1, TOLERATED * len(self.samples)) or len(self.samples) < 100:
                raise
            return None

    def get(self, indices: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """(N, ...) decoded; a list where samples differ in length. An unreadable file is replaced by its neighbour.

        Raises:
            DataError: more files than tolerated are unreadable; names one of them.
        """
        missing = [int(i) for i in dict.fromkeys(indices.tolist()) if not self._good(int(i))]
        if missing:
            list(self.pool.map(self._fill, missing))
        if isinstance(self.array, Ragged):
            return [self.array[int(i)] for i in indices]
        found: np.ndarray = self.array[indices]
        return found

    def _good(self, index: int) -> bool:
        if not self.trusted[index] and self.checksums[index]:
            self.trusted[index] = _checksum(self.array[index]) == self.checksums[index]
        return bool(self.trusted[index])

    def _fill(self, index: int) -> None:
        at = index
        while (decoded := self._decode(at)) is None:
            at = (at + 1) % len(self.samples)
        shape = decoded.shape[int(self.media.ragged) :]
        if shape != self.shape:
            raise DataError(f"{self.samples[at].location}: decodes to {shape}, others to {self.shape}")
        self.array[index] = decoded
        self.checksums[index] = _checksum(decoded)
        self.trusted[index] = True


class Ragged:
    """Arrays that differ in length, each in a file of its own, or in memory where there is no folder or no room."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder
        self.kept: dict[int, np.ndarray] = {}

    def __getitem__(self, index: int) -> np.ndarray:
        """What was stored; an empty array where it is not to be had."""
        if index in self.kept or self.folder is None:
            return self.kept.get(index, np.empty(0))
        try:
            found: np.ndarray = np.load(self.folder / f"{index}.npy", mmap_mode="c")
            return found
        except (OSError, ValueError, EOFError):
            return np.empty(0)

    def __setitem__(self, index: int, array: np.ndarray) -> None:
        if self.folder is not None:
            aside = self.folder / f".{index}.{os.getpid()}.{threading.get_ident()}.npy"
            try:
                np.save(aside, array)
                aside.replace(self.folder / f"{index}.npy")
                return
            except OSError:
                aside.unlink(missing_ok=True)
        self.kept[index] = array


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data) or 1  # 0 stands for 'not there'


def _open(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array in a file, made of zeros where there is none; the name appears only when the file is whole.

    Its place on the disk is taken at once: a disk that fills up later would end the process at a write into memory.
    """
    if not path.exists():
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            np.lib.format.open_memmap(aside, mode="w+", dtype=dtype, shape=shape).flush()
            if hasattr(os, "posix_fallocate"):
                with aside.open("r+b") as file:
                    os.posix_fallocate(file.fileno(), 0, aside.stat().st_size)
            if not path.exists():
                aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    array = np.lib.format.open_memmap(path, mode="r+")
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{path} holds {array.shape} {array.dtype}")
    return array
