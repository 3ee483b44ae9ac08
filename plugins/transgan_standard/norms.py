"""Norms of each sample by itself, by the kernel of PyTorch that is fast for the memory format of the sample."""

import torch
import torch.nn.functional as F
from torch import nn

from transgan.api import Tensor


class InstanceNorm(nn.Module):
    """Instance normalisation without running statistics (Ulyanov et al., 2016), computed in fp32.

    `forward(x) -> y`: (N, C, *space), y in the dtype of x. In 16-bit numbers, as under autocast, the sums of squares
    over a large feature map would lose most of their precision.

    Args:
        channels: of a learned scale and shift, initialised to 1 and 0; 0 for none.
    """

    def __init__(self, channels: int = 0):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels)) if channels else None
        self.bias = nn.Parameter(torch.zeros(channels)) if channels else None

    def forward(self, x: Tensor) -> Tensor:
        return instance_norm(x, self.weight, self.bias)


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu & He, 2018), as PyTorch's, whose gradient with channels last is eight times as slow.

    `forward(x) -> y`: (N, C, *space), y in the dtype and the memory format of x.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not _channels_last(x):
            return super().forward(x)
        return super().forward(x.contiguous()).contiguous(memory_format=torch.channels_last)


def instance_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Return each channel of each sample normalized by itself: (N, C, *space), in the dtype of x, computed in fp32.

    Args:
        weight: (C,) scales; None for 1.
        bias: (C,) shifts; None for 0.
    """
    if x.device.type == "cpu" and x.is_contiguous():
        # Group norm with one group per channel is the same and takes half the time; it accumulates in fp32 itself.
        return F.group_norm(x, x.shape[1], weight, bias)
    if _channels_last(x):
        # Batch norm of one sample is the same too, and there group norm takes ten times as long. With scales in fp32
        # its statistics are in fp32 as well.
        if weight is None and x.element_size() < 4:
            weight = torch.ones(x.shape[1])
        return torch.cat([F.batch_norm(each, None, None, weight, bias, training=True) for each in torch.split(x, 1)])
    single = x if x.element_size() > 2 else x.float()
    return F.instance_norm(single, weight=weight, bias=bias).to(x.dtype)


def sample_norm(x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """Return each sample normalized over all of its channels and pixels: group norm with a single group.

    Args:
        x: (N, C, *space).
        weight: (C,) scales; None for 1.
        bias: (C,) shifts; None for 0.
    """
    if not _channels_last(x):
        return F.group_norm(x, 1, weight, bias)
    rows = x.movedim(1, -1)
    y = F.layer_norm(rows, rows.shape[1:])
    if weight is not None:
        y = y * weight.to(y.dtype)
    return (y if bias is None else y + bias.to(y.dtype)).movedim(-1, 1)


def _channels_last(x: Tensor) -> bool:
    """Return whether an image on the CPU has its channels last in memory, and not also its rows."""
    if type(x) is not Tensor or x.device.type != "cpu" or x.ndim != 4:
        return False
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
