"""What image files say beside their pixels: EXIF, XMP, resolution, texts."""

import math
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from PIL import ExifTags, Image, PngImagePlugin

from transgan.api import DataWarning

#: Tags of EXIF and TIFF that say how pixels are stored, and those that Pillow writes from other arguments.
_STRUCTURE = {
    *(254, 255, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 280, 281, 282, 283, 284, 290, 291, 292, 293),
    *(296, 297, 301, 317, 318, 319, 320, 321, 322, 323, 324, 325, 330, 332, 334, 336, 338, 339, 340, 341, 347),
    *(512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532, 700, 33723, 34377, 34675),
}
#: Most bytes of EXIF, and of XMP, in a JPEG file.
_MAX_JPEG = 65_000
_XMP = 700


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels, without the orientation, which has been applied, and without thumbnails."""

    exif: bytes = b""
    xmp: bytes = b""
    dpi: tuple[float, float] | None = None
    text: Mapping[str, str] = field(default_factory=dict)
    """Of PNG: texts by keyword."""
    comment: bytes = b""
    """Of JPEG and GIF."""


def read_metadata(image: Image.Image) -> Metadata:
    """Return what an image that has been turned upright says beside its pixels; damaged parts are omitted."""
    exif = Image.Exif()
    data = b""
    with suppress(Exception):  # damaged EXIF raises many types of exceptions in Pillow
        found = image.getexif()
        for tag, value in found.items():
            if tag in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
                value = dict(found.get_ifd(tag))
                if ExifTags.IFD.Interop in value:
                    value[ExifTags.IFD.Interop] = dict(found.get_ifd(ExifTags.IFD.Interop))
                sizes = {ExifTags.Base.ExifImageWidth: image.width, ExifTags.Base.ExifImageHeight: image.height}
                value |= {tag: size for tag, size in sizes.items() if tag in value}
            if tag not in _STRUCTURE:
                exif[tag] = value
        data = exif.tobytes() if len(exif) else b""
    xmp = image.info.get("xmp", b"")
    dpi = image.info.get("dpi")
    if not (isinstance(dpi, tuple) and len(dpi) == 2 and all(math.isfinite(each) and each > 0 for each in dpi)):
        dpi = None
    text = {
        name: value
        for name, value in getattr(image, "text", {}).items()
        if isinstance(value, str) and not name.startswith(("Raw profile type", "XML:com.adobe.xmp"))
    }
    comment = image.info.get("comment", b"")
    return Metadata(
        data,
        xmp if isinstance(xmp, bytes) else b"",
        dpi and (float(dpi[0]), float(dpi[1])),
        text,
        comment if isinstance(comment, bytes) else b"",
    )


def write_options(metadata: Metadata, profile: bytes | None, format: str) -> dict[str, Any]:
    """Return the arguments with which Pillow writes a format: the quality of lossy ones, metadata, profile."""
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if format in ("JPEG", "WEBP") else {}
    if metadata.dpi and format in ("PNG", "JPEG", "TIFF", "BMP"):
        options["dpi"] = metadata.dpi
    if profile and format in ("PNG", "JPEG", "TIFF", "WEBP"):
        options["icc_profile"] = profile
    exif, xmp = metadata.exif, metadata.xmp
    if format == "JPEG":
        exif, xmp = (each if len(each) <= _MAX_JPEG else b"" for each in (exif, xmp))
        if (exif, xmp) != (metadata.exif, metadata.xmp):
            warnings.warn(DataWarning("EXIF or XMP too long for a JPEG file is omitted"), stacklevel=2)
    if format in ("JPEG", "PNG", "WEBP", "TIFF") and exif:
        options["exif"] = exif
    if format in ("JPEG", "WEBP") and xmp:
        options["xmp"] = xmp
    if format == "TIFF" and xmp:
        tags = exif_of(exif)
        tags[_XMP] = xmp
        options["exif"] = tags
    if format == "PNG" and (metadata.text or xmp):
        options["pnginfo"] = PngImagePlugin.PngInfo()
        for name, text in metadata.text.items():
            options["pnginfo"].add_text(name, text)
        if xmp:
            options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    if format in ("JPEG", "GIF") and metadata.comment:
        options["comment"] = metadata.comment
    return options


def exif_of(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(data)
    return exif
