"""The media `label_map` and `instance_boundaries`: files whose pixels are numbers of classes and of instances."""

from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from PIL import ImageColor
from pydantic import Field, field_validator, model_validator
from torch import Tensor
from torch.nn import functional as F

from transgan.api import DataError, Media, SampleRng, Size
from transgan_images.media import ImageMedia, ImageOptions, resized_pixels, to_bytes
from transgan_images.pictures import Picture

#: What a pixel of no class is, once a map is decoded; hence the largest number of classes.
NO_CLASS = 255


class NumberOptions(ImageOptions):
    """Options of media whose pixels are numbers without brightness."""

    channels: Literal[1] = 1
    """Channels of the files: numbers are in one."""
    labels: Literal[True] = True
    """Numbers are never mixed: in other sizes and turned they are those of the nearest pixel."""


class LabelMapOptions(NumberOptions):
    """Options of the media `label_map`."""

    classes: int | None = Field(None, ge=2, le=NO_CLASS)
    """Number of classes, which are the numbers of pixels from 0 on (2 to 255): 35 in Cityscapes' `labelIds`."""
    palette: list[str] = []
    """Instead of `classes`, for files in colours: the colour of each class, `"#804080"` or a name, in order."""
    tolerance: int = Field(0, ge=0, le=127)
    """By how much each channel of a pixel may differ from the colour of its class, 0 to 127: more than 0 for JPEG."""
    unlabelled: list[int] = []
    """Numbers of pixels that belong to no class; all planes are 0 there. Other numbers than these and those of classes
    are an error."""

    @field_validator("palette")
    @classmethod
    def _colours(cls, value: list[str]) -> list[str]:
        for each in value:
            ImageColor.getrgb(each)
        return value

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.classes is None) == (not self.palette):
            raise ValueError('expected either classes = 35, or palette = ["#000000", "#804080"], the classes\' colours')
        if self.palette and not 2 <= len(self.palette) <= NO_CLASS:
            raise ValueError(f"palette has {len(self.palette)} colours; expected 2 to {NO_CLASS}")
        return self


class _NumberMedia(ImageMedia):
    """Base class: an item is a `Picture` of numbers (H, W, 1), and `_planes` says what networks see of them."""

    def _numbers_of(self, item: Any) -> Picture:
        """Return an item's numbers, (H, W, 1) uint8 or uint16."""
        return item if isinstance(item, Picture) else super().read(item)

    def _planes(self, numbers: Tensor) -> Tensor:
        """Return what networks see, (N, channels, H, W), of numbers (N, 1, H, W)."""
        raise NotImplementedError

    def _drawn(self, location: Any) -> np.ndarray:
        """Return the numbers (H, W, 1) that a function returns, or the gray levels of an image in which all are equal.

        Raises:
            DataError: it returns something else.
        """
        array = np.asarray(location(max(self.decoded_sides)))
        array = array[..., None] if array.ndim == 2 else array
        if array.ndim != 3 or array.dtype.kind not in "ui" or (array != array[..., :1]).any():
            raise DataError(f"{location} returns {array.dtype}, {array.shape}; expected whole numbers, (H, W)")
        return array[..., :1]

    def read(self, item: Any) -> Any:
        """Return the numbers of an item, of the types that `image` reads; of a tensor in floating point, planes
        (channels, H, W), it is these.

        Raises:
            DataError: it cannot be read, or has numbers that it must not have.
        """
        if isinstance(item, Tensor) and item.is_floating_point():
            return super().read(item)
        return self._numbers_of(item)

    def _array(self, x: Picture | Tensor, like: np.ndarray) -> np.ndarray:
        """Return the numbers of an item, of whatever type `like` is."""
        array = (self._picture(x) if isinstance(x, Tensor) else x).pixels
        return array[..., 0] if like.ndim == 2 and array.shape[2] == 1 else array

    def _picture(self, planes: Tensor) -> Picture:
        return Picture(to_bytes(planes))

    def batch(self, decoded: Tensor | Sequence[Tensor], rng: SampleRng | None, domains: Sequence[str]) -> Tensor:
        """Return decoded numbers, augmented as `image` does, as planes (N, channels, *data.size)."""
        return self._planes(super().batch(decoded, rng, domains))

    def as_tensor(self, x: Picture | Tensor) -> Tensor:
        """Return an item as planes (channels, H, W)."""
        if isinstance(x, Tensor):
            return x
        return self._planes(super().as_tensor(x)[None])[0]

    def _resized_picture(self, x: Picture, size: tuple[int, ...]) -> Tensor:
        return self.as_tensor(Picture(resized_pixels(x.pixels, size[0], size[1], labels=True)))[None]


