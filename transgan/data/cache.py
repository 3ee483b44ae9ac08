"""The cache of decoded samples: each file is decoded once, then read from memory or from a memory-mapped file."""

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

import transgan
from transgan.api.samples import Media, Sample
from transgan.api.weights import cache_root
from transgan.errors import DataError
from transgan.rng import stable_hash
from transgan.storage import atomic

#: Share of a domain's files that may be unreadable before a run stops.
TOLERATED = 0.01


def cache_folder() -> Path:
    """Return the folder for decoded samples."""
    return cache_root() / "decoded"


class DecodedCache:
    """The decoded samples of one domain at one size, filled on demand.

    On disk there are the array (or, where samples differ in length, one array each) and a checksum for each sample. A
    sample whose checksum is 0 or wrong is decoded again, so that several processes may fill the same cache, and a crash
    leaves nothing invalid in it.

    Args:
        on_disk: memory-map a file, where all samples are files; else keep them in memory.
        synthesized: samples that callables have made, shared by the domains that contain them.

    Raises:
        DataError: no sample can be decoded.
    """

    array: "np.ndarray | Ragged"

    def __init__(
        self,
        samples: Sequence[Sample],
        media: Media,
        on_disk: bool = True,
        synthesized: dict[Any, np.ndarray] | None = None,
    ):
        self.samples = samples
        self.media = media
        self.synthesized = {} if synthesized is None else synthesized
        self.unreadable: dict[int, str] = {}
        first = self._first()
        self.shape = first.shape[int(media.ragged) :]
        self.verified = np.zeros(len(samples), dtype=bool)
        files = [sample.location for sample in samples if isinstance(sample.location, (str, os.PathLike))]
        if on_disk and len(files) == len(samples):
            self.array, self.checksums = self._mapped(first.dtype)
        else:
            self.array, self.checksums = self._in_memory(first.dtype)
        self.pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))

    def _first(self) -> np.ndarray:
        """Return the first sample that can be decoded, for the shape of all."""
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
        folder = cache_folder() / f"{stable_hash(*parts):016x}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            array = Ragged(folder) if self.media.ragged else _open(folder / "samples.npy", shape, dtype)
            return array, _open(folder / "checksums.npy", shape[:1], np.dtype(np.uint32))
        except (OSError, ValueError):  # training works without a cache file too
            return self._in_memory(dtype)

    def _decode(self, index: int) -> np.ndarray | None:
        location = self.samples[index].location
        if callable(location):
            if location not in self.synthesized:
                self.synthesized[location] = self.media.decode(location)
            return self.synthesized[location]
        try:
            return self.media.decode(location)
        except DataError as error:
            self.unreadable[index] = str(error)
            if len(self.unreadable) > max(1, TOLERATED * len(self.samples)) or len(self.samples) < 100:
                raise
            return None

    def get(self, indices: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """Return samples, (N, ...) decoded; a list where they differ in length. An unreadable file is replaced by the
        next readable one.

        Raises:
            DataError: more files than tolerated are unreadable; names one of them.
        """
        missing = [int(i) for i in dict.fromkeys(indices.tolist()) if not self._is_valid(int(i))]
        if missing:
            list(self.pool.map(self._fill, missing))
        if isinstance(self.array, Ragged):
            return [self.array[int(i)] for i in indices]
        found: np.ndarray = self.array[indices]
        return found

    def _is_valid(self, index: int) -> bool:
        if not self.verified[index] and self.checksums[index]:
            self.verified[index] = _checksum(self.array[index]) == self.checksums[index]
        return bool(self.verified[index])

    def _fill(self, index: int) -> None:
        at = index
        while (decoded := self._decode(at)) is None:
            at = (at + 1) % len(self.samples)
        shape = decoded.shape[int(self.media.ragged) :]
        if shape != self.shape:
            raise DataError(f"{self.samples[at].location}: decodes to {shape}, others to {self.shape}")
        self.array[index] = decoded
        self.checksums[index] = _checksum(decoded)
        self.verified[index] = True


class Ragged:
    """Arrays of different lengths, each in its own file, or in memory where there is no folder or no space."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder
        self.kept: dict[int, np.ndarray] = {}

    def __getitem__(self, index: int) -> np.ndarray:
        """Return a stored array, or an empty one where it is missing or damaged."""
        if index in self.kept or self.folder is None:
            return self.kept.get(index, np.empty(0))
        try:
            found: np.ndarray = np.load(self.folder / f"{index}.npy", mmap_mode="c")
            return found
        except (OSError, ValueError, EOFError):
            return np.empty(0)

    def __setitem__(self, index: int, array: np.ndarray) -> None:
        if self.folder is not None:
            try:
                with atomic.replacing_file(self.folder / f"{index}.npy", durable=False) as file:
                    np.save(file, array)
                return
            except OSError:
                pass
        self.kept[index] = array


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data) or 1  # 0 means 'not stored'


def _open(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory-map an array in a file, which is created with zeros where it is missing.

    Its disk space is allocated at once: on a disk that fills up later, writing into the mapping would kill the process.
    """
    if not path.exists():
        with atomic.replacing_file(path, durable=False) as file:
            np.lib.format.open_memmap(file.name, mode="w+", dtype=dtype, shape=shape).flush()
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, Path(file.name).stat().st_size)
    array = np.lib.format.open_memmap(path, mode="r+")
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{path} holds {array.shape} {array.dtype}")
    return array
