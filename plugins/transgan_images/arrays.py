"""The source `arrays`: images and their labels in NumPy's `.npz` files."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from transgan.api import DataError, Options, Sample, Source, UsageError, did_you_mean, expand_home, select


class ArrayOptions(Options):
    """Options of the source `arrays`."""

    images: str = "images"
    """The name of the array with the images."""


@dataclass(frozen=True, eq=False)
class ArrayImage:
    """An image of an array; calling it returns its pixels. Images with the same pixels are equal."""

    pixels: np.ndarray
    """(H, W) or (H, W, 1 or 3) uint8."""
    name: str

    def __call__(self, size: int) -> np.ndarray:
        """Return the image in colour, (H, W, 3), in its own size; the media resizes it."""
        return np.broadcast_to(self.pixels.reshape(*self.pixels.shape[:2], -1), (*self.pixels.shape[:2], 3))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArrayImage) and np.array_equal(self.pixels, other.pixels)

    def __hash__(self) -> int:
        return hash(self.pixels.tobytes())

    def __str__(self) -> str:
        return self.name


class ArraySource(Source[ArrayOptions]):
    """Images in `.npz` files. A domain is a file below `data.root`, a sample one of the images in it.

    The file has an array `images`, (N, H, W) or (N, H, W, 1 or 3), uint8, from black to white. Every other array of N
    numbers or strings is a label, by its name. A sample's key is its place in the file, so that files with pairs have
    them at the same places.

    Examples: `mnist = "mnist.npz"`, `mnist = { path = "train.npz", held_out = "test.npz" }`, and, of the images with
    some labels only (see `transgan.api.select`), `odd = { path = "train.npz", labels = [1, 3, 5] }`.
    """

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        """Return the images of a file, those with the wanted labels.

        Args:
            domain: the domain's name, for messages.
            selection: the file's path, or a table with `path` and the wanted values by label.

        Raises:
            DataError: the file cannot be read, has no images of the form above, or none has the labels.
            UsageError: the selection is of another form, or has an unknown label or value.
        """
        wanted = dict(selection) if isinstance(selection, Mapping) else {"path": selection}
        file = wanted.pop("path", None)
        if not isinstance(file, str):
            raise UsageError(
                f'found {selection!r}; expected the path of an .npz file, or {{ path = "FILE", labels = 3 }}'
            )
        path = (self.root or Path()) / expand_home(file)
        arrays = _read(path, domain)
        if self.options.images not in arrays:
            raise DataError(
                f"[domains] {domain}: {path} has no array '{self.options.images}'. "
                f"{did_you_mean(self.options.images, arrays)} [data.source] images names it"
            )
        images = arrays.pop(self.options.images)
        if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))):
            raise DataError(
                f"[domains] {domain}: '{self.options.images}' in {path} is {images.dtype}, {images.shape}; "
                "expected uint8, (N, H, W) or (N, H, W, 3)"
            )
        if not images.size:
            raise DataError(f"[domains] {domain}: '{self.options.images}' in {path} is empty, {images.shape}")
        labels = {name: each.tolist() for name, each in arrays.items() if each.shape == (len(images),)}
        digits = len(str(len(images) - 1))
        samples = [
            Sample(
                f"{i:0{digits}}",
                ArrayImage(image, f"{path} (image {i})"),
                {name: values[i] for name, values in labels.items()},
            )
            for i, image in enumerate(images)
        ]
        found = select(samples, wanted, dict.fromkeys(labels, ())) if wanted else samples
        if not found:
            raise DataError(f"[domains] {domain}: no image in {path} has {wanted}")
        return found


def _read(path: Path, domain: str) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz` file by name.

    Raises:
        DataError: there is no such file, or it cannot be read.
    """
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        there = sorted(each.name for each in path.parent.glob("*.npz")) if path.parent.is_dir() else []
        hint = f"; {path.parent} has {', '.join(there[:8])}" if there else ""
        raise DataError(f"[domains] {domain}: {path} {what}; expected an .npz file{hint}")
    try:
        with path.open("rb") as file:
            arrays = np.load(file, allow_pickle=False)
            if isinstance(arrays, np.ndarray):
                raise DataError(
                    f"[domains] {domain}: {path} holds a single array; expected several with names, an .npz"
                )
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise DataError(f"[domains] {domain}: {path} cannot be read as an .npz file: {error}") from None
