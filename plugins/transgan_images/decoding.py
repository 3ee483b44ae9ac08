"""Reading untrusted image files: one declared range of numbers, opacity, colour profiles, orientation, metadata."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from threading import Lock
from typing import Literal

import numpy as np
from PIL import Image, ImageCms, ImageColor, ImageFile, ImageOps, UnidentifiedImageError
from pydantic import Field, field_validator

from transgan.api import Blank, DataError, DataWarning, Notes, Options, option
from transgan_images.metadata import Metadata, read_metadata
from transgan_images.pictures import (
    HalfImage,
    Numbers,
    Original,
    Picture,
    as_whole,
    converts,
    opaque,
    parts,
    unit_levels,
    with_channels,
)

#: Pillow's names of the formats that are read.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
#: The default of the most pixels that are read.
MAX_PIXELS = 64_000_000
#: Bytes of memory that translating a picture of 8 bits takes for each pixel, at the training size.
BYTES = 20
#: Numbers of 16 bits below this, with nothing above it in the picture, may be of 10, 12 or 14 bits.
FEWER_BITS = 1 << 14
_LIMIT = Lock()
logging.getLogger("PIL").addHandler(logging.NullHandler())  # else it prints lines about damaged files


class ReadingOptions(Options):
    """How image files are read."""

    channels: Literal[1, 3] = 3
    """3 for colour, 1 for grey."""
    range: tuple[float, float] | None = Field(None, strict=False)
    """The numbers that are black and white, in all files alike: `[0, 4095]` for 12 bits stored in 16. Numbers outside
    are clipped. Without it files of 8 and 16 bits have the range of their type, and others are refused."""
    ground: str = "white"
    """The colour on which transparent images are seen by networks; a name or `"#rrggbb"`. Results keep the opacity."""
    labels: bool = False
    """Numbers of pixels are classes or instances, and no brightness: in other sizes and turned they are those of the
    nearest pixel, and never mixed; of files with a palette they are the indices. Usual with `channels = 1`."""
    max_pixels: int = Field(MAX_PIXELS, ge=1)
    """Larger images are refused before they are decoded: a small file can declare a huge size. To translate one takes
    about 20 bytes of memory for each pixel."""

    @field_validator("range")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value and value[0] >= value[1]:
            raise ValueError(f"found {list(value)}; expected [black, white], two numbers, the lower one first")
        return value

    @field_validator("ground")
    @classmethod
    def _known(cls, value: str) -> str:
        ImageColor.getrgb(value)
        return value


class InMemory(str):
    """What messages call a picture that comes from no file: not its name, but what it is, and of which numbers."""


def read_picture(location: str | os.PathLike[str], options: ReadingOptions, notes: Notes | None = None) -> Picture:
    """Return the picture in a file: of several frames the first.

    Raises:
        DataError: the file is missing, empty, damaged, too large, or not an image, or its numbers have no known range;
            a message of one line.
    """
    path = Path(location)
    with _read_errors(path), _opened(path) as file:
        _check_size(path, file, options)
        if notes and (frames := _frames(file)) > 1:
            what = "of such files the first picture alone is read"
            notes.say("frames", f"{path} holds {frames} pictures; {what}, and results have one")
        images = [file]
        if raw_modes := _deep_modes(file):
            images = [_loaded(path, *raw_mode) for raw_mode in raw_modes]
            images[0].info.update(file.info)
        for image in images:
            ImageOps.exif_transpose(image, in_place=True)
        if isinstance(location, HalfImage):
            images = [_half(image, location.half) for image in images]
        metadata = read_metadata(file if raw_modes else images[0])
        if raw_modes:
            stored = _of_bytes([_array(image) for image in images])
            return _from_bands(stored, images[0], metadata, str(location), options)
        return _from_image(images[0], metadata, str(location), options)


def picture_of(item: Image.Image | np.ndarray, options: ReadingOptions) -> Picture:
    """Return a PIL image, or an array (H, W) or (H, W, 1, 3 or 4), 4 with opacity, as a picture.

    Floating point without a declared range is from 0 to 1.

    Raises:
        DataError: it cannot be read, it has another shape, or its numbers have no known range.
    """
    if isinstance(item, Image.Image):
        with _read_errors("an image"):
            image = ImageOps.exif_transpose(item)
            return _from_image(image, read_metadata(image), InMemory(f"an image of mode {image.mode}"), options)
    name, bands = InMemory(f"an array of {item.dtype.name}, {item.shape}"), item.shape[2] if item.ndim == 3 else 1
    if item.dtype.kind not in "uif" or item.ndim not in (2, 3) or bands not in (1, 3, 4) or not item.size:
        raise DataError(f"{name}, is no image; expected uint8, or numbers of a declared range, (H, W, 3)")
    item = item.astype(item.dtype.newbyteorder("="), copy=False)
    if item.dtype.kind == "f" and not (options.range or options.labels):
        item, options = unit_levels(item, name), options.model_copy(update={"range": (0, 65535)})
    elif item.dtype.kind == "f":
        item = item.astype(np.float32)
    elif item.dtype not in (np.uint8, np.uint16):
        item = as_whole(item, np.dtype(np.int32))
    stored, alpha = _split(item.reshape(*item.shape[:2], bands))
    return _from_stored(stored, alpha, None, Metadata(), name, options)


@contextmanager
def _read_errors(path: Path | str) -> Iterator[None]:
    """Turn every error of reading an image into a DataError of one line."""
    try:
        if isinstance(path, Path) and path.exists() and not path.is_file() and not path.is_dir():
            raise DataError(f"{path}: not a regular file")  # opening a pipe would wait for its writer
        yield
    except (DataError, DataWarning, MemoryError):
        raise
    except UnidentifiedImageError:
        empty = isinstance(path, Path) and not path.stat().st_size
        raise DataError(f"{path}: {'an empty file' if empty else 'not an image that can be read'}") from None
    except Exception as error:  # damaged files raise many types of exceptions in Pillow
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{path}: cannot be read: {' '.join(why.split())}") from None


def _opened(path: Path) -> Image.Image:
    """Return the opened file. Pillow's own limit of pixels is lifted: `_check_size` has another."""
    with _LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_size(path: Path, file: Image.Image, options: ReadingOptions) -> None:
    pixels = file.width * file.height
    if pixels > options.max_pixels:
        memory = f"to translate it takes about {pixels * BYTES / 2**30:,.1f} GiB of memory"
        raise DataError(
            f"{path}: {file.width} x {file.height} pixels, {pixels / 1e6:,.1f} million; at most max_pixels = "
            f"{options.max_pixels:,} are read, and {memory}; raise this option of the media: "
            f"data.media.max_pixels = {pixels} in a recipe, "
            f"{option('media_options', {'max_pixels': pixels})} of a model"
        )


