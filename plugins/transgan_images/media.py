"""Pictures as tensors: reading with guards, augmentation in batches with our own draws, writing, sheets to look at."""

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

from transgan.api import Column, DataError, DiskError, Draws, Media, Options, require

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
#: More pixels than this are refused before they are decoded: a small file can claim to be a huge picture.
MOST_PIXELS = 64_000_000


class ImageOptions(Options):
    channels: Literal[1, 3] = 3
    """3 for colour, 1 for grey."""
    enlarge: float = Field(1.0, ge=1.0, le=4.0)
    """Pictures are made this much larger than `data.size` and cropped by chance (CycleGAN: 286 / 256)."""
    flip: bool = True
    """Mirror half of the training pictures."""
    rotate: float = Field(0.0, ge=0.0, le=180.0)
    """Turn training pictures by chance, up to so many degrees either way."""
    zoom: float = Field(0.0, ge=0.0, lt=1.0)
    """Make training pictures larger or smaller by chance, up to this share."""
    fit: Literal["squash", "crop"] = "squash"
    """How pictures that are not square become so: by changing their proportions, or by cutting off the longer side."""


class ImageMedia(Media):
    """Pictures in files: PNG, JPEG, WebP, BMP, TIFF, GIF (first frame), PPM. `data.size` is a side in pixels."""

    Options = ImageOptions
    suffixes = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")

    def __init__(self, options: ImageOptions, size: int):
        super().__init__(options, size)
        self.channels = options.channels
        self.loaded = round(size * options.enlarge)

    @property
    def space(self) -> tuple[int, ...]:
        return (self.size, self.size)

    def decode(self, location: Any) -> np.ndarray:
        """(S, S, C) uint8. A location is a path, a `Part` of a picture, or a callable of the side S."""
        if callable(location):
            made = np.asarray(location(self.loaded))
            return made if self.channels == 3 else np.asarray(Image.fromarray(made).convert("L"))[..., None]
        picture = open_picture(location, self.channels)
        side = (self.loaded, self.loaded)
        if self.options.fit == "crop":
            picture = ImageOps.fit(picture, side, Image.Resampling.BICUBIC)
        elif picture.size != side:
            picture = picture.resize(side, Image.Resampling.BICUBIC)
        return np.asarray(picture).reshape(*side, self.channels)

    def batch(self, decoded: Tensor, draws: Draws | None, domains: Sequence[str]) -> Tensor:  # type: ignore[override]
        x = decoded.permute(0, 3, 1, 2).float() / 127.5 - 1
        if draws is not None and (self.options.rotate or self.options.zoom):
            x = self._turned(x, draws)
        room = self.loaded - self.size
        if draws is not None and self.options.flip:
            mirror = draws.uniform("flip") < 0.5
            x = torch.where(mirror[:, None, None, None], x.flip(-1), x)
        if room and draws is not None:
            at = (draws.uniform("crop", 2) * (room + 1)).long()
        else:
            at = torch.full((len(x), 2), room // 2, device=x.device)
        if room:
            span = torch.arange(self.size, device=x.device)
            rows, columns = at[:, :1] + span, at[:, 1:] + span  # (N, size)
            n = torch.arange(len(x), device=x.device)
            x = x.permute(0, 2, 3, 1)[n[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return x.contiguous()

    def _turned(self, x: Tensor, draws: Draws) -> Tensor:
        """Every picture turned and zoomed about its centre; what comes into view at the border is mirrored."""
        transform = require("kornia.geometry.transform", "faces", "[data.media] rotate or zoom")
        height, width = x.shape[-2:]
        angle = (2 * draws.uniform("rotate") - 1) * self.options.rotate
        scale = 1 + (2 * draws.uniform("zoom") - 1) * self.options.zoom
        centre = x.new_tensor([(width - 1) / 2, (height - 1) / 2]).expand(len(x), 2)
        matrix = transform.get_rotation_matrix2d(centre, angle.to(x), scale.to(x)[:, None].expand(len(x), 2))
        turned: Tensor = transform.warp_affine(x, matrix, (height, width), padding_mode="reflection")
        return turned

    def read(self, item: Any) -> Tensor:
        """(C, H, W) of a path, a PIL picture, or an array (H, W, C) of bytes."""
        if isinstance(item, np.ndarray):
            if item.dtype != np.uint8 or item.ndim not in (2, 3):
                raise DataError(f"an array of {item.dtype}, {item.shape}, is no picture; expected bytes, (H, W, 3)")
            item = Image.fromarray(item)
        picture = _upright(item, self.channels) if isinstance(item, Image.Image) else open_picture(item, self.channels)
        array = np.array(picture).reshape(picture.height, picture.width, self.channels)
        return torch.from_numpy(array).permute(2, 0, 1).float() / 127.5 - 1

    def export(self, x: Tensor) -> Image.Image:
        """A PIL picture."""
        array = to_bytes(x)
        return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)

    def to_model(self, x: Tensor, stride: int, native: bool, domain: str) -> tuple[Tensor, Any]:
        """With `native` at the picture's own size, else with its shorter side at `data.size`; padded to the stride.

        A sliver is not enlarged to more than 16 times the area of a training picture.
        """
        height, width = x.shape[-2:]
        scale = 1.0 if native else self.size / min(height, width)
        if scale > 1:
            scale = max(1.0, min(scale, 4 * self.size / math.sqrt(height * width)))
        inner = (max(1, round(height * scale)), max(1, round(width * scale)))
        y = x[None]
        if inner != (height, width):
            y = F.interpolate(y, inner, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
        least = min(self.size, max(2 * stride, 8))  # a network may pad by reflection, which needs something to reflect
        down, right = (-(-max(side, least) // stride) * stride - side for side in inner)
        mode = "reflect" if down < inner[0] and right < inner[1] else "replicate"
        return F.pad(y, (0, right, 0, down), mode=mode), ((height, width), inner)

    def from_model(self, y: Tensor, undo: Any, domain: str) -> Tensor:
        size, inner = undo
        y = y[..., : inner[0], : inner[1]]
        if inner != size:
            y = F.interpolate(y, size, mode="bicubic", antialias=True, align_corners=False)
        return y[0].clamp(-1, 1).cpu()

    def write(self, x: Tensor, path: Path) -> None:
        picture = self.export(x)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path, quality=95, subsampling=0)  # only formats that lose something know them
        except (OSError, ValueError, KeyError) as error:
            raise _unwritten(path, error) from error

    def preview(self, columns: Mapping[str, Column], path: Path) -> Path:
        path = path.with_suffix(".png")
        sheet = contact_sheet({name: [to_bytes(x) for x in column.items] for name, column in columns.items()})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            sheet.save(path)
        except OSError as error:
            raise _unwritten(path, error) from error
        return path


class Part:
    """One half of a picture that holds two side by side, as paired sets often come. Behaves as a path in names."""

    def __init__(self, path: Path, half: Literal["left", "right"]):
        self.path = path
        self.half = half

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return f"{self.path} ({self.half} half)"


def open_picture(location: Path | Part | str, channels: int = 3) -> Image.Image:
    """A picture upright and in RGB or grey.

    Raises:
        DataError: missing, empty, damaged, too large, or no picture at all; one line.
    """
    path = Path(location)
    try:
        with Image.open(path, formats=FORMATS) as file:
            if file.width * file.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            picture = _upright(file, channels)
    except MemoryError:
        raise
    except UnidentifiedImageError:
        size = path.stat().st_size
        raise DataError(f"{path}: {'an empty file' if not size else 'not a picture that can be read'}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"{path}: too large; at most {MOST_PIXELS:,} pixels are read") from None
    except Exception as error:  # whatever a damaged file provokes is the file's fault
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{path}: cannot be read: {why}") from None
    if isinstance(location, Part):
        middle = picture.width // 2
        box = (0, 0, middle, picture.height) if location.half == "left" else (middle, 0, 2 * middle, picture.height)
        picture = picture.crop(box)
    return picture


def _upright(picture: Image.Image, channels: int) -> Image.Image:
    """Turned as its camera was held, and in RGB or grey of 8 bits."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith(("I", "F")):
        picture = Image.fromarray(_eight_bits(np.asarray(picture)))
    return picture.convert("L" if channels == 1 else "RGB")


def _eight_bits(array: np.ndarray) -> np.ndarray:
    """16-bit and float pictures as 8 bits; otherwise Pillow would cut off what is above 255."""
    numbers = np.nan_to_num(array.astype(np.float64))
    tops = (1.0, 255.0, 65535.0) if array.dtype.kind == "f" else (65535.0,)
    top = next((top for top in tops if numbers.max(initial=0) <= top), tops[-1])
    scaled: np.ndarray = (np.clip(numbers / top, 0, 1) * 255 + 0.5).astype(np.uint8)
    return scaled


def _unwritten(path: Path, error: Exception) -> DiskError:
    """Why a picture was not written; what there is of it is removed."""
    with suppress(OSError):
        path.unlink()
    return DiskError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}")


def to_bytes(x: Tensor) -> np.ndarray:
    """(C, H, W) in [-1, 1] as (H, W, C) uint8."""
    y = (x.detach().float().cpu().clamp(-1, 1) + 1) * 127.5
    array: np.ndarray = y.round().to(torch.uint8).permute(1, 2, 0).numpy()
    return array


def contact_sheet(columns: Mapping[str, Sequence[np.ndarray]], side: int = 128, gap: int = 4) -> Image.Image:
    """A picture of pictures: a column a name, with the name above, a row an item; small ones enlarged to `side`."""
    rows = max((len(items) for items in columns.values()), default=0)
    tall = max((item.shape[0] for items in columns.values() for item in items), default=side)
    factor = max(1, math.ceil(side / tall))
    cell = tall * factor
    font = ImageFont.load_default(size=13)
    head = 34
    sheet = Image.new("RGB", (len(columns) * (cell + gap) + gap, head + rows * (cell + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (name, items) in enumerate(columns.items()):
        left = gap + i * (cell + gap)
        for line, text in enumerate(name.split("\n")[:2]):
            draw.text((left, 2 + 15 * line), text, fill="black", font=font)
        for j, item in enumerate(items):
            picture = Image.fromarray(item[..., 0] if item.shape[-1] == 1 else item).convert("RGB")
            size = (item.shape[1] * factor, item.shape[0] * factor)
            sheet.paste(picture.resize(size, Image.Resampling.NEAREST), (left, head + j * (cell + gap)))
    return sheet
