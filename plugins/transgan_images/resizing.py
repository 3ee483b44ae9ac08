"""Images in another size, smoothed first where they become smaller."""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F


def antialiased(x: Tensor, size: tuple[int, ...], mode: Literal["bilinear", "bicubic"] = "bilinear") -> Tensor:
    """Return images (N, C, H, W) in another size, (height, width)."""
    if size[1] == 1 < size[0]:
        # On a CPU torch 2.14 returns one number for all rows where they are one pixel wide, and columns as they are.
        return antialiased(x.mT, (1, size[0]), mode).mT
    return F.interpolate(x, size, mode=mode, align_corners=False, antialias=True)
