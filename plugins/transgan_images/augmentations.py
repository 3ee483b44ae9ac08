"""Augmentations of discriminator inputs: those of DiffAugment (Zhao et al., 2020, appendix), and instance noise.

Written in plain torch: kornia's counterparts clip colours, which stops gradients, and translate by interpolation.
"""

import torch
from pydantic import Field
from torch import Tensor

from transgan.api import Augmentation, Clock, NetworkSpec, Options, SampleRng, Schedule, UsageError, constant
from transgan.options import OptionsT


class ImageAugmentation(Augmentation[OptionsT]):
    """Base class of augmentations that need height and width.

    `(x, rng, clock) -> y`: x and y (N, C, H, W), every sample with random numbers of its own.

    Raises:
        UsageError: samples are not images.
    """

    def __init__(self, options: OptionsT, spec: NetworkSpec):
        super().__init__(options, spec)
        if len(spec.space) != 2:
            raise UsageError(f"takes samples with two axes (height and width), and these have {len(spec.space)}")


class ColourOptions(Options):
    brightness: float = Field(1.0, ge=0, le=2)
    """Width of the range of the offset that is added to all values of an image: 1.0 means -0.5 to 0.5."""
    saturation: float = Field(1.0, ge=0, le=1)
    """Largest deviation from 1 of the factor that scales each pixel's distance from grey: 1.0 means 0 to 2."""
    contrast: float = Field(0.5, ge=0, le=1)
    """Largest deviation from 1 of the factor that scales the distance from the image's mean: 0.5 means 0.5 to 1.5."""


class Colour(ImageAugmentation[ColourOptions]):
    """Random brightness, saturation and contrast, in this order (Zhao et al., 2020). Values are not clipped.

    Offset and factors are uniform in the ranges that the options set.
    """

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        offset, saturation, contrast = ((2 * rng.uniform("colour", 3) - 1).to(x))[:, :, None, None, None].unbind(1)
        x = x + 0.5 * self.options.brightness * offset
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * (1 + self.options.saturation * saturation)
        mean = x.mean((1, 2, 3), keepdim=True)
        changed: Tensor = mean + (x - mean) * (1 + self.options.contrast * contrast)
        return changed


class TranslationOptions(Options):
    share: float = Field(0.125, ge=0, le=1)
    """Largest shift along each axis, in either direction, as a share of the image's size."""


class Translate(ImageAugmentation[TranslationOptions]):
    """Random shift by whole pixels, uniform along each axis (Zhao et al., 2020). The exposed border is 0, mid-grey."""

    geometric = True

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        u = rng.uniform("at", 2)
        for axis in (2, 3):
            size = x.shape[axis]
            max_shift = int(size * self.options.share + 0.5)
            shift = (u[:, axis - 2] * (2 * max_shift + 1)).long() - max_shift
            index = torch.arange(size, device=x.device) - shift.to(x.device)[:, None]  # (N, size): the line copied from
            shape = [len(x), 1, 1, 1]
            shape[axis] = size
            inside = ((index >= 0) & (index < size)).view(shape)
            x = x.gather(axis, index.clamp(0, size - 1).view(shape).expand_as(x)) * inside
        return x


class CutoutOptions(Options):
    share: float = Field(0.5, gt=0, le=1)
    """Side of the square, as a share of the image's side."""


class Cutout(ImageAugmentation[CutoutOptions]):
    """Sets a square at a random position to 0, mid-grey (DeVries & Taylor, 2017; Zhao et al., 2020).

    The square may extend beyond the border. In an image that is not square it is a rectangle of the same proportions.
    """

    geometric = True

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        u = rng.uniform("at", 2).to(x.device)
        covered = []
        for axis in (2, 3):
            size = x.shape[axis]
            side = int(size * self.options.share + 0.5)
            start = (u[:, axis - 2] * (size + 1 - side % 2)).long()[:, None] - side // 2
            index = torch.arange(size, device=x.device)
            covered.append((index >= start) & (index < start + side))  # (N, size)
        mask = covered[0][:, None, :, None] & covered[1][:, None, None, :]
        return x.masked_fill(mask, 0.0)


class NoiseOptions(Options):
    scale: Schedule = constant(0.1)
    """Standard deviation of the noise, for samples in [-1, 1]; a number or a schedule, which usually ends at 0."""


class Noise(Augmentation[NoiseOptions]):
    """Instance noise (Soenderby et al., 2017): Gaussian noise added to real and fake discriminator inputs.

    `(x, rng, clock) -> y`: x and y (N, C, *space), of any number of axes.
    """

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        scale = self.options.scale.at_clock(clock)
        return x + scale * rng.normal("noise", *x.shape[1:]).to(x) if scale else x
