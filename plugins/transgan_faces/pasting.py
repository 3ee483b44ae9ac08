"""Crop rotated squares out of a photograph, and blend changes of them back in without a visible seam."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: Half axes of the ellipse outside of which nothing changes, as fractions of the square's side; and the relative radius
#: up to which the whole change is applied.
AXES, FULL = (0.485, 0.495), 0.68


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


def paste(photograph: Tensor, squares: Sequence[Square], changes: Sequence[Tensor], match: bool = True) -> Tensor:
    """Return the photograph (C, H, W) with the changes (C, S, S) of its squares added, the first square on top.

    Each change fades out towards the edge of an ellipse. Pixels outside the ellipses, and all pixels where the change
    is 0, stay bit-identical. Where two ellipses overlap, the upper one fades into the lower one.

    Args:
        match: subtract the change of the square's corners first, which is a color shift and not a change of the face.
    """
    result = photograph.clone()
    for square, change in reversed(list(zip(squares, changes, strict=True))):
        if match:
            change = change - color_shift(change)[:, None, None]
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
    return result.clamp(-1, 1)


def blend_mask(across: Tensor, down: Tensor) -> Tensor:
    """Return the weight of a change at points of the square: 1 in the middle, 0 outside the ellipse, smooth between.

    The transition is Perlin's smootherstep 6t^5 - 15t^4 + 10t^3, whose first two derivatives vanish at both ends.
    """
    distance = torch.sqrt((across / AXES[0]) ** 2 + (down / AXES[1]) ** 2)
    t = ((1 - distance) / (1 - FULL)).clamp(0, 1)
    return t**3 * (t * (6 * t - 15) + 10)


def color_shift(change: Tensor) -> Tensor:
    """Return the median change (C,) of the square's corners, which lie outside the ellipse, per channel."""
    size = change.shape[-1]
    positions = (torch.arange(size) + 0.5) / size - 0.5
    return change[:, blend_mask(positions[None, :], positions[:, None]) == 0].median(1).values


def _pixel_range(coordinates: Sequence[float], size: int) -> tuple[int, int]:
    """Return the first pixel that the coordinates' range touches and the one after the last, within the image."""
    return max(0, math.floor(min(coordinates))), min(size, math.ceil(max(coordinates)))
