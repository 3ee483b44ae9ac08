"""Crop rotated squares out of a photograph, and blend changes of them back in without a visible seam."""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: Half axes of the ellipse outside of which nothing changes, as fractions of the square's side; and the relative radius
#: up to which the whole change is applied.
AXES, FULL = (0.485, 0.495), 0.68
#: What is skin in a crop without a margin, free of hair, brows, beard and lips: the two cheeks, and the bridge of the
#: nose up to between the brows. Ellipses: center and half axes, as fractions of the side from the crop's center.
SKIN = (((-0.19, -0.01), (0.08, 0.08)), ((0.19, -0.01), (0.08, 0.08)), ((0.0, -0.15), (0.045, 0.12)))
#: A color cast is estimated on a grid of this many cells on a side, from at least MIN_CELLS of them.
CELLS, MIN_CELLS = 32, 16
#: A change is common if a share of at least MODE_SHARE of the cells is within MODE_RADIUS of it, 5 levels of 8 bits.
MODE_SHARE, MODE_RADIUS = 0.2, 5 / 127.5
#: Largest cast, and the differences up to which two changes are the same, and nearly so: 40, 6 and 16 levels of 8 bits.
MAX_CAST, SAME, NEAR = 40 / 127.5, 6 / 127.5, 16 / 127.5
#: Span of lightness, from the 10th to the 90th percentile, from which on surroundings are not of one material such as
#: hair: 40 levels of 8 bits.
MATERIALS = 40 / 127.5
#: Absolute values from which on a pixel is as black or white as it can be.
SATURATED = 0.98
#: Largest difference between the channels of a grey photograph: 2 levels of 8 bits.
GREY_TOLERANCE = 2.01 / 127.5


@dataclass(frozen=True)
class Square:
    """A rotated square in an image, in pixels. Pixel (0, 0) spans 0 to 1 on both axes."""

    x: float
    """Horizontal coordinate of the center."""
    y: float
    """Vertical coordinate of the center, downwards."""
    side: float
    angle: float = 0.0
    """Radians from the image's horizontal axis to the square's own; positive is clockwise as displayed."""

    def to_image(self, right: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
        """Return the image coordinates (x, y) of points given in the square's own, which run from -0.5 to 0.5."""
        cos, sin = math.cos(self.angle) * self.side, math.sin(self.angle) * self.side
        return self.x + cos * right - sin * down, self.y + sin * right + cos * down

    def from_image(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the square's own coordinates (right, down) of image points: the inverse of `to_image`."""
        cos, sin = math.cos(self.angle) / self.side, math.sin(self.angle) / self.side
        x, y = x - self.x, y - self.y
        return cos * x + sin * y, -sin * x + cos * y

    def corners(self) -> list[tuple[float, float]]:
        """Return the corners in image coordinates, clockwise from the square's own top left."""
        ends = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], dtype=torch.float64)
        return [(float(x), float(y)) for x, y in zip(*self.to_image(ends[:, 0], ends[:, 1]), strict=True)]


def crop(photograph: Tensor, square: Square) -> Tensor:
    """Return the square of a photograph, rotated upright, at the photograph's resolution: (C, S, S) in [-1, 1].

    Beyond its edge the photograph is continued by reflection. S is the square's side, at least 8.

    Args:
        photograph: (C, H, W), in [-1, 1] or of levels, uint8. Memory is taken for the square alone.
    """
    size = max(8, round(square.side))
    positions = (torch.arange(size, dtype=torch.float32) + 0.5) / size - 0.5
    height, width = photograph.shape[-2:]
    x, y = square.to_image(positions[None, :], positions[:, None])
    x, y = _reflect(x, width), _reflect(y, height)
    rows, columns = _needed(y, height), _needed(x, width)
    area = _unit(photograph[:, rows, columns])
    x, y = (x - columns.start) / area.shape[2], (y - rows.start) / area.shape[1]
    grid = 2 * torch.stack([x, y], -1) - 1
    sampled = F.grid_sample(area[None], grid[None], "bicubic", padding_mode="border", align_corners=False)
    return sampled[0].clamp_(-1, 1)


