"""Pieces that the networks share: norms, style, padding, resampling, initialisation."""

import math
from typing import Any, Literal

import torch.nn.functional as F
from torch import nn

from transgan.api import Spec, Tensor, UsageError

NormKind = Literal["instance", "batch", "group", "none"]
PaddingKind = Literal["reflect", "zero", "replicate"]
UpsampleKind = Literal["transposed", "nearest", "bilinear"]

PADS: dict[PaddingKind, type[nn.Module]] = {
    "reflect": nn.ReflectionPad2d,
    "zero": nn.ZeroPad2d,
    "replicate": nn.ReplicationPad2d,
}
#: What `nn.Conv2d` calls them.
PADDING_MODES: dict[PaddingKind, Literal["reflect", "zeros", "replicate"]] = {
    "reflect": "reflect",
    "zero": "zeros",
    "replicate": "replicate",
}


def two_axes(spec: Spec, name: str) -> tuple[int, int]:
    """The height and width of a training batch.

    Raises:
        UsageError: samples are not pictures.
    """
    if len(spec.space) != 2:
        raise UsageError(f"'{name}' works on two axes (height and width); these samples have {len(spec.space)}")
    return spec.space[0], spec.space[1]


def convolution_has_bias(norm: NormKind) -> bool:
    """Whether a convolution before this norm has a bias of its own: where the norm itself learns no shift."""
    return norm in ("instance", "none")


class InstanceNorm(nn.Module):
    """Instance normalisation without parameters or running statistics (Ulyanov et al., 2016), never below fp32.

    Under autocast the sums of squares of a large map would lose most of their bits in 16-bit numbers.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.is_contiguous():
            # The same, in half the time: as many groups as channels. It sums 16-bit numbers in fp32 by itself.
            return F.group_norm(x, x.shape[1])
        return F.instance_norm(x if x.element_size() > 2 else x.float()).to(x.dtype)


def plain_norm(kind: NormKind, channels: int, affine: bool = True) -> nn.Module:
    """A norm over `channels`; `affine` is whether those norms that may learn a scale and a shift do."""
    if kind == "instance":
        return InstanceNorm()
    if kind == "batch":
        return nn.BatchNorm2d(channels, affine=affine)
    if kind == "group":
        return nn.GroupNorm(math.gcd(channels, 8), channels, affine=affine)
    return nn.Identity()


class FiLM(nn.Module):
    """Scale and shift of every channel, made from the style vector (Perez et al., 2018, eq. 1).

    It starts with scale 1 and a small random shift: the style is heard from the first step on.
    """

    def __init__(self, style: int, channels: int):
        super().__init__()
        self.linear = nn.Linear(style, 2 * channels)

    def start(self) -> None:
        scale, shift = self.linear.weight.chunk(2)
        nn.init.zeros_(scale)
        nn.init.normal_(shift, 0.0, 0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        film: Tensor = self.linear(style).to(x.dtype)[(..., *[None] * (x.dim() - 2))]
        scale, shift = film.chunk(2, dim=1)
        return x * (1 + scale) + shift


class Styled(nn.Module):
    """Base of the layers that take the style vector too; see `run`."""


def run(layer: nn.Module, x: Tensor, style: Tensor | None) -> Tensor:
    """The layer's output, with the style given to those layers that take it."""
    y: Tensor = layer(x, style) if isinstance(layer, Styled) else layer(x)
    return y


class Norm(Styled):
    """A norm; with a style, an adaptive one (AdaIN: Huang and Belongie, 2017, eq. 8, with a linear layer for y).

    The style comes after the normalisation, which therefore can never remove it.
    """

    def __init__(self, kind: NormKind, channels: int, style: int):
        super().__init__()
        self.norm = plain_norm(kind, channels, affine=style == 0)
        self.film = FiLM(style, channels) if style else None

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y: Tensor = self.norm(x)
        if self.film is None:
            return y
        if style is None:
            raise UsageError("this network was built for a style vector and was given none")
        styled: Tensor = self.film(y, style)
        return styled


class Residual(Styled):
    """x + norm(conv(dropout(relu(norm(conv(x)))))), as Johnson et al. (2016) without a ReLU after the sum.

    `depthwise`: each 3x3 convolution in two, one within each channel and one across channels (Howard et al., 2017).
    """

    def __init__(
        self, channels: int, norm: NormKind, padding: PaddingKind, style: int, dropout: float, depthwise: bool
    ):
        super().__init__()
        bias = convolution_has_bias(norm)

        def convolution() -> nn.Module:
            mode = PADDING_MODES[padding]
            if not depthwise:
                return nn.Conv2d(channels, channels, 3, padding=1, padding_mode=mode, bias=bias)
            within = nn.Conv2d(channels, channels, 3, padding=1, padding_mode=mode, bias=False, groups=channels)
            return nn.Sequential(within, nn.Conv2d(channels, channels, 1, bias=bias))

        self.first, self.first_norm = convolution(), Norm(norm, channels, style)
        self.second, self.second_norm = convolution(), Norm(norm, channels, style)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y = self.dropout(F.relu(self.first_norm(self.first(x), style)))
        change: Tensor = self.second_norm(self.second(y), style)
        return x + change


class BlurPool(nn.Module):
    """Halves the size after a [1, 2, 1] x [1, 2, 1] / 16 filter (Zhang, 2019), reflecting at the border.

    The filter is a mean over 2x2 taken twice, so it needs no weights.
    """

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), 2, stride=1), 2)


def upsampling(kind: UpsampleKind, channels: int, outputs: int, bias: bool) -> list[nn.Module]:
    """Layers that double the size."""
    if kind == "transposed":
        return [nn.ConvTranspose2d(channels, outputs, 3, stride=2, padding=1, output_padding=1, bias=bias)]
    return [nn.Upsample(scale_factor=2, mode=kind), nn.Conv2d(channels, outputs, 3, padding=1, bias=bias)]


def initialise(network: nn.Module) -> None:
    """The start of DCGAN, pix2pix and CycleGAN: weights from N(0, 0.02), biases 0, scales of norms from N(1, 0.02)."""
    for layer in network.modules():
        weight: Any = getattr(layer, "weight", None)
        bias: Any = getattr(layer, "bias", None)
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d) and weight is not None:
            nn.init.normal_(weight, 1.0, 0.02)
        else:
            continue
        if bias is not None:
            nn.init.zeros_(bias)
    for layer in network.modules():
        if isinstance(layer, FiLM):
            layer.start()
