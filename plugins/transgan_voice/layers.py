"""Pieces of the networks for voices: gated convolutions, 1-D pixel shuffle, padding to any length."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn
from transgan_standard.layers import FiLM, Norm, Styled

from transgan.api import Tensor

VoiceNorm = Literal["instance", "group", "none"]


def pixel_shuffle_1d(x: Tensor, factor: int) -> Tensor:
    """(N, C * factor, T) -> (N, C, T * factor): channel c * factor + i becomes every `factor`-th frame from i on.

    The 1-D case of sub-pixel convolution (Shi et al., 2016, eq. 4): neighbours in time come from the same frame.
    """
    n, channels, frames = x.shape
    split = x.view(n, channels // factor, factor, frames)
    return split.transpose(2, 3).reshape(n, channels // factor, frames * factor)


def pad_frames(x: Tensor, multiple: int, least: int) -> Tensor:
    """(..., T) with its last frame repeated until T is a multiple of `multiple`, and at least `least`."""
    frames = x.shape[-1]
    wanted = max(-(-frames // multiple) * multiple, least)
    if wanted == frames:
        return x
    return torch.cat([x, x[..., -1:].expand(*x.shape[:-1], wanted - frames)], -1)


class Gated(Styled):
    """conv -> shuffle -> norm -> gated linear unit (Dauphin et al., 2017, eq. 1): h * sigmoid(g).

    h and g are the halves of one convolution's channels. Since norms of single channels know no halves, this is what
    CycleGAN-VC writes as two convolutions with a norm each (Kaneko and Kameoka, 2018, section 3.2).

    Args:
        conv: of twice `channels`, times `shuffle` for each axis that it doubles.
        shuffle: how many times longer every axis becomes.
    """

    def __init__(self, conv: nn.Module, channels: int, norm: VoiceNorm = "none", style: int = 0, shuffle: int = 1):
        super().__init__()
        self.conv = conv
        self.norm = Norm(norm, 2 * channels, style)
        self.shuffle = shuffle

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y: Tensor = self.conv(x)
        if self.shuffle > 1:
            y = pixel_shuffle_1d(y, self.shuffle) if y.dim() == 3 else F.pixel_shuffle(y, self.shuffle)
        return F.glu(self.norm(y, style), 1)


class GatedResidual(Styled):
    """x + norm(conv(gated(x))): the residual block of CycleGAN-VC, 1-D, kernel 3, twice as wide inside."""

    def __init__(self, channels: int, norm: VoiceNorm, style: int):
        super().__init__()
        inner = 2 * channels
        self.gated = Gated(nn.Conv1d(channels, 2 * inner, 3, padding=1), inner, norm, style)
        self.conv = nn.Conv1d(inner, channels, 3, padding=1)
        self.norm = Norm(norm, channels, style)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        change: Tensor = self.norm(self.conv(self.gated(x, style)), style)
        return x + change


class LeakyResidual(Styled):
    """x + conv(lrelu(conv(x))): the residual block of Scyclone (Tanaka et al., 2020), which needs no norm."""

    def __init__(self, channels: int, kernel: int, norm: VoiceNorm, style: int):
        super().__init__()
        self.first = nn.Conv1d(channels, channels, kernel, padding="same")
        self.first_norm = Norm(norm, channels, style)
        self.second = nn.Conv1d(channels, channels, kernel, padding="same")
        self.second_norm = Norm(norm, channels, style)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y = F.leaky_relu(self.first_norm(self.first(x), style), 0.01)
        change: Tensor = self.second_norm(self.second(y), style)
        return x + change


def start_styles(network: nn.Module) -> None:
    """Puts the style's layers at their start; all other weights keep PyTorch's, as without a norm they have to."""
    for layer in network.modules():
        if isinstance(layer, FiLM):
            layer.start()


def exactly(x: Tensor) -> AbstractContextManager[Any]:
    """Within it, what is done where x lies is not rounded to 16 bits."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