def _frames(file: Image.Image) -> int:
    try:
        return getattr(file, "n_frames", 1)
    except Exception:  # damage behind the first picture
        return 1


def _deep_modes(file: Image.Image) -> list[tuple[str, str]]:
    """Return the modes, and raw modes, in which Pillow has to read a file of several bands of 16 bits; else none.

    Pillow keeps the upper 8 bits; with a raw mode of the other byte order, the lower ones.
    """
    tile = next(iter(getattr(file, "tile", ())), None)
    if tile is None:
        return []
    raw = tile.args if isinstance(tile.args, str) else (tile.args or ("",))[0]
    bands, _, order = str(raw).partition(";16")
    if raw == "LA;16B":
        return [("RGBA", "RGBA")]  # four bytes for each pixel
    if bands not in ("RGB", "RGBA") or order not in ("B", "L", "N"):
        return []
    orders = {"B": "BL", "L": "LB", "N": "LB" if sys.byteorder == "little" else "BL"}[order]
    return [(bands, f"{bands};16{each}") for each in orders]


def _loaded(path: Path, mode: str, raw_mode: str) -> Image.Image:
    """Return the image in a file, its bytes read in a raw mode of Pillow."""
    with _opened(path) as file:
        assert isinstance(file, ImageFile.ImageFile)
        args = [raw_mode if isinstance(tile.args, str) else (raw_mode, *(tile.args or ())[1:]) for tile in file.tile]
        file.tile = [tile._replace(args=each) for tile, each in zip(file.tile, args, strict=True)]
        file._mode = mode
        file.load()
        return file


