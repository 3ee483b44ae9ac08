"""Reading the factors of synthetic shapes back from pictures: hue, saturation, and where the shape is."""

from dataclasses import dataclass

import torch
from torch import Tensor

from transgan.api import UsageError
from transgan_images.shapes import BRIGHT, DARK

#: Shares of coverage below this are taken for noise.
NOISE = 0.1
#: A shape of less saturation than this, or one that covers less than this of the picture, has no hue.
LEAST_SATURATION, LEAST_AREA = 0.2, 0.002


@dataclass(frozen=True)
class Factors:
    """Factors of N pictures."""

    hue: Tensor
    """(N,) from 0 to 1: 0 red, 1/3 green, 2/3 blue; nan where there is no shape, or a grey one."""
    saturation: Tensor
    """(N,) from 0 (grey) to 1 (as saturated as the source's colours), or a little above."""
    mask: Tensor
    """(N, H, W) from 0 to 1: which share of each pixel the shape covers."""
    area: Tensor
    """(N,) share of the picture that it covers, from 0 to 1."""
    centroid: Tensor
    """(N, 2) its centre of mass, to the right and down, from -1 to 1; nan where there is no shape."""


def read_factors(x: Tensor) -> Factors:
    """Return the factors of pictures, (N, 3, H, W) in [-1, 1].

    The model is that of the source `synthetic_shapes`: background (1 - mask) + colour mask, with a background that is a
    linear gradient of grey, and a colour whose smallest channel is DARK. The gradient is fitted to the pixels along the
    border; the smallest channel of each pixel then gives the mask; the mean colour, weighted by the mask, gives hue and
    saturation, so that more saturated pixels count more.

    Of the source's own pictures with 32 pixels or more along each side the hue is read to within 0.001, the saturation
    to within 0.005, the area to within 5% of itself, and the centroid to within 0.01. Of translations the factors are
    as exact as this model is for them.

    Raises:
        UsageError: the pictures have other than 3 channels.
    """
    if x.shape[1] != 3:
        raise UsageError(
            f"hues are read from pictures of 3 channels, and these have {x.shape[1]}; leave the metric out"
        )
    x = (x.detach().float() + 1) / 2
    height, width = x.shape[2:]
    across = ((torch.arange(width) + 0.5) * (2 / width) - 1).to(x)
    down = ((torch.arange(height) + 0.5) * (2 / height) - 1).to(x)[:, None]
    darkest = x.amin(1)
    background = _plane_through_border(darkest, across, down)
    mask = ((background - darkest) / (background - DARK).clamp(min=0.1)).clamp(0, 1)
    mask = torch.where(mask < NOISE, 0, mask)
    area = mask.mean((1, 2))
    centroid = torch.stack([(mask * at).mean((1, 2)) / area for at in (across, down)], 1)
    colour = ((x - ((1 - mask) * background)[:, None]) * mask[:, None]).sum((2, 3)) / mask.square().sum((1, 2))[:, None]
    largest, smallest = colour.amax(1), colour.amin(1)
    saturation = ((largest - smallest) / (BRIGHT - DARK)).nan_to_num(0)
    there = (area >= LEAST_AREA) & (saturation >= LEAST_SATURATION)
    hue = torch.where(there, _hue(colour), torch.nan)
    return Factors(hue, saturation, mask, area, centroid)


def _plane_through_border(x: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Return (N, H, W) that depends linearly on the place, and fits the border of x (N, H, W) by least squares."""
    height, width = x.shape[1:]
    border = torch.ones(height, width, dtype=torch.bool, device=x.device)
    border[1:-1, 1:-1] = False
    places = torch.stack([torch.ones_like(x[0]), across.expand(height, width), down.expand(height, width)], -1)
    inverse = torch.linalg.pinv(places[border].cpu()).to(x)
    plane: Tensor = inverse @ x[:, border].T
    return (places @ plane).permute(2, 0, 1)


def _hue(colour: Tensor) -> Tensor:
    """Return the hue of colours (N, 3), from 0 to 1 (Smith, 1978); nan for grey."""
    red, green, blue = colour.unbind(1)
    spread = colour.amax(1) - colour.amin(1)
    which = colour.argmax(1)
    sixths = torch.stack([(green - blue) / spread, 2 + (blue - red) / spread, 4 + (red - green) / spread], 1)
    return sixths.gather(1, which[:, None])[:, 0].div(6).remainder(1)


def circular_distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the distance of hues on the circle, from 0 to 0.5; nan where one of them is."""
    gap = (a - b).abs().remainder(1)
    return torch.minimum(gap, 1 - gap)
