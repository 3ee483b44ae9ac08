"""Layers of the networks for voices: gated convolutions, 1-D pixel shuffle, padding to any length."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn
from transgan_standard.layers import FiLM, Norm, Styled

from transgan.api import Tensor

VoiceNorm = Literal["instance", "group", "none"]


@dataclass(frozen=True)
class Norms:
    """The norms of a network: `norms(channels)` returns a new layer.

    Args:
        affine: whether instance norm learns a scale and a shift; group norm always does. A style vector sets both
            instead, where there is one.
        style: length of the style vector; 0 for none.
    """

    kind: VoiceNorm
    affine: bool = False
    style: int = 0

    def __call__(self, channels: int) -> Norm:
        return Norm(self.kind, channels, self.style, self.affine)


NO_NORMS = Norms("none")


def pixel_shuffle_1d(x: Tensor, factor: int) -> Tensor:
    """(N, C * factor, T) -> (N, C, T * factor): channel c * factor + i becomes every `factor`-th frame from i on.

    The 1-D case of sub-pixel convolution (Shi et al., 2016, eq. 4): neighbours in time come from the same frame.
    """
    n, channels, frames = x.shape
    split = x.view(n, channels // factor, factor, frames)
    return split.transpose(2, 3).reshape(n, channels // factor, frames * factor)


def pad_frames(x: Tensor, multiple: int, minimum: int) -> Tensor:
    """Repeat the last frame of x (..., T) until T is a multiple of `multiple`, and at least `minimum`."""
    frames = x.shape[-1]
    padded = max(-(-frames // multiple) * multiple, minimum)
    if padded == frames:
        return x
    return torch.cat([x, x[..., -1:].expand(*x.shape[:-1], padded - frames)], -1)


class Gated(Styled):
    """conv -> shuffle -> norm -> gated linear unit (Dauphin et al., 2017, eq. 1): h * sigmoid(g).

    h and g are the halves of one convolution's channels. Since the norms treat every channel by itself, this equals the
    two convolutions with a norm each of CycleGAN-VC (Kaneko and Kameoka, 2018, section 3.2).

    Args:
        conv: a convolution to 2 * channels * shuffle ** axes channels.
        channels: of the output.
        norms: the norms of the network; none by default.
        shuffle: factor by which pixel shuffle enlarges every axis.
    """

    def __init__(self, conv: nn.Module, channels: int, norms: Norms = NO_NORMS, shuffle: int = 1):
        super().__init__()
        self.conv = conv
        self.norm = norms(2 * channels)
        self.shuffle = shuffle

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y: Tensor = self.conv(x)
        if self.shuffle > 1:
            y = pixel_shuffle_1d(y, self.shuffle) if y.dim() == 3 else F.pixel_shuffle(y, self.shuffle)
        return F.glu(self.norm(y, style), 1)


class GatedResidual(Styled):
    """x + norm(conv(gated(x))): the residual block of CycleGAN-VC, 1-D, kernel 3, with twice the channels inside."""

    def __init__(self, channels: int, norms: Norms):
        super().__init__()
        inner = 2 * channels
        self.gated = Gated(nn.Conv1d(channels, 2 * inner, 3, padding=1), inner, norms)
        self.conv = nn.Conv1d(inner, channels, 3, padding=1)
        self.norm = norms(channels)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        change: Tensor = self.norm(self.conv(self.gated(x, style)), style)
        return x + change


class LeakyResidual(Styled):
    """x + norm(conv(lrelu(norm(conv(x))))): the residual block of Scyclone (Tanaka et al., 2020), plus norms."""

    def __init__(self, channels: int, kernel: int, norms: Norms):
        super().__init__()
        self.first = nn.Conv1d(channels, channels, kernel, padding="same")
        self.first_norm = norms(channels)
        self.second = nn.Conv1d(channels, channels, kernel, padding="same")
        self.second_norm = norms(channels)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y = F.leaky_relu(self.first_norm(self.first(x), style), 0.01)
        change: Tensor = self.second_norm(self.second(y), style)
        return x + change


def init_styles(network: nn.Module) -> None:
    """Initialize the FiLM layers. All other layers keep PyTorch's initialization, which networks without norms need."""
    for layer in network.modules():
        if isinstance(layer, FiLM):
            layer.init_weights()


def without_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which operations on the device of x are not autocast to 16 bits."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else nullcontext()
