"""Padding of images by themselves: reflected or repeated borders, in the dtype of the image."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from transgan.api import Tensor

PaddingKind = Literal["reflect", "zero", "replicate"]

#: The `padding_mode` of PyTorch's convolutions for each kind of padding.
PADDING_MODES: dict[PaddingKind, Literal["reflect", "zeros", "replicate"]] = {
    "reflect": "reflect",
    "zero": "zeros",
    "replicate": "replicate",
}


def pad(x: Tensor, sizes: Sequence[int], mode: str) -> Tensor:
    """Return `F.pad(x, sizes, mode)` in the dtype of `x`; the mode is a `padding_mode`.

    Autocast on a CPU would compute it in fp32, and cast the result back for the convolution behind it.
    """
    cast = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
    with torch.autocast("cpu", enabled=False) if cast else nullcontext():
        return F.pad(x, list(sizes), "constant" if mode == "zeros" else mode)


class Pad(nn.Module):
    """Pads height and width by the same number of pixels at each side."""

    def __init__(self, size: int, kind: PaddingKind = "reflect"):
        super().__init__()
        self.size = size
        self.mode = PADDING_MODES[kind]

    def forward(self, x: Tensor) -> Tensor:
        return pad(x, [self.size] * 4, self.mode)


class Conv2d(nn.Conv2d):
    """`nn.Conv2d`, with its `padding_mode` by `pad`."""

    def forward(self, x: Tensor) -> Tensor:
        if self.padding_mode == "zeros":
            return super().forward(x)
        assert not isinstance(self.padding, str)
        height, width = self.padding
        padded = pad(x, [width, width, height, height], self.padding_mode)
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)
