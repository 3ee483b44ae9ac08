"""The media `image`: decodes files, augments batches, turns whole images into tensors and back."""

import math
import os
from collections.abc import Mapping, Sequence
from colorsys import hsv_to_rgb
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from transgan.api import (
    Column,
    DataError,
    Description,
    Embedded,
    Media,
    Notes,
    SampleRng,
    Size,
    UsageError,
    option,
    replacing_file,
    require,
)
from transgan_images import colours, encoding, quality
from transgan_images.decoding import InMemory, ReadingOptions, picture_of, read_picture
from transgan_images.pictures import HalfImage, Numbers, Picture, eight_bits, parts, sixteen_bits
from transgan_images.resizing import antialiased
from transgan_images.sheets import contact_sheet, embedded, save_sheet

__all__ = ["HalfImage", "ImageMedia", "ImageOptions", "Picture"]

#: An image that a model sees at less than one of this many of its pixels, along a side, is reported.
MUCH_SMALLER = 4


class ImageOptions(ReadingOptions):
    """Options of the media `image`."""

    fit: Literal["squash", "crop", "width", "none"] = "squash"
    """How training images get the size `data.size`: `squash` changes their proportions; `crop` cuts the middle out of
    them; `width` scales them to the width, then cuts the height out at random; `none` keeps their own resolution, and
    cuts out of them at random. Where `width` or `none` leave less than the size, images are continued by reflection."""
    enlarge: float = Field(1.0, ge=1.0, le=4.0)
    """Images are resized to this factor times `data.size`, then randomly cropped to `data.size` (1 to 4; in CycleGAN
    286 / 256). Not with `fit = "none"`."""
    flip: bool = True
    """Mirror training images with probability 1/2."""
    rotate: float = Field(0.0, ge=0.0, le=180.0)
    """Rotate training images by a random angle of up to this many degrees in either direction."""
    zoom: float = Field(0.0, ge=0.0, lt=1.0)
    """Scale training images by a random factor between 1 - zoom and 1 + zoom."""

    @model_validator(mode="after")
    def _consistent(self) -> "ImageOptions":
        if self.fit == "none" and self.enlarge != 1:
            raise ValueError("enlarge resizes images, which fit = 'none' does not; remove one of them")
        return self


