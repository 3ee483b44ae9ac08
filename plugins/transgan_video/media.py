"""The media `clip`: a few frames of a clip for training; in translation frames, each a picture of its own."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from transgan_images.media import ImageMedia, ImageOptions
from transgan_images.pictures import Picture

from transgan.api import Column, DataError, Description, DiskError, Media, Options, SampleRng, Size
from transgan_video.sources import ClipPart

Frame = Picture | Tensor
Item = Frame | list[Frame]
"""A frame, or the frames of a clip."""


class ClipOptions(Options):
    """Options of the media `clip`."""

    frames: int = Field(3, ge=1, le=256)
    """Number of frames of a training sample (1 to 256)."""
    step: int = Field(1, ge=1, le=1000)
    """Every Nth frame of a clip is taken: 2 for clips at 60 frames a second, where one at 30 should move alike."""
    fit: Literal["squash", "crop"] = "squash"
    """How frames get the size `data.size`: `squash` changes their proportions, `crop` cuts the middle out of them."""
    enlarge: float = Field(1.0, ge=1.0, le=4.0)
    """Frames are resized to this factor times `data.size`, then cropped to `data.size` at random, all frames of a clip
    alike (1 to 4; in CycleGAN 286 / 256)."""
    flip: bool = True
    """Mirror training clips with probability 1/2, all frames of a clip alike."""


class ClipMedia(Media[ClipOptions]):
    """Clips: a training sample is `frames` frames of a file, or of a folder of pictures. `data.size` is the side of a
    frame in pixels, or `[height, width]`.

    A batch is (N, 3, frames, H, W) in [-1, 1]. An item is a frame, or a list of frames: a `Picture` each, or a tensor
    (3, H, W) in [-1, 1]. Frames are translated one by one, as a batch (frames, 3, H, W): a long clip can be translated
    frame by frame, and a picture is a clip of one frame.
    """

    suffixes = ImageMedia.suffixes

    def __init__(self, options: ClipOptions, size: Size):
        super().__init__(options, size)
        own = ImageOptions(fit=options.fit, enlarge=options.enlarge, flip=options.flip)
        self.pictures = ImageMedia(own, size)
        """The media of a single frame."""

    @property
    def space(self) -> tuple[int, ...]:
        """Frames, height and width of a training batch."""
        return (self.options.frames, *self.pictures.space)

    def decode(self, location: Any) -> np.ndarray:
        """Return the frames of a sample, (frames, H, W, 3) uint8, of `data.size` times `enlarge`.

        Args:
            location: a `ClipPart`, or a function of the number of frames, the step and the longer side S in pixels,
                which returns frames (frames, S, S, 3) uint8.

        Raises:
            DataError: the clip cannot be read, or has too few frames.
        """
        frames, step = self.options.frames, self.options.step
        if callable(location):
            arrays = location(frames, step, max(self.pictures.decoded_sides))
        elif isinstance(location, ClipPart):
            arrays = location.read(frames, step)
        else:
            raise DataError(f"{location}: not a part of a clip; use a source of clips, such as 'clips'")
        opaque = [self.pictures.read(array).pixels for array in arrays]
        return np.stack([self.pictures.decode(lambda _, pixels=pixels: pixels) for pixels in opaque])

    def batch(self, decoded: Tensor, rng: SampleRng | None, domains: Sequence[str]) -> Tensor:
        """Return decoded clips, (N, frames, H, W, 3), as (N, 3, frames, *data.size) in [-1, 1].

        With `rng` they are mirrored and cropped at random, without it cropped at the centre.
        """
        pictures = decoded.permute(0, 2, 3, 1, 4).flatten(3)  # the channels of all frames: they change alike
        x = self.pictures.batch(pictures, rng, domains)
        return x.reshape(len(x), self.options.frames, -1, *x.shape[2:]).transpose(1, 2).contiguous()

    def is_item(self, value: Any) -> bool:
        """Return whether a value is one frame or one clip; a list of frames is a clip."""
        if isinstance(value, list):
            return all(self.pictures.is_item(each) for each in value)
        return value.ndim <= 4 if isinstance(value, np.ndarray) else super().is_item(value)

    def read(self, item: Any) -> Item:
        """Return an item: of a path, a PIL image, an array (H, W, 3) or a tensor (3, H, W) a frame; of a list of these,
        an array (T, H, W, 3), a tensor (3, T, H, W) or a `ClipPart` a list of frames. Ranges are those of `image`.

        Raises:
            DataError: it cannot be read.
        """
        if isinstance(item, ClipPart):
            item = item.read(self.options.frames, self.options.step)
        if isinstance(item, Tensor) and item.dim() == 4:
            item = list(item.unbind(1))
        if isinstance(item, list) or (isinstance(item, np.ndarray) and item.ndim == 4):
            return [self.pictures.read(each) for each in item]
        frame: Frame = self.pictures.read(item)
        return frame

    def describe(self, x: Item) -> Description:
        """Return what is in the first frame."""
        frame = _frames(x)[0]
        return self.pictures.describe(frame) if isinstance(frame, Picture) else Description()

    def export(self, x: Item) -> Any:
        """Return a frame as a PIL image, and several as a list of them."""
        return [self.pictures.export(each) for each in x] if isinstance(x, list) else self.pictures.export(x)

    def export_like(self, x: Item, like: Any) -> Any:
        """Return a frame, or the frames of a clip, as they were given: see the media `image`."""
        if not isinstance(x, list):
            return self.pictures.export_like(x, like)
        if isinstance(like, Tensor):
            return torch.stack([self.pictures.export_like(each, like[:, 0]) for each in x], 1)
        if isinstance(like, np.ndarray):
            return np.stack([self.pictures.export_like(each, like[0]) for each in x])
        frames = like if isinstance(like, list) else [None] * len(x)
        return [self.pictures.export_like(each, frame) for each, frame in zip(x, frames, strict=True)]

    def as_tensor(self, x: Item) -> Tensor | None:
        """Return a frame as (3, H, W) in [-1, 1]; None for several, in which no regions are found."""
        return None if isinstance(x, list) else self.pictures.as_tensor(x)

    def with_tensor(self, x: Item, changed: Tensor) -> Item:
        return changed if isinstance(x, list) else self.pictures.with_tensor(x, changed)

    def to_model(self, x: Item, stride: int, native: bool, domain: str) -> tuple[Tensor, Any]:
        """Return the frames of an item as pictures, (frames, 3, H, W), see the media `image`.

        Raises:
            DataError: the frames differ in size.
        """
        parts, undo = zip(*(self.pictures.to_model(each, stride, native, domain) for each in _frames(x)), strict=True)
        if len({part.shape for part in parts}) > 1:
            raise DataError("the frames of a clip differ in size; expected one size, or translate them one by one")
        return torch.cat(parts), (isinstance(x, list), undo)

    def from_model(self, y: Tensor, undo: Any, domain: str) -> Item:
        several, frames = undo
        found = [self.pictures.from_model(y[i : i + 1], each, domain) for i, each in enumerate(frames)]
        return found if several else found[0]

    def write(self, x: Item, path: Path) -> None:
        """Write a frame as an image file.

        Raises:
            DiskError: it cannot be written, or there are several frames.
        """
        if isinstance(x, list):
            raise DiskError(f"{path}: {len(x)} frames are no image file; write them one by one")
        self.pictures.write(x, path)

    def preview(self, columns: Mapping[str, Column], path: Path) -> Path:
        """Write a contact sheet as PNG, and return its path: the frames of a clip one below the other."""
        rows = {
            name: Column(column.domain, [frame for clip in column.items for frame in clip.unbind(1)])
            for name, column in columns.items()
        }
        return self.pictures.preview(rows, path)


def _frames(x: Item) -> list[Frame]:
    return x if isinstance(x, list) else [x]