def _reflect(x: Tensor, length: int) -> Tensor:
    """Return coordinates reflected at both ends, 0 and the length, into what lies between."""
    return torch.where((x >= 0) & (x <= length), x, length - (length - x.remainder(2 * length)).abs())


def _needed(x: Tensor, length: int) -> slice:
    """Return the pixels of an axis that bicubic interpolation at coordinates takes."""
    return slice(max(0, math.floor(float(x.min())) - 3), min(length, math.ceil(float(x.max())) + 3))


def _unit(x: Tensor) -> Tensor:
    """Return an image in [-1, 1] as it is, and one of levels, uint8, in [-1, 1]."""
    return x if x.is_floating_point() else x.float().div_(127.5).sub_(1)


def _like(x: Tensor, image: Tensor) -> Tensor:
    """Return values as those of an image: clipped to [-1, 1], or rounded to levels."""
    x = x.clamp(-1, 1)
    return x if image.is_floating_point() else x.add_(1).mul_(127.5).round_().to(image.dtype)


def paste(
    photograph: Tensor,
    squares: Sequence[Square],
    changes: Sequence[Tensor],
    match: bool = True,
    margin: float = 0.0,
    steady: Callable[[int, Tensor], Tensor] = lambda number, cast: cast,
) -> Tensor:
    """Return the photograph with the changes (C, S, S) of its squares added, the first square on top.

    Each change fades out towards the edge of an ellipse. Pixels outside the ellipses, and all pixels where the change
    is 0, stay bit-identical. Where two ellipses overlap, the upper one fades into the lower one.

    Args:
        photograph: (C, H, W), in [-1, 1] or of levels, uint8, as the result. Beside the result, memory is taken for
            one square at a time.
        match: keep the photograph's colors: subtract the model's `color_shift`, and change a grey photograph in grey.
        margin: see `FacesOptions.margin`.
        steady: returns, of the number of a square and its `color_shift`, what to subtract instead.
    """
    result = photograph.clone()
    grey = match and _is_grey(photograph)
    for number, (square, change) in reversed(list(enumerate(zip(squares, changes, strict=True)))):
        xs, ys = zip(*square.corners(), strict=True)
        top, bottom = _pixel_range(ys, photograph.shape[-2])
        left, right = _pixel_range(xs, photograph.shape[-1])
        if top >= bottom or left >= right:
            continue
        if match:
            others = [other for other in squares if other is not square]
            cast = steady(number, color_shift(photograph, square, change, others, margin))
            change = change - cast[:, None, None]
        if grey:
            change = change.mean(0, keepdim=True).expand_as(change)
        x, y = torch.arange(left, right) + 0.5, torch.arange(top, bottom) + 0.5
        across, down = square.from_image(x[None, :], y[:, None])
        resampled = F.grid_sample(change[None], 2 * torch.stack([across, down], -1)[None], align_corners=False)[0]
        area = (slice(None), slice(top, bottom), slice(left, right))
        below = _unit(result[area])
        weight = blend_mask(across, down)
        result[area] = _like(below + weight * (_unit(photograph[area]) + resampled - below), result)
    return result


def blend_mask(across: Tensor, down: Tensor) -> Tensor:
    """Return the weight of a change at points of the square: 1 in the middle, 0 outside the ellipse, smooth between.

    The transition is Perlin's smootherstep 6t^5 - 15t^4 + 10t^3, whose first two derivatives vanish at both ends.
    """
    distance = torch.sqrt((across / AXES[0]) ** 2 + (down / AXES[1]) ** 2)
    t = ((1 - distance) / (1 - FULL)).clamp(0, 1)
    return t**3 * (t * (6 * t - 15) + 10)


