"""Crop rotated squares out of a photograph, and blend changes of them back in without a visible seam."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: Half axes of the ellipse outside of which nothing changes, as fractions of the square's side; and the relative radius
#: up to which the whole change is applied.
AXES, FULL = (0.485, 0.495), 0.68
#: Half axes of an ellipse around the middle that is skin, between eyes and mouth, as fractions of the side of a crop
#: without a margin.
SKIN = (0.2, 0.1)
#: A color cast is estimated on a grid of this many cells on a side, from at least MIN_CELLS of them.
CELLS, MIN_CELLS = 32, 16
#: A change is common if a share of at least MODE_SHARE of the cells is within MODE_RADIUS of it, 5 levels of 8 bits.
MODE_SHARE, MODE_RADIUS = 0.2, 5 / 127.5
#: Largest cast, and its largest difference from the change of the skin: 40 and 16 levels of 8 bits.
MAX_CAST, SKIN_TOLERANCE = 40 / 127.5, 16 / 127.5
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
    """Return the square of a photograph (C, H, W), rotated upright, at the photograph's resolution: (C, S, S).

    Beyond the photograph's edge the edge pixels are repeated. S is the square's side, at least 8.
    """
    height, width = photograph.shape[-2:]
    size = max(8, round(square.side))
    positions = (torch.arange(size, dtype=torch.float32) + 0.5) / size - 0.5
    x, y = square.to_image(positions[None, :], positions[:, None])
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], -1)
    sampled = F.grid_sample(photograph[None], grid[None], "bicubic", padding_mode="border", align_corners=False)
    return sampled[0].clamp(-1, 1)


def paste(
    photograph: Tensor,
    squares: Sequence[Square],
    changes: Sequence[Tensor],
    match: bool = True,
    margin: float = 0.0,
    steady: Callable[[int, Tensor], Tensor] = lambda number, cast: cast,
) -> Tensor:
    """Return the photograph (C, H, W) with the changes (C, S, S) of its squares added, the first square on top.

    Each change fades out towards the edge of an ellipse. Pixels outside the ellipses, and all pixels where the change
    is 0, stay bit-identical. Where two ellipses overlap, the upper one fades into the lower one.

    Args:
        match: keep the photograph's colors: subtract the model's `color_shift`, and change a grey photograph in grey.
        margin: see `FacesOptions.margin`.
        steady: returns, of the number of a square and its `color_shift`, what to subtract instead.
    """
    result = photograph.clone()
    grey = match and _is_grey(photograph)
    for number, (square, change) in reversed(list(enumerate(zip(squares, changes, strict=True)))):
        if match:
            others = [other for other in squares if other is not square]
            cast = steady(number, color_shift(photograph, square, change, others, margin))
            change = change - cast[:, None, None]
        if grey:
            change = change.mean(0, keepdim=True).expand_as(change)
        xs, ys = zip(*square.corners(), strict=True)
        top, bottom = _pixel_range(ys, photograph.shape[-2])
        left, right = _pixel_range(xs, photograph.shape[-1])
        if top >= bottom or left >= right:
            continue
        x, y = torch.arange(left, right) + 0.5, torch.arange(top, bottom) + 0.5
        across, down = square.from_image(x[None, :], y[:, None])
        resampled = F.grid_sample(change[None], 2 * torch.stack([across, down], -1)[None], align_corners=False)[0]
        area = (slice(None), slice(top, bottom), slice(left, right))
        result[area] += blend_mask(across, down) * (photograph[area] + resampled - result[area])
    return result.clamp_(-1, 1)


def blend_mask(across: Tensor, down: Tensor) -> Tensor:
    """Return the weight of a change at points of the square: 1 in the middle, 0 outside the ellipse, smooth between.

    The transition is Perlin's smootherstep 6t^5 - 15t^4 + 10t^3, whose first two derivatives vanish at both ends.
    """
    distance = torch.sqrt((across / AXES[0]) ** 2 + (down / AXES[1]) ** 2)
    t = ((1 - distance) / (1 - FULL)).clamp(0, 1)
    return t**3 * (t * (6 * t - 15) + 10)


def color_shift(photograph: Tensor, square: Square, change: Tensor, others: Sequence[Square], margin: float) -> Tensor:
    """Return the color cast (C,) of a model: what it adds to everything in a crop, to the face as to its surroundings.

    Outside of the ellipse hair may turn grey and clothes may change, which is no cast. So the cast is the smallest
    change that a fifth of these surroundings has in common. The skin between eyes and mouth has to agree: where it
    changed otherwise, no more is removed in a channel than the skin itself changed in the same direction, so that the
    skin's color stays between that of the photograph and that of the model. A change of more than MAX_CAST is no cast.

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
    around = inside & (blend_mask(right, down) == 0)
    for other in others:
        around &= blend_mask(*other.from_image(x, y)) == 0
    scale = 1 / (1 + 2 * margin)
    skin = inside & ((right / SKIN[0]) ** 2 + (down / SKIN[1]) ** 2 < scale**2)
    # Where the output is black or white, the model may have wanted to change more.
    output = F.adaptive_avg_pool2d((crop(photograph, square) + change).abs(), cells)
    pooled, usable = F.adaptive_avg_pool2d(change, cells), (output < SATURATED).all(0)
    around_changes, skin_changes = pooled[:, around & usable].T, pooled[:, skin & usable]
    cast = _smallest_mode(around_changes)
    if cast is None or not skin_changes.numel() or cast.abs().max() > MAX_CAST:
        return torch.zeros(len(change))
    median = skin_changes.median(1).values
    if (cast - median).abs().max() <= SKIN_TOLERANCE:
        return cast
    return torch.where(cast * median > 0, cast.sign() * torch.minimum(cast.abs(), median.abs()), 0.0)


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
    return bool((photograph.amax(0) - photograph.amin(0)).max() <= GREY_TOLERANCE)


def _pixel_range(coordinates: Sequence[float], size: int) -> tuple[int, int]:
    """Return the first pixel that the coordinates' range touches and the one after the last, within the image."""
    return max(0, math.floor(min(coordinates))), min(size, math.ceil(max(coordinates)))