class ImageMedia(Media[ImageOptions]):
    """Image files: PNG, JPEG, WebP, BMP, TIFF, GIF, PPM; of several frames the first. `data.size` is a side in pixels,
    or `[height, width]`.

    A batch is (N, channels, H, W) in [-1, 1]; an item is a whole image, a `Picture`, or a part of one as a tensor
    (channels, H, W) in [-1, 1].
    """

    suffixes = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")
    options_at_use = ("range", "ground", "max_pixels")

    def __init__(self, options: ImageOptions, size: Size):
        sides = (size, size) if isinstance(size, int) else tuple(size)
        if len(sides) != 2:
            raise UsageError(f"data.size = {list(sides)}: expected a side in pixels, or [height, width]")
        super().__init__(options, size)
        self.channels = options.channels
        self.sides = sides
        self.decoded_sides = (round(sides[0] * options.enlarge), round(sides[1] * options.enlarge))
        self.ragged = options.fit in ("width", "none")
        self.notes = Notes()

    @property
    def space(self) -> tuple[int, ...]:
        """Height and width of a training batch."""
        return self.sides

    # Training

    def decode(self, location: Any) -> np.ndarray:
        """Return an image, (H, W, channels), of `data.size` times `enlarge`, or of its own size, see `fit`.

        It is uint8, or uint16 where a `range` is declared, with 0 for black and the largest number for white.

        Args:
            location: a path, a `HalfImage`, or a function that returns an image (H, W, 3) uint8 for S, the longer side
                of a training image.

        Raises:
            DataError: the file is missing, damaged, too large, or not an image.
        """
        if callable(location):
            array = np.asarray(location(max(self.decoded_sides)))
            if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
                raise DataError(f"{location} returns {array.dtype}, {array.shape}; expected uint8, (H, W, 3)")
            pixels = picture_of(array, self.options.model_copy(update={"range": None})).pixels
        else:
            pixels = read_picture(location, self.options, self.notes).pixels
        return self._fitted(eight_bits(pixels) if self.options.range is None else sixteen_bits(pixels))

    def _fitted(self, pixels: np.ndarray) -> np.ndarray:
        """Return pixels (H, W, C) in the size in which samples are kept, see `fit`."""
        height, width = self.decoded_sides
        if self.options.fit == "none":
            return _at_least(pixels, height, width)
        if self.options.fit == "width":
            scaled = max(1, round(pixels.shape[0] * width / pixels.shape[1]))
            return _at_least(resized_pixels(pixels, scaled, width, self.options.labels), self.sides[0], width)
        return resized_pixels(pixels, height, width, self.options.labels, crop=self.options.fit == "crop")

    def batch(self, decoded: Tensor | Sequence[Tensor], rng: SampleRng | None, domains: Sequence[str]) -> Tensor:
        """Return decoded images, (N, H, W, C) or N of (H, W, C), as (N, C, *data.size) in [-1, 1].

        With `rng` they are randomly rotated and zoomed, mirrored and cropped; without it they are cropped at the
        centre. `domains` is not used.

        Raises:
            PluginError: `rotate` or `zoom` is set, and kornia is not installed.
        """
        if not isinstance(decoded, Tensor):  # of different sizes: cropped first
            offsets = self._offsets([each.shape[:2] for each in decoded], rng, "cpu").tolist()
            height, width = self.sides
            crops = [
                each[top : top + height, left : left + width]
                for each, (top, left) in zip(decoded, offsets, strict=True)
            ]
            return self._augmented(_scaled(torch.stack(crops)), rng).contiguous()
        x = self._augmented(_scaled(decoded), rng)
        if self.decoded_sides != self.sides:
            offset = self._offsets([self.decoded_sides] * len(x), rng, x.device)
            rows, columns = (
                offset[:, axis : axis + 1] + torch.arange(side, device=x.device) for axis, side in enumerate(self.sides)
            )  # (N, H) and (N, W)
            n = torch.arange(len(x), device=x.device)
            x = x.permute(0, 2, 3, 1)[n[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        return x.contiguous()

    def _offsets(self, sizes: Sequence[Sequence[int]], rng: SampleRng | None, device: Any) -> Tensor:
        """Return the first row and column (N, 2) of the crops of images: at random, or in the middle."""
        margin = torch.tensor([[size - side for size, side in zip(each, self.sides, strict=True)] for each in sizes])
        if rng is None:
            return (margin // 2).to(device)
        drawn = rng.uniform("crop", 2)
        return (drawn * (margin.to(drawn.device) + 1)).long().to(device)

    def _augmented(self, x: Tensor, rng: SampleRng | None) -> Tensor:
        """Return images (N, C, H, W) randomly rotated, zoomed and mirrored, where `rng` is given."""
        if rng is not None and (self.options.rotate or self.options.zoom):
            x = self._rotate_and_zoom(x, rng)
        if rng is not None and self.options.flip:
            mirror = rng.uniform("flip").to(x.device) < 0.5
            x = torch.where(mirror[:, None, None, None], x.flip(-1), x)
        return x

    def _rotate_and_zoom(self, x: Tensor, rng: SampleRng) -> Tensor:
        """Rotate and scale every image about its centre; the border is padded by reflection."""
        transform = require("kornia.geometry.transform", "faces", "[data.media] rotate or zoom")
        height, width = x.shape[-2:]
        angle = (2 * rng.uniform("rotate") - 1) * self.options.rotate
        scale = 1 + (2 * rng.uniform("zoom") - 1) * self.options.zoom
        centre = x.new_tensor([(width - 1) / 2, (height - 1) / 2]).expand(len(x), 2)
        matrix = transform.get_rotation_matrix2d(centre, angle.to(x), scale.to(x)[:, None].expand(len(x), 2))
        mode = "nearest" if self.options.labels else "bilinear"
        warped: Tensor = transform.warp_affine(x, matrix, (height, width), mode, padding_mode="reflection")
        return warped

    # Whole images

    def is_item(self, value: Any) -> bool:
        """Return whether a value is one image: an array (N, H, W, C) and a tensor (N, C, H, W) hold several."""
        return value.ndim <= 3 if isinstance(value, np.ndarray) else super().is_item(value)

    def read(self, item: Any) -> Any:
        """Return an item.

        Args:
            item: a path, a PIL image, or a `Picture`; an array (H, W) or (H, W, 1, 3 or 4), 4 with opacity: uint8,
                floating point from 0 to 1, or numbers of a declared `range`; a tensor (channels, H, W): floating point
                from -1 to 1, or uint8.

        Raises:
            DataError: the file cannot be read, an array or a tensor has another shape, its numbers are out of range,
                their range is not known, or some are masked.
        """
        if isinstance(item, Picture):
            return item
        if isinstance(item, Tensor):
            return self._read_tensor(item)
        if isinstance(item, np.ndarray):
            if np.ma.is_masked(item):
                name, count = f"an array of {item.dtype.name}, {item.shape}", int(np.ma.getmaskarray(item).sum())
                why = f"{count:,} of its numbers are masked, and none can be missing"
                raise DataError(f"{name}: {why}; fill them, such as x.filled(0)")
            # of NumPy's own type, since others change what axes mean, and such as tensors can share memory with
            item = np.require(np.asarray(item), requirements=("C", "W"))
        if isinstance(item, (Image.Image, np.ndarray)):
            return picture_of(item, self.options)
        if not isinstance(item, (str, os.PathLike)):
            raise DataError(f"found {type(item).__name__}; expected a path, a PIL image, an array or a tensor")
        return read_picture(item, self.options, self.notes)

    def _read_tensor(self, x: Tensor) -> Picture | Tensor:
        name = f"a tensor of {str(x.dtype).removeprefix('torch.')}, {tuple(x.shape)}"
        channels = self.channels if x.is_floating_point() else self.options.channels
        if x.dim() != 3 or x.shape[0] != channels or not x.numel():
            raise DataError(f"{name}: expected ({channels}, H, W)")
        if x.dtype == torch.uint8:
            return picture_of(x.permute(1, 2, 0).cpu().numpy(), self.options)
        if not x.is_floating_point():
            raise DataError(f"{name}: expected floating point from -1 to 1, or uint8")
        try:
            x = x.detach().float()  # first, since types of 8 bits can do nothing else
        except NotImplementedError:
            raise DataError(f"{name}: a type that torch cannot convert; expected another of floating point") from None
        low, high = (float(each) for each in x.aminmax())
        if not -1.001 <= low <= high <= 1.001:  # also false for nan
            raise DataError(f"{name}: numbers from {low:g} to {high:g}; expected -1 to 1, such as x / 127.5 - 1")
        return x

    def describe(self, x: Picture) -> Description:
        return quality.describe(x, self.sides)

    def export(self, x: Picture | Tensor) -> Image.Image:
        """Return an item as a PIL image; see `encoding.as_pil`."""
        return encoding.as_pil(_as_picture(x))

    def export_like(self, x: Picture | Tensor, like: Any) -> Any:
        """Return an item as an array or a tensor where `like` is one, see `read`, and else as a PIL image.

        An array is (H, W, channels), with opacity where the source has it, or (H, W) for grey where `like` is; a tensor
        is (channels, H, W). Where the numbers have a declared range, they come back in it, of the type of `like`.
        """
        if isinstance(like, Tensor) and like.is_floating_point():
            return self.as_tensor(x).to(like.device, like.dtype)
        if isinstance(like, Tensor):
            return torch.from_numpy(self._array(x, np.zeros((1, 1, 1), np.uint8))).permute(2, 0, 1).to(like.device)
        return self._array(x, like) if isinstance(like, np.ndarray) else self.export(x)

    def _array(self, x: Picture | Tensor, like: np.ndarray) -> np.ndarray:
        array = encoding.as_array(_as_picture(x), like.dtype)
        return array[..., 0] if like.ndim == 2 and array.shape[2] == 1 else array

    def as_tensor(self, x: Picture | Tensor) -> Tensor:
        """Return an item as (C, H, W) in [-1, 1]."""
        return x if isinstance(x, Tensor) else _scaled(torch.from_numpy(x.pixels)[None])[0]

    def as_levels(self, x: Picture | Tensor) -> Tensor | None:
        """Return an item of 8 bits as (C, H, W) uint8, without a copy."""
        if isinstance(x, Tensor) or x.pixels.dtype != np.uint8:
            return None
        return torch.from_numpy(x.pixels).permute(2, 0, 1)

    def with_tensor(self, x: Picture | Tensor, changed: Tensor) -> Picture | Tensor:
        """Return an item of the source's media with other pixels, (C, H, W) in [-1, 1] or uint8, of this media."""
        if isinstance(x, Tensor):
            return changed
        numbers, dtype = self._numbers(x)
        if changed.dtype == torch.uint8:
            if dtype == np.uint8:
                return replace(x, pixels=np.ascontiguousarray(changed.permute(1, 2, 0).numpy()), numbers=numbers)
            changed = _scaled(changed.permute(1, 2, 0)[None])[0]
        pixels = np.empty((*changed.shape[-2:], len(changed)), dtype)
        for channel, plane in enumerate(changed):
            pixels[..., channel] = _levels(plane, dtype)
        return replace(x, pixels=pixels, numbers=numbers)

    def _numbers(self, x: Picture) -> tuple[Numbers, np.dtype]:
        """Return the numbers with which an item of the source's media is written as one of this media, and the type of
        its pixels: those of its file, unless the two media declare different ranges."""
        dtype = x.pixels.dtype
        own = x.original.numbers if x.original else Numbers(dtype, 0, np.iinfo(dtype).max)
        if self.options.range is None:
            return (own, dtype) if own.full else (Numbers(np.dtype(np.uint16), 0, 65535), np.dtype(np.uint16))
        low, high = self.options.range
        if (own.low, own.high) == (low, high):
            return own, dtype
        whole = low == round(low) >= 0 and high == round(high) <= 65535 and high - low > 1
        return Numbers(np.dtype(np.uint16 if whole else np.float32), low, high), np.dtype(np.uint16)

    def to_model(self, x: Picture | Tensor, stride: int, native: bool, domain: str) -> tuple[Tensor, Any]:
        """Return an item as (1, C, H, W), padded to multiples of the stride, and the item and its resized size.

        Unless `native` or `fit = "none"`, it is resized such that it covers `data.size`, or with `fit = "width"` to the
        width; a long and narrow image is enlarged at most to 16 times the area of a training image.
        """
        size = tuple(x.shape[-2:] if isinstance(x, Tensor) else x.pixels.shape[:2])
        resized = size if native or self.options.fit == "none" else self._resized_size(*size)
        if not isinstance(x, Tensor) and size[0] > MUCH_SMALLER * resized[0]:
            ways = (
                f"at the full size with {option('native', True)}, or only regions, as with {option('regions', 'faces')}"
            )
            named = "" if isinstance(x.name, InMemory) else f"{x.name}: "  # such as a clip's frames
            self.notes.say(
                "much smaller",
                f"{named}{size[1]} x {size[0]} pixels are made {resized[1]} x {resized[0]} for the model, and large "
                f"again: fine detail is lost; translate {ways}",
            )
        if resized == size:
            y = self.as_tensor(x)[None]
        elif isinstance(x, Tensor):
            y = self._interpolated(x[None], resized)
        else:
            y = self._resized_picture(x, resized)
        least = [min(side, max(2 * stride, 8)) for side in self.sides]  # for the reflection padding of networks
        bottom, right = (
            -(-max(side, min_side) // stride) * stride - side for side, min_side in zip(resized, least, strict=True)
        )
        if bottom or right:
            mode = "reflect" if bottom < resized[0] and right < resized[1] else "replicate"
            y = F.pad(y, (0, right, 0, bottom), mode=mode)
        return y, (x, size, resized)

    def _resized_picture(self, x: Picture, size: tuple[int, ...]) -> Tensor:
        """Return an item as (1, C, H, W) of another size; one channel at a time, for little memory."""
        planes = (torch.from_numpy(np.ascontiguousarray(x.pixels[None, ..., i, None])) for i in range(self.channels))
        return torch.cat([self._interpolated(_scaled(plane), size) for plane in planes], 1)

    def _resized_size(self, height: int, width: int) -> tuple[int, int]:
        scale = self.sides[1] / width
        if self.options.fit != "width":
            scale = max(self.sides[0] / height, scale)
        if scale > 1:
            scale = max(1.0, min(scale, 4 * math.sqrt(math.prod(self.sides)) / math.sqrt(height * width)))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def from_model(self, y: Tensor, undo: Any, domain: str) -> Picture | Tensor:
        """Return a generator's output (1, C, H, W) as an item of the original size; `undo` comes from `to_model`."""
        x: Picture | Tensor = undo[0]
        size, resized = undo[1:]
        y = y[..., : resized[0], : resized[1]]
        if isinstance(x, Tensor):
            return self._interpolated(y, size)[0].cpu()
        numbers, dtype = self._numbers(x)
        pixels = np.empty((*size, y.shape[1]), dtype)
        for channel in range(y.shape[1]):  # one at a time, for little memory
            pixels[..., channel] = _levels(self._interpolated(y[:, channel : channel + 1], size)[0, 0], dtype)
        return replace(x, pixels=pixels, numbers=numbers)

    def _interpolated(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        """Return images (N, C, H, W) in another size, clipped to [-1, 1]."""
        if tuple(x.shape[-2:]) == tuple(size):
            return x.clamp(-1, 1)
        if self.options.labels:
            return F.interpolate(x, size, mode="nearest-exact").clamp_(-1, 1)
        return antialiased(x, size, "bicubic").clamp_(-1, 1)

    def write(self, x: Picture | Tensor, path: Path) -> None:
        """Write an item, in the format of the path's suffix; see `encoding.write_picture`.

        Raises:
            DiskError: it cannot be written, or the suffix is unknown.
        """
        encoding.write_picture(_as_picture(x), path)

    def preview(self, columns: Mapping[str, Column], path: Path) -> Path:
        """Write a contact sheet as PNG, and return its path.

        Raises:
            DiskError: it cannot be written.
        """
        path = path.with_suffix(".png")
        sheet = contact_sheet({name: [shown(x) for x in column.items] for name, column in columns.items()})
        try:
            with replacing_file(path) as file:
                save_sheet(sheet, file)
        except OSError as error:
            raise encoding.write_error(path, error) from error
        return path

    @classmethod
    def embed(cls, path: Path, side: int) -> Embedded:
        """Return a preview for a web page, as WebP; other files as they are."""
        return embedded(path, side) if path.suffix == ".png" else super().embed(path, side)


def _as_picture(x: Picture | Tensor) -> Picture:
    return Picture(to_bytes(x)) if isinstance(x, Tensor) else x


def shown(x: Tensor) -> np.ndarray:
    """Return a sample (C, H, W) as a picture (H, W, 1 or 3) uint8.

    Of other than 1 or 3 channels, which are classes, it is the colour of the largest one; black where none is above 0.
    """
    if x.shape[0] in (1, 3):
        return to_bytes(x)
    largest = x.max(0)
    colours_of = np.array([_class_colour(i) for i in range(len(x))], np.uint8)
    picture: np.ndarray = colours_of[largest.indices.cpu().numpy()]
    picture[(largest.values <= 0).cpu().numpy()] = 0
    return picture


def _class_colour(number: int) -> list[int]:
    """Return red, green and blue of a class; neighbours differ most, by the golden section."""
    return [round(255 * each) for each in hsv_to_rgb(number * 0.618034 % 1, 0.55, 0.95 - 0.3 * (number % 2))]


def to_bytes(x: Tensor) -> np.ndarray:
    """Return an image (C, H, W) in [-1, 1] as (H, W, C) uint8."""
    return _levels(x.permute(1, 2, 0), np.dtype(np.uint8))


def _levels(x: Tensor, dtype: np.dtype) -> np.ndarray:
    """Return numbers in [-1, 1] as levels of a type, uint8 or uint16."""
    half = np.iinfo(dtype).max / 2
    levels = np.empty(x.shape, dtype)
    for rows in parts(len(x)):
        scaled = (x[rows].detach().float().clamp(-1, 1) + 1).mul_(half).round_()
        levels[rows] = scaled.to(torch.int32 if dtype == np.uint16 else torch.uint8).cpu().numpy()
    return levels


def _scaled(levels: Tensor) -> Tensor:
    """Return levels (N, H, W, C), uint8 or uint16, as (N, C, H, W) in [-1, 1]."""
    half = torch.iinfo(levels.dtype).max / 2
    return levels.permute(0, 3, 1, 2).float().div_(half).sub_(1)


def resized_pixels(pixels: np.ndarray, height: int, width: int, labels: bool, crop: bool = False) -> np.ndarray:
    """Return pixels (H, W, C) uint8 or uint16 in another size: squashed, or the middle of them.

    Args:
        labels: take the nearest pixels instead of mixing them.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    size, method = (width, height), Image.Resampling.NEAREST if labels else Image.Resampling.BICUBIC

    def change(image: Image.Image) -> np.ndarray:
        if crop:
            return np.array(ImageOps.fit(image, size, method))
        return np.array(image.resize(size, method))

    if pixels.dtype == np.uint8:
        return change(colours.as_image(pixels)).reshape(height, width, pixels.shape[2])
    planes = [change(Image.fromarray(np.ascontiguousarray(plane, np.float32))) for plane in np.moveaxis(pixels, 2, 0)]
    resized: np.ndarray = np.rint(np.stack(planes, -1)).clip(0, 65535).astype(np.uint16)
    return resized


def _at_least(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return pixels (H, W, C), continued by reflection on all sides where they have less than a height or width."""
    missing = [max(0, least - side) for least, side in zip((height, width), pixels.shape[:2], strict=True)]
    if not any(missing):
        return pixels
    return np.pad(pixels, [*((each // 2, each - each // 2) for each in missing), (0, 0)], mode="reflect")