class LabelMapMedia(_NumberMedia, Media[LabelMapOptions]):
    """Files whose pixels are numbers, or colours, of classes. A batch is one-hot: (N, classes, H, W), 1 where a pixel
    is of the class, else 0.

    Pixels are never mixed. As the target of a translation a map is written with the number, or the colour, of the
    largest plane of each pixel.
    """

    Options = LabelMapOptions
    options: LabelMapOptions

    def __init__(self, options: LabelMapOptions, size: Size):
        super().__init__(options, size)
        self.channels = options.classes or len(options.palette)
        self.colours = np.array([ImageColor.getrgb(each)[:3] for each in options.palette], np.int16)

    def decode(self, location: Any) -> np.ndarray:
        """Return the class of each pixel, (H, W, 1) uint8, 255 for none.

        Raises:
            DataError: the file cannot be read, or has a number or a colour of no class.
        """
        if callable(location):
            return self._fitted(self._checked(self._drawn(location), str(location)))
        return self._fitted(self.read(location).pixels)

    def _numbers_of(self, item: Any) -> Picture:
        if isinstance(item, Picture):
            return item
        if not len(self.colours):
            picture = super()._numbers_of(item)
            return Picture(self._checked(picture.pixels, picture.name), picture.original)
        options = ImageOptions(channels=3, max_pixels=self.options.max_pixels, ground=self.options.ground)
        picture = ImageMedia(options, self.size).read(item)
        distances = np.full(picture.pixels.shape[:2], 256, np.int16)
        found = np.full(picture.pixels.shape[:2], NO_CLASS, np.uint8)
        for number, colour in enumerate(self.colours):  # one at a time, for little memory
            distance = np.abs(picture.pixels.astype(np.int16) - colour).max(-1)
            found[distance < distances] = number
            distances = np.minimum(distances, distance)
        if (distances > self.options.tolerance).any():
            row, column = np.argwhere(distances > self.options.tolerance)[0]
            colour = "#" + "".join(f"{level:02x}" for level in picture.pixels[row, column])
            raise DataError(
                f"{picture.name}: the pixel in row {row}, column {column} is {colour}, which is no colour of "
                f"media.palette, nor within tolerance = {self.options.tolerance} of one"
            )
        return Picture(found[..., None], picture.original)

    def _checked(self, numbers: np.ndarray, name: str) -> np.ndarray:
        """Return numbers as classes, uint8, 255 for none; DataError for those of no class."""
        none = np.isin(numbers, self.options.unlabelled)
        wrong = ~none & (numbers >= self.channels)
        if wrong.any():
            found = ", ".join(map(str, np.unique(numbers[wrong])[:5]))
            raise DataError(
                f"{name}: pixels are {found}, and classes are 0 to {self.channels - 1}; raise media.classes, or say "
                "in media.unlabelled that they belong to no class"
            )
        classes: np.ndarray = np.where(none, NO_CLASS, numbers).astype(np.uint8)
        return classes

    def _planes(self, numbers: Tensor) -> Tensor:
        classes = ((numbers + 1) * (NO_CLASS / 2)).round()
        return (classes == torch.arange(self.channels, device=numbers.device)[:, None, None]).float()

    def with_tensor(self, x: Picture | Tensor, changed: Tensor) -> Picture | Tensor:
        """Return planes (classes, H, W) as a map of the largest one."""
        return changed if isinstance(x, Tensor) else self._picture(changed)

    def from_model(self, y: Tensor, undo: Any, domain: str) -> Picture | Tensor:
        """Return a generator's output (1, classes, H, W) as a map of the original size; `undo` is `to_model`'s."""
        x, size, resized = undo
        y = F.interpolate(y[..., : resized[0], : resized[1]], size, mode="nearest-exact")[0].cpu()
        return y if isinstance(x, Tensor) else self._picture(y)

    def _picture(self, planes: Tensor) -> Picture:
        classes = planes.argmax(0).cpu().numpy().astype(np.uint8)
        return Picture(self.colours[classes].astype(np.uint8) if len(self.colours) else classes[..., None])


class BoundaryMedia(_NumberMedia, Media[NumberOptions]):
    """Files whose pixels are numbers of instances, seen as a map of their boundaries, (N, 1, H, W).

    It is 1 where the number differs from that of any of the four neighbours, else 0 (Wang et al., 2018, section 3.3).
    Numbers are of 8 or 16 bits, as in Cityscapes' `instanceIds`. It is for inputs, and writes no files of its own form.
    """

    Options = NumberOptions

    def __init__(self, options: NumberOptions, size: Size):
        super().__init__(options, size)
        self.channels = 1

    def decode(self, location: Any) -> np.ndarray:
        """Return the number of each pixel's instance, (H, W, 1) uint16.

        Raises:
            DataError: the file cannot be read, or has other numbers than 0 to 65535.
        """
        numbers = self._drawn(location) if callable(location) else self.read(location).pixels
        if numbers.max() > 65535:
            raise DataError(f"{location}: the number {numbers.max()}; expected 0 to 65535")
        return self._fitted(numbers.astype(np.uint16))

    def _planes(self, numbers: Tensor) -> Tensor:
        return boundaries(numbers)


def boundaries(numbers: Tensor) -> Tensor:
    """Return 1 where a number differs from that of any of its four neighbours, else 0.

    Args:
        numbers: (N, 1, H, W), of instances.
    """
    found = torch.zeros_like(numbers, dtype=torch.bool)
    across = numbers[..., 1:] != numbers[..., :-1]
    found[..., 1:] |= across
    found[..., :-1] |= across
    down = numbers[..., 1:, :] != numbers[..., :-1, :]
    found[..., 1:, :] |= down
    found[..., :-1, :] |= down
    return found.float()
