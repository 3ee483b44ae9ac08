"""Writing pictures with what their files had: numbers, opacity, colour profile and metadata, as far as formats can."""

import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin, TiffTags

from transgan.api import DiskError, replacing_file
from transgan_images import colours
from transgan_images.metadata import Metadata, exif_of, write_options
from transgan_images.pictures import Numbers, Original, Picture, as_whole, eight_bits, parts, sixteen_bits

#: Formats that hold opacity, and CMYK.
_ALPHA = ("PNG", "WEBP", "TIFF", "GIF")
_CMYK = ("JPEG", "TIFF")
#: Most pixels a side, of formats that hold fewer than memory does: of libjpeg, libwebp, and of GIF's 16 bits.
_SIDES = {"JPEG": 65_500, "WEBP": 16_383, "GIF": 65_535}


def write_picture(picture: Picture, path: Path) -> None:
    """Write a picture in the format of the path's suffix; what stood there stays until the new file is complete.

    Raises:
        DiskError: it cannot be written, or no format has the suffix.
    """
    try:
        with replacing_file(path) as file:
            _save(picture, file, _format(path))
    except MemoryError:
        raise
    except Exception as error:  # sizes and metadata that a format cannot hold raise many types of exceptions in Pillow
        raise write_error(path, error) from error


def write_error(path: Path, error: Exception) -> DiskError:
    return DiskError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}")


def _format(path: Path) -> str:
    """Return Pillow's name of the format of a path's suffix."""
    try:
        return Image.registered_extensions()[path.suffix.lower()]
    except KeyError:
        raise ValueError(f"no format has the suffix {path.suffix!r}") from None


def as_pil(picture: Picture) -> Image.Image:
    """Return a picture as a PIL image, with opacity, colour profile and metadata where it has them.

    Several bands of 16 bits become 8, and so do other numbers than 8 and 16 bits of grey.
    """
    array, alpha, profile = _given_back(picture, "TIFF")
    if array.shape[-1] > 1 or (alpha is not None and array.dtype != np.uint8):
        array, alpha = eight_bits(array), None if alpha is None else eight_bits(alpha)
    image = _image(array, alpha)
    metadata = picture.original.metadata if picture.original else Metadata()
    known = {"icc_profile": profile, "exif": metadata.exif, "xmp": metadata.xmp, "dpi": metadata.dpi}
    image.info.update({name: value for name, value in known.items() if value})
    return image


def as_array(picture: Picture, dtype: np.dtype) -> np.ndarray:
    """Return a picture as an array (H, W, bands) of a type, with its opacity as the last band where it has some.

    Floating point is from 0 to 1, or in the range of the file's numbers where that was declared.
    """
    pixels, original = picture.pixels, picture.original
    numbers = picture.numbers or Numbers(pixels.dtype, 0, np.iinfo(pixels.dtype).max)
    alpha = original.alpha if original and pixels.shape[:2] == original.alpha_shape else None
    if original and alpha is not None:
        pixels = original.without_ground(pixels)
    if not numbers.full:
        stored = numbers.stored(pixels)
        if alpha is not None:
            stored = np.dstack([stored, numbers.stored_opacity(alpha)])
        if dtype.kind in "ui" and stored.dtype.kind in "ui":
            return as_whole(stored, dtype)
        return stored.astype(dtype if dtype.kind == stored.dtype.kind else stored.dtype, copy=False)
    if alpha is not None:
        pixels = np.dstack([pixels, _as_deep(alpha, pixels.dtype)])
    if dtype.kind == "f":
        return (pixels / np.iinfo(pixels.dtype).max).astype(dtype)
    return _as_deep(pixels, dtype if dtype in (np.uint8, np.uint16) else pixels.dtype)


def _as_deep(levels: np.ndarray, dtype: np.dtype) -> np.ndarray:
    return eight_bits(levels) if dtype == np.uint8 else sixteen_bits(levels)


def _given_back(picture: Picture, format: str) -> tuple[np.ndarray, np.ndarray | None, bytes | None]:
    """Return colours (H, W, bands), opacity (H, W) and profile of a picture, as a format can hold them."""
    array, original = picture.pixels, picture.original
    numbers = picture.numbers or Numbers(array.dtype, 0, np.iinfo(array.dtype).max)
    alpha = original.alpha if original and format in _ALPHA and array.shape[:2] == original.alpha_shape else None
    profile = None
    if original and original.can_hold(array) and numbers == original.numbers and _keeps(original, format):
        array, profile = original.changed(array), original.profile
    else:
        if original and alpha is not None:
            array = original.without_ground(array)
        array = numbers.stored(array)
    if not _holds(array.dtype, array.shape[-1], format):
        array = numbers.to_levels(array)
        array = array if _holds(array.dtype, array.shape[-1], format) else eight_bits(array)
    if alpha is not None and alpha.dtype != array.dtype:
        alpha = _as_deep(alpha, array.dtype)
    return array, alpha, profile