def _of_bytes(bytes_: list[np.ndarray]) -> np.ndarray:
    """Return bands of 16 bits (H, W, bands) of their upper and lower bytes, in two arrays or side by side in one."""
    upper, lower = bytes_ if len(bytes_) == 2 else (bytes_[0][..., ::2], bytes_[0][..., 1::2])
    stored: np.ndarray = upper.astype(np.uint16)
    stored <<= 8
    stored |= lower
    return stored


def _half(image: Image.Image, half: str) -> Image.Image:
    middle = image.width // 2
    left = 0 if half == "left" else middle
    cropped = image.crop((left, 0, left + middle, image.height))
    cropped.info = image.info
    return cropped


def _array(image: Image.Image) -> np.ndarray:
    """Return the numbers of an image, (H, W, bands); converted in parts, since Pillow makes copies.

    Raises:
        ValueError: it has none.
    """
    if not image.width * image.height:
        raise ValueError(f"{image.width} x {image.height} pixels; expected at least one")
    bands = len(image.getbands())
    dtype = np.asarray(image.crop((0, 0, 1, 1))).dtype.newbyteorder("=")
    array = np.empty((image.height, image.width, bands), dtype)
    for rows in parts(image.height):
        part = np.asarray(image.crop((0, rows.start, image.width, min(rows.stop, image.height))))
        array[rows] = part.reshape(-1, image.width, bands)
    return array


def _from_image(image: Image.Image, metadata: Metadata, name: str, options: ReadingOptions) -> Picture:
    """Return a picture of an image of any of Pillow's modes."""
    if options.labels and image.mode == "P":
        image = Image.fromarray(np.asarray(image))
    profile = image.info.get("icc_profile")
    if image.mode.startswith(("I", "F")):
        array = _array(image)
        if getattr(image, "format", None) == "PPM" and array.dtype == np.int32:
            array = array.astype(np.uint16)  # Pillow has scaled them
        return _from_bands(array, image, metadata, name, options)
    if image.mode == "LAB":
        lab, srgb = (ImageCms.createProfile(space) for space in ("LAB", "sRGB"))
        image = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
        profile = None
    grey = image.mode in ("1", "L", "LA", "La")
    if image.has_transparency_data:
        image = image.convert("LA" if grey else "RGBA")
    elif image.mode != "CMYK":
        image = image.convert("L" if grey else "RGB") if image.mode not in ("L", "RGB") else image
    array = _array(image)
    bands = _split(array) if image.mode in ("LA", "RGBA") else (array, None)
    return _from_stored(*bands, profile, metadata, name, options)


def _from_bands(
    array: np.ndarray, image: Image.Image, metadata: Metadata, name: str, options: ReadingOptions
) -> Picture:
    """Return a picture of the numbers of an image with other than 8 bits."""
    stored, alpha = _split(array)
    key = image.info.get("transparency")
    if alpha is None and key is not None and stored.dtype == np.uint16:
        alpha = np.where((stored == np.array(key)).all(-1), 0, 65535).astype(np.uint16)
    return _from_stored(stored, alpha, image.info.get("icc_profile"), metadata, name, options)


