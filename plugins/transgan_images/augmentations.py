"""Augmentations of what discriminators see: those of Zhao et al. (2020), appendix, and instance noise.

In plain torch: kornia's counterparts clip colours, which stops gradients, and move pictures by interpolation.
"""

import torch
from pydantic import Field
from torch import Tensor

from transgan.api import Augmentation, Clock, Draws, Options, Schedule, Spec, UsageError, constant


class PictureAugmentation(Augmentation):
    """Base of those that need height and width.

    Raises:
        UsageError: samples are not pictures.
    """

    def __init__(self, options: Options, spec: Spec):
        super().__init__(options, spec)
        if len(spec.space) != 2:
            raise UsageError(f"works on two axes (height and width); these samples have {len(spec.space)}")


class ColourOptions(Options):
    brightness: float = Field(1.0, ge=0, le=2)
    """Width of the range from which what is added to all numbers of a picture is drawn: 1.0 means -0.5 to 0.5."""
    saturation: float = Field(1.0, ge=0, le=1)
    """How far the factor of the distances from grey may be from 1: 1.0 means 0 to 2."""
    contrast: float = Field(0.5, ge=0, le=1)
    """How far the factor of the distances from the picture's mean may be from 1: 0.5 means 0.5 to 1.5."""


class Colour(PictureAugmentation):
    """Brightness, saturation and contrast, in this order, by chance (Zhao et al., 2020). Nothing is clipped."""

    Options = ColourOptions

    def __call__(self, x: Tensor, draws: Draws, clock: Clock) -> Tensor:
        add, saturation, contrast = ((2 * draws.uniform("colour", 3) - 1).to(x))[:, :, None, None, None].unbind(1)
        x = x + 0.5 * self.options.brightness * add
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * (1 + self.options.saturation * saturation)
        mean = x.mean((1, 2, 3), keepdim=True)
        changed: Tensor = mean + (x - mean) * (1 + self.options.contrast * contrast)
        return changed


class TranslationOptions(Options):
    share: float = Field(0.125, ge=0, le=1)
    """The furthest that a picture is moved, along each axis and either way, as a share of its size."""


class Translate(PictureAugmentation):
    """Moved by whole pixels, by chance; what comes into view is 0, mid-grey (Zhao et al., 2020)."""

    Options = TranslationOptions
    moves = True

    def __call__(self, x: Tensor, draws: Draws, clock: Clock) -> Tensor:
        chance = draws.uniform("at", 2)
        for axis in (2, 3):
            size = x.shape[axis]
            furthest = int(size * self.options.share + 0.5)
            by = (chance[:, axis - 2] * (2 * furthest + 1)).long() - furthest
            at = torch.arange(size, device=x.device) - by.to(x.device)[:, None]  # (N, size): where each line comes from
            shape = [len(x), 1, 1, 1]
            shape[axis] = size
            inside = ((at >= 0) & (at < size)).view(shape)
            x = x.gather(axis, at.clamp(0, size - 1).view(shape).expand_as(x)) * inside
        return x


class CutoutOptions(Options):
    share: float = Field(0.5, gt=0, le=1)
    """Side of the square that is blanked, as a share of the picture's."""


class Cutout(PictureAugmentation):
    """A square, anywhere and partly outside, is blanked to 0, mid-grey (DeVries & Taylor, 2017; Zhao et al., 2020)."""

    Options = CutoutOptions
    moves = True

    def __call__(self, x: Tensor, draws: Draws, clock: Clock) -> Tensor:
        chance = draws.uniform("at", 2).to(x.device)
        within = []
        for axis in (2, 3):
            size = x.shape[axis]
            side = int(size * self.options.share + 0.5)
            first = (chance[:, axis - 2] * (size + 1 - side % 2)).long()[:, None] - side // 2
            at = torch.arange(size, device=x.device)
            within.append((at >= first) & (at < first + side))  # (N, size)
        blank = within[0][:, None, :, None] & within[1][:, None, None, :]
        return x.masked_fill(blank, 0.0)


class NoiseOptions(Options):
    scale: Schedule = constant(0.1)
    """Standard deviation of the noise, where samples go from -1 to 1; a number or a schedule."""


class Noise(Augmentation):
    """Instance noise (Soenderby et al., 2017): normal noise on all that the discriminator sees, usually fading away."""

    Options = NoiseOptions

    def __call__(self, x: Tensor, draws: Draws, clock: Clock) -> Tensor:
        scale = self.options.scale.at_clock(clock)
        return x + scale * draws.normal("noise", *x.shape[1:]).to(x) if scale else x
