"""The cache of decoded samples: each file is decoded once, then read from memory or from a memory-mapped file."""

import inspect
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch

import transgan
from transgan.api.samples import Media, Notes, Sample
from transgan.api.weights import cache_root
from transgan.errors import DataError, PluginFault
from transgan.graph import error_context
from transgan.rng import stable_hash
from transgan.storage import atomic
from transgan.tree import described

#: Said once in a process, whatever number of domains is concerned.
_NOTES = Notes()


def cache_folder() -> Path:
    """Return the folder for decoded samples."""
    return cache_root() / "decoded"


def _warn_of_memory(error: OSError) -> None:
    root = cache_root()
    _NOTES.say(
        str(root),
        f"decoded samples are kept in memory and decoded again by the next run, since the cache folder {root} cannot "
        f"be written: {error.strerror or error}; TRANSGAN_CACHE=FOLDER names another",
    )


class NothingReadableError(DataError):
    """None of the samples can be read; `reasons` says why, by index."""

    def __init__(self, reasons: Mapping[int, str]):
        super().__init__(reasons)
        self.reasons = reasons

    def __str__(self) -> str:
        first = next(iter(self.reasons.values()), "there are none")
        return f"none of {len(self.reasons)} samples can be read: {first}"


class DecodedCache:
    """The decoded samples of one domain at one size, filled on demand.

    On disk there are the array (or, where samples differ in length, one array each) and a checksum for each sample. A
    sample whose checksum is 0 or wrong is decoded again, so that several processes may fill the same cache, and a crash
    leaves nothing invalid in it. What cannot be decoded is not stored, and is tried again by the next run.

    The folder's name follows from the files, their sizes and times, and from the media: its options, its size, and the
    code that decodes.

    Args:
        on_disk: memory-map a file, where all samples are files; else keep them in memory.
        synthesized: samples that callables have made, shared by the domains that contain them.

    Raises:
        NothingReadableError: no sample can be decoded.
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
        first = self._first()
        self.shape = first.shape[-1:] if media.ragged else first.shape
        self.dtype = first.dtype
        self.verified = np.zeros(len(samples), dtype=bool)
        files = [sample.location for sample in samples if isinstance(sample.location, (str, os.PathLike))]
        code = code_of(type(media).__mro__)
        if on_disk and code and len(files) == len(samples):
            self.array, self.checksums = self._mapped(code)
        else:
            self.array, self.checksums = self._in_memory()
        self.pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))

    def _first(self) -> np.ndarray:
        """Return the first sample that can be decoded, for the shape of all."""
        reasons = {}
        for i, sample in enumerate(self.samples):
            try:
                return self._decode(sample)
            except DataError as error:
                reasons[i] = str(error)
        raise NothingReadableError(reasons)

    def _in_memory(self) -> "tuple[np.ndarray | Ragged, np.ndarray]":
        count = len(self.samples)
        array = Ragged() if self.media.ragged else np.zeros((count, *self.shape), self.dtype)
        return array, np.zeros(count, dtype=np.uint32)

    def _mapped(self, code: str) -> "tuple[np.ndarray | Ragged, np.ndarray]":
        shape, cls = (len(self.samples), *self.shape), type(self.media)
        parts: list[object] = [transgan.__version__, cls.__module__, cls.__qualname__, code]
        parts += [self.media.options, self.media.size]
        for sample in self.samples:
            parts += [Path(sample.location).absolute(), sample.location]
            with suppress(OSError):  # which is reported where the sample is decoded
                status = Path(sample.location).stat()
                parts += [status.st_size, status.st_mtime_ns]
        parts += [shape, self.dtype]
        folder = cache_folder() / f"{stable_hash(*parts):016x}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            array = Ragged(folder) if self.media.ragged else _open(folder / "samples.npy", shape, self.dtype)
            return array, _open(folder / "checksums.npy", shape[:1], np.dtype(np.uint32))
        except OSError as error:  # training works without a cache file too
            _warn_of_memory(error)
            return self._in_memory()

    def _decode(self, sample: Sample) -> np.ndarray:
        location = sample.location
        known = callable(location) and location in self.synthesized
        with error_context(f"decoding {location}", self.media):
            decoded = self.synthesized[location] if known else self.media.decode(location)
            check_decoded(decoded, self.media)
        if callable(location):
            self.synthesized[location] = decoded
        return decoded

    def unreadable(self, order: Iterable[int], seen: Callable[[], object] = lambda: None) -> dict[int, str]:
        """Decode what is not there yet, except what functions make; return why samples cannot be decoded, by index.

        Args:
            order: the samples to decode, by index.
            seen: called after each.
        """

        def attempt(index: int) -> str:
            try:
                if not self.checksums[index] and not callable(self.samples[index].location):
                    self._fill(index)
            except DataError as error:
                return str(error)
            return ""

        failed = {}
        order = list(order)
        for index, why in zip(order, self.pool.map(attempt, order), strict=True):
            if why:
                failed[index] = why
            seen()
        return failed

    def get(self, indices: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """Return samples, (N, ...) decoded; a list where they differ in length.

        Raises:
            DataError: one of them cannot be decoded.
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
        decoded = self._decode(self.samples[index])
        found = decoded.shape[-1:] if self.media.ragged else decoded.shape, decoded.dtype
        if found != (self.shape, self.dtype):
            raise DataError(
                f"{self.samples[index].location}: decodes to {found[0]} {found[1]}, others to {self.shape} {self.dtype}"
            )
        self.array[index] = decoded
        self.checksums[index] = _checksum(decoded)
        self.verified[index] = True