def _split(array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Return colours and opacity of (H, W, bands); 2 and 4 bands are grey and RGB with opacity."""
    return (array[..., :-1], array[..., -1]) if array.shape[-1] in (2, 4) else (array, None)


def _from_stored(
    stored: np.ndarray,
    alpha: np.ndarray | None,
    profile: bytes | None,
    metadata: Metadata,
    name: str,
    options: ReadingOptions,
) -> Picture:
    """Return a picture of what a file holds: colours (H, W, bands), 1 grey, 3 RGB, 4 CMYK, and opacity (H, W)."""
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[stored.shape[-1]]
    numbers = _numbers(stored, name, options)
    alpha = None if alpha is None else numbers.opacity_levels(alpha)
    channels = options.channels
    if numbers == Numbers() and alpha is None and stored.shape[-1] == channels and not converts(mode, profile):
        seen = stored
    else:
        ground = np.array(ImageColor.getrgb(options.ground)[:3]) / 255
        seen = np.empty((*stored.shape[:2], channels), np.uint8 if numbers == Numbers() else np.uint16)
        for rows in parts(len(stored)):
            seen[rows] = opaque(stored[rows], numbers, mode, profile, channels)
            if alpha is not None:
                seen[rows] = _on_ground(seen[rows], alpha[rows], ground)
    return Picture(seen, Original(name, numbers, metadata, mode, profile, stored, alpha, seen))


def _on_ground(colors: np.ndarray, alpha: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """Return colours (H, W, C) uint8 or uint16 of an opacity (H, W) on a ground (3,) in [0, 1]."""
    top = np.iinfo(colors.dtype).max
    below = with_channels(np.rint(ground * top).astype(colors.dtype).reshape(1, 1, 3), colors.shape[-1])
    share = alpha[..., None].astype(np.float32) / np.iinfo(alpha.dtype).max
    mixed: np.ndarray = np.rint(colors * share + below * (1 - share)).astype(colors.dtype)
    return mixed


def _numbers(stored: np.ndarray, name: str, options: ReadingOptions) -> Numbers:
    """Return the type and range of a file's numbers.

    Raises:
        DataError: there are numbers that are not finite, or their range is neither declared nor that of the type.
    """
    dtype = stored.dtype
    if dtype.kind == "f" and not np.isfinite(stored).all():
        count = int((~np.isfinite(stored)).sum())
        raise DataError(f"{name}: {count:,} of {stored.size:,} numbers are not finite (NaN or infinity)")
    if options.range is not None:
        low, high = options.range
        if dtype == np.uint8 and _refuses_bytes(low, high):
            raise DataError(
                f"{name}: an image of 8 bits, but media.range declares {low:g} to {high:g} as black and white for all "
                "files; convert the image, or remove it"
            )
        return Numbers(dtype, low, high)
    if dtype == np.uint8:
        return Numbers()
    top = int(stored.max())
    if options.labels and dtype.kind in "ui" and stored.min() >= 0 and top <= 65535:
        return Numbers(dtype, 0, 65535)  # names, of which none is brighter than another
    if dtype == np.uint16 and (top >= FEWER_BITS or not top):
        return Numbers(dtype, 0, 65535)
    low, high = _likely_range(float(stored.min()), float(stored.max()), whole=dtype.kind != "f")
    example = f"[{low:.12g}, {high:.12g}]"
    refused = " (files of 8 bits are then refused)" if _refuses_bytes(low, high) else ""
    why = "which may be fewer than 16 bits" if dtype == np.uint16 else "whose range is not known"
    kind = "" if isinstance(name, InMemory) else f" of type {dtype}"
    raise DataError(
        f"{name}: numbers{kind} from {stored.min():g} to {stored.max():g}, {why}; declare which are black "
        f"and white in all files{refused}, such as data.media.range = {example} in a recipe, "
        f"{option('media_options', {'range': Blank(example)})} of a model"
    )


def _refuses_bytes(low: float, high: float) -> bool:
    """Return whether a declared range cannot be that of files of 8 bits."""
    return low < 0 or high > 255 or high - low < 2


def _likely_range(low: float, high: float, whole: bool) -> tuple[float, float]:
    """Return a usual range of numbers that holds those from `low` to `high`."""
    if low < 0:
        return (-1.0, 1.0) if low >= -1 and high <= 1 and not whole else (-_rounded_up(-low), _rounded_up(max(high, 0)))
    usual = [1.0, 255.0] if not whole else [float((1 << bits) - 1) for bits in (8, 10, 12, 14, 16)]
    return 0.0, next((each for each in usual if high <= each), _rounded_up(high))


def _rounded_up(number: float) -> float:
    """Return the least number of two digits that is not below one."""
    if not number:
        return 0.0
    step = Decimal(10) ** (Decimal(number).adjusted() - 1)
    return float((Decimal(number) / step).to_integral_value(ROUND_CEILING) * step)
