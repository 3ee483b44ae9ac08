"""The media `image`: reads untrusted image files, augments batches, writes images and contact sheets."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from transgan.api import Column, DataError, DiskError, Media, Options, SampleRng, require

#: Pillow's names of the formats that are read.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
#: Larger images are refused before they are decoded: a small file can declare a huge size.
MAX_PIXELS = 64_000_000


class ImageOptions(Options):
    channels: Literal[1, 3] = 3
    """3 for colour, 1 for grey."""
    enlarge: float = Field(1.0, ge=1.0, le=4.0)
    """Images are resized to this factor times `data.size`, then randomly cropped to `data.size` (1 to 4; in CycleGAN
    286 / 256)."""
    flip: bool = True
    """Mirror training images with probability 1/2."""
    rotate: float = Field(0.0, ge=0.0, le=180.0)
    """Rotate training images by a random angle of up to this many degrees in either direction."""
    zoom: float = Field(0.0, ge=0.0, lt=1.0)
    """Scale training images by a random factor between 1 - zoom and 1 + zoom."""
    fit: Literal["squash", "crop"] = "squash"
    """How images that are not square are made square: by changing their proportions, or by a centre crop."""


class ImageMedia(Media[ImageOptions]):
    """Image files: PNG, JPEG, WebP, BMP, TIFF, GIF (first frame), PPM. `data.size` is a side in pixels.

    A batch is (N, channels, size, size) in [-1, 1]; an item is a whole image, (channels, H, W) in [-1, 1].
    """

    suffixes = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")

    def __init__(self, options: ImageOptions, size: int):
        super().__init__(options, size)
        self.channels = options.channels
        self.decoded_size = round(size * options.enlarge)

    @property
    def space(self) -> tuple[int, ...]:
        """Height and width of a training batch."""
        return (self.size, self.size)

    def decode(self, location: Any) -> np.ndarray:
        """Return a square image, (S, S, channels) uint8, with S = size * enlarge.

        Args:
            location: a path, a `HalfImage`, or a function that returns an image (S, S, 3) uint8 for S.

        Raises:
            DataError: the file is missing, damaged, too large, or not an image.
        """
        if callable(location):
            array = np.asarray(location(self.decoded_size))
            return array if self.channels == 3 else np.asarray(Image.fromarray(array).convert("L"))[..., None]
        image = open_image(location, self.channels)
        size = (self.decoded_size, self.decoded_size)
        if self.options.fit == "crop":
            image = ImageOps.fit(image, size, Image.Resampling.BICUBIC)
        elif image.size != size:
            image = image.resize(size, Image.Resampling.BICUBIC)
        return np.asarray(image).reshape(*size, self.channels)

    def batch(self, decoded: Tensor, rng: SampleRng | None, domains: Sequence[str]) -> Tensor:
        """Return decoded images (N, S, S, C) uint8 as (N, C, size, size) in [-1, 1].

        With `rng` they are randomly rotated and zoomed, mirrored and cropped; without it they are cropped at the
        centre. `domains` is not used.

        Raises:
            PluginError: `rotate` or `zoom` is set, and kornia is not installed.
        """
        x = decoded.permute(0, 3, 1, 2).float() / 127.5 - 1
        if rng is not None and (self.options.rotate or self.options.zoom):
            x = self._rotate_and_zoom(x, rng)
        margin = self.decoded_size - self.size
        if rng is not None and self.options.flip:
            mirror = rng.uniform("flip") < 0.5
            x = torch.where(mirror[:, None, None, None], x.flip(-1), x)
        if margin and rng is not None:
            offset = (rng.uniform("crop", 2) * (margin + 1)).long()
        else:
            offset = torch.full((len(x), 2), margin // 2, device=x.device)
        if margin:
            span = torch.arange(self.size, device=x.device)
            rows, columns = offset[:, :1] + span, offset[:, 1:] + span  # (N, size)
            n = torch.arange(len(x), device=x.device)
            x = x.permute(0, 2, 3, 1)[n[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return x.contiguous()

    def _rotate_and_zoom(self, x: Tensor, rng: SampleRng) -> Tensor:
        """Rotate and scale every image about its centre; the border is padded by reflection."""
        transform = require("kornia.geometry.transform", "faces", "[data.media] rotate or zoom")
        height, width = x.shape[-2:]
        angle = (2 * rng.uniform("rotate") - 1) * self.options.rotate
        scale = 1 + (2 * rng.uniform("zoom") - 1) * self.options.zoom
        centre = x.new_tensor([(width - 1) / 2, (height - 1) / 2]).expand(len(x), 2)
        matrix = transform.get_rotation_matrix2d(centre, angle.to(x), scale.to(x)[:, None].expand(len(x), 2))
        warped: Tensor = transform.warp_affine(x, matrix, (height, width), padding_mode="reflection")
        return warped

    def read(self, item: Any) -> Tensor:
        """Return an item, (C, H, W) in [-1, 1].

        Args:
            item: a path, a PIL image, or an array (H, W, 3) or (H, W) uint8.

        Raises:
            DataError: the file cannot be read, or the array has another dtype or number of axes.
        """
        if isinstance(item, np.ndarray):
            if item.dtype != np.uint8 or item.ndim not in (2, 3):
                raise DataError(f"an array of {item.dtype}, {item.shape}, is no image; expected uint8, (H, W, 3)")
            item = Image.fromarray(item)
        image = _normalise(item, self.channels) if isinstance(item, Image.Image) else open_image(item, self.channels)
        array = np.array(image).reshape(image.height, image.width, self.channels)
        return torch.from_numpy(array).permute(2, 0, 1).float() / 127.5 - 1

    def export(self, x: Tensor) -> Image.Image:
        """Return an item as a PIL image."""
        array = to_bytes(x)
        return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)

    def to_model(self, x: Tensor, stride: int, native: bool, domain: str) -> tuple[Tensor, Any]:
        """Return an item as (1, C, H, W), padded to multiples of the stride, and its original and resized size.

        The shorter side is resized to `data.size`, unless `native`; a long and narrow image is enlarged at most to 16
        times the area of a training image.
        """
        height, width = x.shape[-2:]
        scale = 1.0 if native else self.size / min(height, width)
        if scale > 1:
            scale = max(1.0, min(scale, 4 * self.size / math.sqrt(height * width)))
        resized = (max(1, round(height * scale)), max(1, round(width * scale)))
        y = x[None]
        if resized != (height, width):
            y = F.interpolate(y, resized, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
        min_side = min(self.size, max(2 * stride, 8))  # for the reflection padding of networks
        bottom, right = (-(-max(side, min_side) // stride) * stride - side for side in resized)
        mode = "reflect" if bottom < resized[0] and right < resized[1] else "replicate"
        return F.pad(y, (0, right, 0, bottom), mode=mode), ((height, width), resized)

    def from_model(self, y: Tensor, undo: Any, domain: str) -> Tensor:
        """Return a generator's output (1, C, H, W) as an item of the original size; `undo` comes from `to_model`."""
        size, resized = undo
        y = y[..., : resized[0], : resized[1]]
        if resized != size:
            y = F.interpolate(y, size, mode="bicubic", antialias=True, align_corners=False)
        return y[0].clamp(-1, 1).cpu()

    def write(self, x: Tensor, path: Path) -> None:
        """Write an item, in the format of the path's suffix.

        Raises:
            DiskError: it cannot be written, or the suffix is unknown.
        """
        image = self.export(x)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path, quality=95, subsampling=0)  # used by lossy formats only
        except (OSError, ValueError, KeyError) as error:
            raise _write_error(path, error) from error

    def preview(self, columns: Mapping[str, Column], path: Path) -> Path:
        """Write a contact sheet as PNG, and return its path.

        Raises:
            DiskError: it cannot be written.
        """
        path = path.with_suffix(".png")
        sheet = contact_sheet({name: [to_bytes(x) for x in column.items] for name, column in columns.items()})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            sheet.save(path)
        except OSError as error:
            raise _write_error(path, error) from error
        return path


