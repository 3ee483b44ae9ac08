"""Pictures in memory: what networks see of an image file, and what the file holds beside that."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from transgan.api import DataError
from transgan_images import colours
from transgan_images.metadata import Metadata

#: Rows of a picture that are converted at a time: what is computed in between stays small in large pictures.
ROWS = 256
#: A change of this many levels of 255 replaces a colour; below, what networks cannot see of the file's colour is kept.
REPLACED = 16.0


class HalfImage:
    """One half of an image that shows two side by side, as paired data sets often do. It can be used as a path."""

    def __init__(self, path: Path, half: Literal["left", "right"]):
        self.path = path
        self.half = half

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return f"{self.path} ({self.half} half)"


@dataclass(frozen=True)
class Numbers:
    """The numbers of a file: their type, and the range from black to white."""

    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.uint8))
    """uint8, uint16, int32 or float32."""
    low: float = 0.0
    high: float = 255.0

    @property
    def full(self) -> bool:
        """Whether the range is the whole of an unsigned type."""
        return self.dtype.kind == "u" and (self.low, self.high) == (0, np.iinfo(self.dtype).max)

    def to_levels(self, values: np.ndarray) -> np.ndarray:
        """Return numbers as levels of what networks see: uint8 as it is, any other as uint16; those outside clipped."""
        if self.full:
            return values
        unit = (values.astype(np.float64) - self.low) / (self.high - self.low)
        levels: np.ndarray = np.rint(unit.clip(0, 1) * 65535).astype(np.uint16)
        return levels

    def from_levels(self, levels: np.ndarray) -> np.ndarray:
        """Return levels as numbers of a file, float64: the opposite of `to_levels`."""
        values: np.ndarray = self.low + levels * ((self.high - self.low) / np.iinfo(levels.dtype).max)
        return values

    def stored(self, levels: np.ndarray) -> np.ndarray:
        """Return levels (H, W, C) as numbers of a file, of its type."""
        if self.full and self.dtype == levels.dtype:
            return levels
        result = np.empty(levels.shape, self.dtype)
        for rows in parts(len(levels)):
            result[rows] = self.store(self.from_levels(levels[rows]))
        return result

    def store(self, values: np.ndarray) -> np.ndarray:
        """Return numbers rounded and clipped to the type."""
        if self.dtype.kind == "f":
            return values.astype(self.dtype)
        bounds = np.iinfo(self.dtype)
        whole: np.ndarray = np.rint(values).clip(bounds.min, bounds.max).astype(self.dtype)
        return whole

    def opacity_levels(self, opacity: np.ndarray) -> np.ndarray:
        """Return opacity (H, W) as levels, uint8 or uint16.

        With 8 or 16 bits the type's largest number is opaque, whatever the range of the colours; of other types, whose
        largest means nothing, the number that is white.
        """
        if opacity.dtype in (np.uint8, np.uint16):
            return opacity
        top = self.high if self.high > 0 else 1.0
        levels: np.ndarray = np.rint((opacity.astype(np.float64) / top).clip(0, 1) * 65535).astype(np.uint16)
        return levels

    def stored_opacity(self, levels: np.ndarray) -> np.ndarray:
        """Return opacity as numbers of a file, of its type: the opposite of `opacity_levels`."""
        if self.dtype == np.uint8:
            return eight_bits(levels)
        if self.dtype == np.uint16:
            return sixteen_bits(levels)
        return self.store(levels * ((self.high if self.high > 0 else 1.0) / np.iinfo(levels.dtype).max))


@dataclass(frozen=True)
class Original:
    """What an image file holds."""

    name: str
    """The file, for messages."""
    numbers: Numbers
    metadata: Metadata
    mode: str
    """Of the colours: L, RGB or CMYK."""
    profile: bytes | None
    """The ICC profile of `mode`."""
    stored: np.ndarray
    """(H, W, bands): the colours, in the file's own numbers; upright."""
    alpha: np.ndarray | None
    """(H, W) uint8 or uint16: opacity."""
    seen: np.ndarray
    """(H, W, C): the pixels that networks see of it."""

    @property
    def plain(self) -> bool:
        """Whether networks see just what is stored."""
        return self.stored is self.seen

    @property
    def alpha_shape(self) -> tuple[int, ...]:
        """The shape of the opacity; () where there is none."""
        return () if self.alpha is None else self.alpha.shape

    def can_hold(self, pixels: np.ndarray) -> bool:
        """Return whether pixels can be given in the file's own mode: grey in grey, colours in colours."""
        same = pixels.shape == self.seen.shape and pixels.dtype == self.seen.dtype
        return same and (pixels.shape[-1] == 1) == (self.mode == "L")

    def without_ground(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels that networks have changed, (H, W, C), as the colours that on the ground look like them.

        Where the picture is fully transparent, colours stay as they are.
        """
        result = np.empty_like(pixels)
        for rows in parts(len(pixels)):
            result[rows] = self._without_ground(pixels, rows)[1]
        return result

    def _without_ground(self, pixels: np.ndarray, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return rows of the colours before and after networks have changed them, as if all were opaque."""
        channels = pixels.shape[-1]
        top = np.iinfo(pixels.dtype).max
        before = opaque(self.stored[rows], self.numbers, self.mode, self.profile, channels)
        change = pixels[rows].astype(np.float32) - with_channels(self.seen[rows], channels)
        if self.alpha is not None:
            alpha = self.alpha[rows, :, None].astype(np.float32) / np.iinfo(self.alpha.dtype).max
            change = np.where(alpha > 0, change / np.maximum(alpha, 1e-6), 0)
        return before, np.rint(before + change).clip(0, top).astype(pixels.dtype)

    def changed(self, pixels: np.ndarray) -> np.ndarray:
        """Return the file's colours (H, W, bands), in its own numbers, changed as what networks see of them has been.

        Colours that have not changed are those of the file, also where they lie outside of sRGB or of the range; what
        lies outside fades out up to a change of REPLACED levels.

        Args:
            pixels: `seen`, changed.
        """
        if self.plain:
            return pixels
        result = np.empty_like(self.stored)
        for rows in parts(len(pixels)):
            before, after = self._without_ground(pixels, rows)
            outside = self.stored[rows].astype(np.float64) - self._own(before)
            change = np.abs(after.astype(np.float32) - before).max(-1, keepdims=True)
            fade = (1 - change * (255 / np.iinfo(pixels.dtype).max / REPLACED)).clip(0, 1)
            result[rows] = self.numbers.store(self._own(after) + outside * fade)
        return result

    def _own(self, levels: np.ndarray) -> np.ndarray:
        """Return what networks see as the file's numbers, float64."""
        if converts(self.mode, self.profile):
            levels = colours.from_srgb(with_channels(levels, 3), self.mode, self.profile)
        return self.numbers.from_levels(levels)


@dataclass(frozen=True)
class Picture:
    """An image in memory: the item of the media `image`."""

    pixels: np.ndarray
    """(H, W, C), grey or sRGB, upright, on the ground; uint8, or uint16 for all files with other numbers than 8 bits,
    in which 0 is the low end of the range and 65535 the high one."""
    original: Original | None = None
    """The file that it was read from, also after the pixels have changed."""
    numbers: Numbers | None = None
    """The numbers that it is written with; None for those of `pixels`."""

    @property
    def name(self) -> str:
        return self.original.name if self.original else "a picture"


def as_whole(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return whole numbers as those of another type; what it cannot hold is clipped, and not another number."""
    own, other = np.iinfo(numbers.dtype), np.iinfo(dtype)
    whole: np.ndarray = numbers.clip(max(own.min, other.min), min(own.max, other.max)).astype(dtype, copy=False)
    return whole


def eight_bits(array: np.ndarray) -> np.ndarray:
    """Return levels, uint8 or uint16, as uint8."""
    if array.dtype == np.uint8:
        return array
    result = np.empty(array.shape, np.uint8)
    for rows in parts(len(array)):
        result[rows] = (array[rows].astype(np.uint32) + 128) // 257
    return result


def unit_levels(array: np.ndarray, name: str) -> np.ndarray:
    """Return numbers in [0, 1] as levels, uint16.

    Args:
        name: of the array, for messages.

    Raises:
        DataError: some are not in that range.
    """
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if not -0.001 <= low <= high <= 1.001:  # also false for nan
        what = "expected 0 to 1, or the option range of the media, which says what is black and white"
        raise DataError(f"{name}: numbers from {low:g} to {high:g}; {what}")
    levels: np.ndarray = np.rint(array.astype(np.float64).clip(0, 1) * 65535).astype(np.uint16)
    return levels


def sixteen_bits(array: np.ndarray) -> np.ndarray:
    """Return levels, uint8 or uint16, as uint16."""
    return array if array.dtype == np.uint16 else array.astype(np.uint16) * np.uint16(257)


def parts(height: int) -> Iterator[slice]:
    """Yield the rows of a picture, ROWS at a time."""
    return (slice(first, first + ROWS) for first in range(0, height, ROWS))


def converts(mode: str, profile: bytes | None) -> bool:
    """Return whether colours of a mode, with a profile or without, are not grey or sRGB as they are."""
    return mode == "CMYK" or colours.is_usable(profile, mode)


def opaque(stored: np.ndarray, numbers: Numbers, mode: str, profile: bytes | None, channels: int) -> np.ndarray:
    """Return stored colours as networks would see them without opacity, (H, W, channels) uint8 or uint16."""
    return with_channels(colours.to_srgb(numbers.to_levels(stored), mode, profile), channels)


def with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Return pixels (H, W, 1 or 3) uint8 or uint16 with that many channels; grey is Rec. 601 luma, as in Pillow."""
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=-1)
    weights = np.array([19595, 38470, 7471], np.uint64)
    grey = (pixels.astype(np.uint64) @ weights + 0x8000) >> np.uint64(16)
    return grey[..., None].astype(pixels.dtype)