def check_decoded(decoded: object, media: Media) -> None:
    """Check that something that a media has decoded can become a tensor.

    Raises:
        PluginFault: it is no array, or its numbers are of a type that tensors do not have.
    """
    if not isinstance(decoded, np.ndarray):
        raise PluginFault(media, f"decode returned {described(decoded)}, expected a numpy array")
    try:
        torch.from_numpy(np.empty(0, decoded.dtype))
    except (TypeError, ValueError):
        what = f"decode returned an array of type {decoded.dtype}, expected numbers of a type that tensors have"
        raise PluginFault(media, what) from None


@cache
def code_of(classes: tuple[type[Any], ...]) -> str:
    """Return a hash of the code of classes: that of a media and its base classes; an empty text where it is in no file.

    It is that of the packages that they are in, so that another version, or an edited plugin, does
    not get what the earlier code has decoded.
    """
    digest = blake2b(digest_size=8)
    tops = {cls.__module__.partition(".")[0]: cls for cls in classes}
    for top, cls in sorted(tops.items()):
        if top in ("transgan", "builtins", "typing", "abc"):
            continue
        try:
            places = getattr(sys.modules.get(top), "__path__", ())
            files = sorted(file for place in places for file in Path(place).rglob("*.py"))
            for file in files or [Path(inspect.getsourcefile(cls) or "")]:
                digest.update(file.name.encode(errors="surrogatepass") + b"\0" + file.read_bytes())
        except (OSError, TypeError):
            return ""
    return digest.hexdigest()


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
            except OSError as error:
                _warn_of_memory(error)
        self.kept[index] = array


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).data) or 1  # 0 means 'not stored'


def _open(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory-map an array in a file, which is created with zeros where it is missing or damaged.

    Its disk space is allocated at once: on a disk that fills up later, writing into the mapping would kill the process.
    """
    try:
        array = np.lib.format.open_memmap(path, mode="r+")
    except (FileNotFoundError, ValueError):
        array = None
    if array is None or (array.shape, array.dtype) != (shape, dtype):
        with atomic.replacing_file(path, durable=False) as file:
            np.lib.format.open_memmap(file.name, mode="w+", dtype=dtype, shape=shape).flush()
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, Path(file.name).stat().st_size)
        array = np.lib.format.open_memmap(path, mode="r+")
    return array
