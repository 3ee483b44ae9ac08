"""Squares of a photograph, turned as a face is: cut out, and changes of them put back so that nobody sees where."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

#: Half axes of the ellipse outside of which nothing changes, and the share of it that changes fully.
AXES, FULL = (0.485, 0.495), 0.68


@dataclass(frozen=True)
class Square:
    """A square in a photograph. Pixel (0, 0) reaches from 0 to 1 on both axes."""

    x: float
    """Its centre."""
    y: float
    side: float
    """In pixels."""
    angle: float = 0.0
    """In radians, as seen clockwise: from the photograph's horizontal to the square's own."""

    def outside(self, right: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
        """Where points of the square lie in the photograph; the square's own coordinates reach from -0.5 to 0.5."""
        cos, sin = math.cos(self.angle) * self.side, math.sin(self.angle) * self.side
        return self.x + cos * right - sin * down, self.y + sin * right + cos * down

    def inside(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The opposite of `outside`."""
        cos, sin = math.cos(self.angle) / self.side, math.sin(self.angle) / self.side
        x, y = x - self.x, y - self.y
        return cos * x + sin * y, -sin * x + cos * y

    def corners(self) -> list[tuple[float, float]]:
        """In the photograph, one after the other."""
        ends = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]], dtype=torch.float64)
        return [(float(x), float(y)) for x, y in zip(*self.outside(ends[:, 0], ends[:, 1]), strict=True)]


def cut(photograph: Tensor, square: Square) -> Tensor:
    """The square of a photograph (C, H, W), upright and as fine as the photograph: (C, S, S).

    What lies beyond the photograph's edge is filled with the pixels at the edge.
    """
    height, width = photograph.shape[-2:]
    size = max(8, round(square.side))
    along = (torch.arange(size, dtype=torch.float32) + 0.5) / size - 0.5
    x, y = square.outside(along[None, :], along[:, None])
    grid = torch.stack([2 * x / width - 1, 2 * y / height - 1], -1)
    found = F.grid_sample(photograph[None], grid[None], "bicubic", padding_mode="border", align_corners=False)
    return found[0].clamp(-1, 1)


def paste(photograph: Tensor, squares: Sequence[Square], changes: Sequence[Tensor], match: bool = True) -> Tensor:
    """The photograph (C, H, W) with the changes (C, S, S) of its squares added, the first square on top.

    Each change fades towards the edge of an ellipse. Pixels outside of the ellipses, and all where nothing changes,
    stay as they are to the bit. Where two ellipses overlap, the upper fades into the lower.

    Args:
        match: leave out what changes in the square's corners too: a colour cast is no trait of the face.
    """
    result = photograph.clone()
    for square, change in reversed(list(zip(squares, changes, strict=True))):
        if match:
            change = change - cast(change)[:, None, None]
        xs, ys = zip(*square.corners(), strict=True)
        top, bottom = _span(ys, photograph.shape[-2])
        left, right = _span(xs, photograph.shape[-1])
        if top >= bottom or left >= right:
            continue
        x, y = torch.arange(left, right) + 0.5, torch.arange(top, bottom) + 0.5
        across, down = square.inside(x[None, :], y[:, None])
        moved = F.grid_sample(change[None], 2 * torch.stack([across, down], -1)[None], align_corners=False)[0]
        area = (slice(None), slice(top, bottom), slice(left, right))
        result[area] += mask(across, down) * (photograph[area] + moved - result[area])
    return result.clamp(-1, 1)


def mask(across: Tensor, down: Tensor) -> Tensor:
    """How much of a change is taken at a point of the square: 1 in the middle, 0 outside of the ellipse, smooth between
    (Perlin's 6t^5 - 15t^4 + 10t^3, whose first and second derivatives vanish at both ends)."""
    distance = torch.sqrt((across / AXES[0]) ** 2 + (down / AXES[1]) ** 2)
    t = ((1 - distance) / (1 - FULL)).clamp(0, 1)
    return t**3 * (t * (6 * t - 15) + 10)


def cast(change: Tensor) -> Tensor:
    """What happens to the colours of the square's corners, which the ellipse leaves out: (C), medians."""
    size = change.shape[-1]
    along = (torch.arange(size) + 0.5) / size - 0.5
    return change[:, mask(along[None, :], along[:, None]) == 0].median(1).values


def _span(ends: Sequence[float], size: int) -> tuple[int, int]:
    """The pixels that a stretch touches, as far as there are any."""
    return max(0, math.floor(min(ends))), min(size, math.ceil(max(ends)))