def color_shift(photograph: Tensor, square: Square, change: Tensor, others: Sequence[Square], margin: float) -> Tensor:
    """Return the color cast (C,) of a model: what it adds to the skin as to everything else.

    Skin decides: in no channel more is returned than what the skin itself changed, in the same direction. So nothing
    that happens to hair or clothes tints a face. A change of the skin alone, such as complexion, is no cast: the
    surroundings outside the ellipse have to share it. Hair may turn grey and clothes may change, so what counts there
    is the smallest change that a fifth of them has in common; and where that is not the skin's own change too, it has
    to be found in light and in dark things, since hair all around, which changes with the complexion, is no evidence.
    Where it is found so and the skin changed nearly alike, as aging dulls it a little, it is the cast as a whole. More
    than MAX_CAST is no cast.

    Args:
        photograph: (C, H, W).
        change: (C, S, S) of the square.
        others: the squares of other faces, which are no surroundings.
        margin: see `FacesOptions.margin`.
    """
    cells = min(CELLS, change.shape[-1])
    positions = (torch.arange(cells) + 0.5) / cells - 0.5
    right, down = positions[None, :], positions[:, None]
    x, y = square.to_image(right, down)
    inside = (x >= 0) & (x <= photograph.shape[-1]) & (y >= 0) & (y <= photograph.shape[-2])
    for other in others:
        inside &= blend_mask(*other.from_image(x, y)) == 0
    around = inside & (blend_mask(right, down) == 0)
    skin = inside & skin_mask(right * (1 + 2 * margin), down * (1 + 2 * margin))
    sample = crop(photograph, square)
    # Where the output is black or white, the model may have wanted to change more.
    usable = (F.adaptive_avg_pool2d((sample + change).abs(), cells) < SATURATED).all(0)
    pooled, lightness = F.adaptive_avg_pool2d(change, cells), F.adaptive_avg_pool2d(sample, cells).mean(0)
    around, skin = around & usable, skin & usable
    none, shared = torch.zeros(len(change)), _smallest_mode(pooled[:, around].T)
    if shared is None or not skin.any() or shared.abs().max() > MAX_CAST:
        return none
    own = pooled[:, skin].median(1).values
    difference = (shared - own).abs().max()
    if difference > SAME:
        having = lightness[around][(pooled[:, around].T - shared).abs().amax(1) <= MODE_RADIUS]
        low, high = having.quantile(torch.tensor([0.1, 0.9]))
        if high - low < MATERIALS:
            return none
        if difference <= NEAR:
            return shared
    return torch.where(shared * own > 0, own.sign() * torch.minimum(shared.abs(), own.abs()), none)


def skin_mask(right: Tensor, down: Tensor) -> Tensor:
    """Return which points of a crop without a margin are skin; coordinates run from -0.5 to 0.5."""
    ellipses = [((right - x) / a) ** 2 + ((down - y) / b) ** 2 < 1 for (x, y), (a, b) in SKIN]
    return functools.reduce(torch.logical_or, ellipses)


def _smallest_mode(values: Tensor) -> Tensor | None:
    """Return of the values (N, C) that occur most the one closest to 0: (C,), or None where none is common."""
    if len(values) < MIN_CELLS:
        return None
    distances = torch.cdist(values, values, p=math.inf)
    near = distances <= MODE_RADIUS
    shares = near.float().mean(1)
    highest = torch.where(distances <= 2 * MODE_RADIUS, shares[None], 0.0).amax(1)
    common = torch.nonzero((shares >= MODE_SHARE) & (shares == highest))[:, 0]
    if not len(common):
        return None
    modes = torch.stack([values[near[i]].median(0).values for i in common])
    return modes[modes.abs().amax(1).argmin()]


def _is_grey(photograph: Tensor) -> bool:
    """Return whether all channels of a photograph (C, H, W) are the same."""
    for rows in torch.split(photograph, 256, 1):  # little memory, and soon done where it has colors
        if _unit(rows.amax(0)).sub(_unit(rows.amin(0))).max() > GREY_TOLERANCE:
            return False
    return True


def _pixel_range(coordinates: Sequence[float], size: int) -> tuple[int, int]:
    """Return the first pixel that the coordinates' range touches and the one after the last, within the image."""
    return max(0, math.floor(min(coordinates))), min(size, math.ceil(max(coordinates)))