class HalfImage:
    """One half of an image that shows two side by side, as paired data sets often do. It can be used as a path."""

    def __init__(self, path: Path, half: Literal["left", "right"]):
        self.path = path
        self.half = half

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return f"{self.path} ({self.half} half)"


def open_image(location: Path | HalfImage | str, channels: int = 3) -> Image.Image:
    """Return the image in a file, rotated as its EXIF orientation says, in RGB or grey with 8 bits.

    Raises:
        DataError: the file is missing, empty, damaged, too large, or not an image; a message of one line.
    """
    path = Path(location)
    try:
        with Image.open(path, formats=FORMATS) as file:
            if file.width * file.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            image = _normalise(file, channels)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        size = path.stat().st_size
        raise DataError(f"{path}: {'an empty file' if not size else 'not an image that can be read'}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"{path}: too large; at most {MAX_PIXELS:,} pixels are read") from None
    except Exception as error:  # damaged files raise many types of exceptions in Pillow
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{path}: cannot be read: {why}") from None
    if isinstance(location, HalfImage):
        middle = image.width // 2
        box = (0, 0, middle, image.height) if location.half == "left" else (middle, 0, 2 * middle, image.height)
        image = image.crop(box)
    return image


def _normalise(image: Image.Image, channels: int) -> Image.Image:
    """Return the image rotated as its EXIF orientation says, in RGB or grey with 8 bits."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_to_eight_bits(np.asarray(image)))
    return image.convert("L" if channels == 1 else "RGB")


def _to_eight_bits(array: np.ndarray) -> np.ndarray:
    """Return a 16-bit or float image with 8 bits; Pillow itself would clip values above 255.

    The range of a float image is the smallest of [0, 1], [0, 255] and [0, 65535] that contains its values.
    """
    values = np.nan_to_num(array.astype(np.float64))
    maxima = (1.0, 255.0, 65535.0) if array.dtype.kind == "f" else (65535.0,)
    maximum = next((maximum for maximum in maxima if values.max(initial=0) <= maximum), maxima[-1])
    scaled: np.ndarray = (np.clip(values / maximum, 0, 1) * 255 + 0.5).astype(np.uint8)
    return scaled


def _write_error(path: Path, error: Exception) -> DiskError:
    """Remove an incomplete file, and return the error to raise."""
    with suppress(OSError):
        path.unlink()
    return DiskError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}")


def to_bytes(x: Tensor) -> np.ndarray:
    """Return an image (C, H, W) in [-1, 1] as (H, W, C) uint8."""
    y = (x.detach().float().cpu().clamp(-1, 1) + 1) * 127.5
    array: np.ndarray = y.round().to(torch.uint8).permute(1, 2, 0).numpy()
    return array


def contact_sheet(columns: Mapping[str, Sequence[np.ndarray]], side: int = 128, gap: int = 4) -> Image.Image:
    """Return a contact sheet: a column for each name, with the name as its header, and a row for each item.

    Args:
        columns: images (H, W, C) uint8 by name; a name has at most two lines.
        side: smaller images are enlarged to at least this height, by a whole factor.
        gap: space between images, in pixels.
    """
    rows = max((len(items) for items in columns.values()), default=0)
    max_height = max((item.shape[0] for items in columns.values() for item in items), default=side)
    factor = max(1, math.ceil(side / max_height))
    cell = max_height * factor
    font = ImageFont.load_default(size=13)
    header = 34
    sheet = Image.new("RGB", (len(columns) * (cell + gap) + gap, header + rows * (cell + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (name, items) in enumerate(columns.items()):
        left = gap + i * (cell + gap)
        for line, text in enumerate(name.split("\n")[:2]):
            draw.text((left, 2 + 15 * line), text, fill="black", font=font)
        for j, item in enumerate(items):
            image = Image.fromarray(item[..., 0] if item.shape[-1] == 1 else item).convert("RGB")
            size = (item.shape[1] * factor, item.shape[0] * factor)
            sheet.paste(image.resize(size, Image.Resampling.NEAREST), (left, header + j * (cell + gap)))
    return sheet