def _keeps(original: Original, format: str) -> bool:
    """Return whether a format can hold the mode and the opacity of a file."""
    return (original.mode != "CMYK" or format in _CMYK) and (original.alpha is None or format in _ALPHA)


def _holds(dtype: np.dtype, bands: int, format: str) -> bool:
    """Return whether a format holds numbers of a type in that many bands, beside opacity."""
    if dtype == np.uint8:
        return True
    if dtype == np.uint16:
        return format in (("PNG", "TIFF", "PPM") if bands == 1 else ("PNG", "TIFF"))
    return format == "TIFF" and bands == 1


def _image(array: np.ndarray, alpha: np.ndarray | None) -> Image.Image:
    """Return colours (H, W, bands), uint8 or of 1 band, and opacity (H, W) uint8 as a PIL image."""
    if array.dtype != np.uint8:
        return Image.fromarray(array[..., 0])
    if alpha is None:
        return colours.as_image(array)
    return colours.as_image(np.dstack([array, alpha]), "LA" if array.shape[-1] == 1 else "RGBA")


def _save(picture: Picture, file: BinaryIO, format: str) -> None:
    height, width = picture.pixels.shape[:2]
    if max(height, width) > (limit := _SIDES.get(format, math.inf)):
        what = f"{format} holds at most {limit:,} pixels a side, and the picture has {width:,} x {height:,}"
        raise ValueError(f"{what}; write it as .png or .tif")
    array, alpha, profile = _given_back(picture, format)
    metadata = picture.original.metadata if picture.original else Metadata()
    options = write_options(metadata, profile, format)
    if array.dtype == np.uint16 and (array.shape[-1] > 1 or alpha is not None):
        bands = array if alpha is None else np.dstack([array, alpha])
        (_save_deep_png if format == "PNG" else _save_deep_tiff)(bands, file, options)
        return
    image = _image(array, alpha)
    if format == "GIF" and image.mode == "LA":
        image = image.convert("RGBA")
    image.save(file, format, **options)


def _save_deep_png(array: np.ndarray, file: BinaryIO, options: Mapping[str, Any]) -> None:
    """Write (H, W, 2, 3 or 4) uint16 as PNG, which Pillow does not: its chunks, but for the pixels and their size."""
    height, width, bands = array.shape
    mode, color_type = {2: ("LA", 4), 3: ("RGB", 2), 4: ("RGBA", 6)}[bands]
    file.write(b"\x89PNG\r\n\x1a\n")
    for name, data, _ in PngImagePlugin.getchunks(Image.new(mode, (1, 1)), **options):
        if name == b"IHDR":
            PngImagePlugin.putchunk(file, name, struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, 0))
        elif name == b"IDAT":
            packer = zlib.compressobj()
            for part in parts(height):
                rows = array[part].astype(">u2").reshape(-1, width * bands).view(np.uint8)
                left = np.zeros_like(rows)
                left[:, 2 * bands :] = rows[:, : -2 * bands]
                filtered = np.insert(
                    rows - left, 0, 1, axis=1
                )  # each row begins with its filter: 1, less the pixel left
                PngImagePlugin.putchunk(file, name, packer.compress(filtered.tobytes()))
            PngImagePlugin.putchunk(file, name, packer.flush())
        else:
            PngImagePlugin.putchunk(file, name, data)


def _save_deep_tiff(array: np.ndarray, file: BinaryIO, options: Mapping[str, Any]) -> None:
    """Write (H, W, 2, 3 or 4) uint16 as TIFF, which Pillow does not: one strip, not compressed."""
    height, width, bands = array.shape
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    exif = options.get("exif", b"")
    if isinstance(exif, bytes):
        exif = exif_of(exif)
    for tag in exif:
        tags[tag] = exif.get_ifd(tag) if tag in TiffTags.TAGS_V2_GROUPS else exif[tag]
    tags[256], tags[257], tags[258], tags[259] = width, height, (16,) * bands, 1
    tags[262], tags[277], tags[278], tags[284] = 1 if bands == 2 else 2, bands, height, 1
    if bands in (2, 4):
        tags[338] = 2  # opacity with which colours have not been multiplied
    if "dpi" in options:
        (tags[282], tags[283]), tags[296] = options["dpi"], 2
    if "icc_profile" in options:
        tags[34675] = options["icc_profile"]
    tags[273], tags[279] = 0, array.nbytes  # Pillow adds the place behind the tags
    tags.tagtype[273] = tags.tagtype[279] = TiffTags.LONG
    tags.save(file)
    file.write(array.astype("<u2").data)
