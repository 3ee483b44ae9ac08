"""Building blocks of the networks: normalisation, style modulation, padding, resampling, initialisation."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import nn

from transgan.api import NetworkSpec, Tensor, UsageError
from transgan_standard.norms import GroupNorm, InstanceNorm
from transgan_standard.padding import PADDING_MODES, Conv2d, PaddingKind, pad

NormKind = Literal["instance", "batch", "group", "none"]
UpsampleKind = Literal["transposed", "nearest", "bilinear"]
DownsampleKind = Literal["strided", "antialiased"]
InitKind = Literal["normal", "xavier"]


def two_axes(spec: NetworkSpec, name: str) -> tuple[int, int]:
    """Return the height and width of a training batch.

    Args:
        name: the network plugin's name, for the message.

    Raises:
        UsageError: samples are not images.
    """
    if len(spec.space) != 2:
        raise UsageError(
            f"'{name}' takes samples with two axes (height and width), and these have {len(spec.space)}; "
            "choose another network"
        )
    return spec.space[0], spec.space[1]


def convolution_has_bias(norm: NormKind, affine: bool) -> bool:
    """Return whether a convolution before this norm has a bias: only where the norm has no learned shift itself."""
    return norm == "none" or (norm == "instance" and not affine)


def plain_norm(kind: NormKind, channels: int, affine: bool, learned: bool = True) -> nn.Module:
    """Return a normalisation layer over `channels`.

    Args:
        affine: whether instance norm learns a scale and a shift; batch and group norm always do.
        learned: false where no norm learns them, as another layer sets them.
    """
    if kind == "instance":
        return InstanceNorm(channels if affine and learned else 0)
    if kind == "batch":
        return nn.BatchNorm2d(channels, affine=learned)
    if kind == "group":
        return GroupNorm(math.gcd(channels, 8), channels, affine=learned)
    return nn.Identity()


class Dropout(nn.Module):
    """Dropout that may stay on in evaluation mode, where its mask is fixed.

    In evaluation mode the mask depends on nothing but the shape of a sample and `seed`: it is the same for every sample
    and every call, so that a translation can be repeated.

    Args:
        p: probability of zeroing an activation.
        at_use: whether dropout stays on in evaluation mode.
        seed: of the mask; layers of equal shape need different ones.
    """

    def __init__(self, p: float, at_use: bool, seed: int):
        super().__init__()
        self.p = p
        self.at_use = at_use
        self.seed = seed

    def forward(self, x: Tensor) -> Tensor:
        if self.training or not (self.at_use and self.p):
            return F.dropout(x, self.p, self.training)
        generator = torch.Generator().manual_seed(self.seed)
        kept = torch.rand(x.shape[1:], generator=generator, device="cpu", dtype=torch.float32) >= self.p
        return x * (kept.to(x) / (1 - self.p))


class FiLM(nn.Module):
    """Feature-wise linear modulation: a scale and a shift of every channel, predicted from the style vector.

    `forward(x, style) -> y`: x and y (N, C, *space), style (N, S). `y = (1 + scale) * x + shift` (Perez et al., 2018,
    eq. 1), with scale and shift linear in the style. Initialised to scale 1 and a small random shift, so that the style
    has an effect from the first step on.
    """

    def __init__(self, style: int, channels: int):
        super().__init__()
        self.linear = nn.Linear(style, 2 * channels)

    def init_weights(self) -> None:
        """Initialise to no scaling and a shift with weights from N(0, 0.02)."""
        scale, shift = self.linear.weight.chunk(2)
        nn.init.zeros_(scale)
        nn.init.normal_(shift, 0.0, 0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        film: Tensor = self.linear(style).to(x.dtype)[(..., *[None] * (x.dim() - 2))]
        scale, shift = film.chunk(2, dim=1)
        return x * (1 + scale) + shift


class Styled(nn.Module):
    """Base class of layers whose `forward` takes the style vector as its second argument; see `run`."""


def run(layer: nn.Module, x: Tensor, style: Tensor | None) -> Tensor:
    """Run a layer and return its output; only `Styled` layers are passed the style."""
    y: Tensor = layer(x, style) if isinstance(layer, Styled) else layer(x)
    return y


def last_of(activations: Iterator[Tensor]) -> Tensor:
    """Return the last of a network's activations, that is, its output."""
    (output,) = deque(activations, maxlen=1)
    return output


def activations_at(layers: Sequence[int], activations: Iterator[Tensor]) -> list[Tensor]:
    """Return activations by their indices, computed no further than needed.

    Args:
        layers: the indices, in the order of the result.
        activations: those of a network, in order, each computed when it is taken.

    Raises:
        UsageError: there is no such index.
    """
    found: dict[int, Tensor] = {}
    number = -1
    for number, activation in enumerate(activations):
        if number in layers:
            found[number] = activation
        if len(found) == len(set(layers)):
            return [found[index] for index in layers]
    raise UsageError(f"layers = {list(layers)}; expected indices from 0 to {number}")


class Norm(Styled):
    """A normalisation layer, adaptive where the network has a style vector.

    Adaptive means AdaIN (Huang and Belongie, 2017, eq. 8) with scale and shift linear in the style. They are applied
    after the normalisation, which therefore cannot remove them.

    Args:
        style: length of the style vector; 0 for a plain norm.
        affine: whether a plain instance norm learns a scale and a shift; batch and group norm always do.

    Raises:
        UsageError: in `forward`, where a style vector is missing.
    """

    def __init__(self, kind: NormKind, channels: int, style: int, affine: bool):
        super().__init__()
        self.norm = plain_norm(kind, channels, affine, learned=style == 0)
        self.film = FiLM(style, channels) if style else None

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y: Tensor = self.norm(x)
        if self.film is None:
            return y
        if style is None:
            raise UsageError("this network was built with a style vector, and got style = None; pass a style vector")
        styled: Tensor = self.film(y, style)
        return styled


class Residual(Styled):
    """Residual block `x + norm(conv(dropout(relu(norm(conv(x))))))` (Johnson et al., 2016), no ReLU after the sum.

    Args:
        make_norm: returns a new norm over a number of channels.
        bias: whether convolutions have a bias.
        depthwise: use depthwise-separable 3x3 convolutions (Howard et al., 2017).
    """

    def __init__(
        self,
        channels: int,
        make_norm: Callable[[int], Norm],
        padding: PaddingKind,
        bias: bool,
        dropout: Dropout,
        depthwise: bool,
    ):
        super().__init__()

        def convolution() -> nn.Module:
            mode = PADDING_MODES[padding]
            if not depthwise:
                return Conv2d(channels, channels, 3, padding=1, padding_mode=mode, bias=bias)
            within = Conv2d(channels, channels, 3, padding=1, padding_mode=mode, bias=False, groups=channels)
            return nn.Sequential(within, nn.Conv2d(channels, channels, 1, bias=bias))

        self.first, self.first_norm = convolution(), make_norm(channels)
        self.second, self.second_norm = convolution(), make_norm(channels)
        self.dropout = dropout

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y = self.dropout(F.relu(self.first_norm(self.first(x), style)))
        change: Tensor = self.second_norm(self.second(y), style)
        return x + change


def split_label_maps(
    maps: Tensor, domain: Tensor | None, kept: Tensor | None, domains: int
) -> tuple[Tensor, Tensor | None]:
    """Split a discriminator's maps of logits, one for each domain and then one for each value of a kept label.

    Args:
        maps: (N, domains + K, *space).
        domain: (N,) the domain to check of each sample.
        kept: (N, K) the condition `kept`; None where nothing is kept.

    Returns:
        The logits of that domain, (N, 1, *space), and those of the values, (N, K, *space), or None.

    Raises:
        UsageError: there is no domain.
    """
    if domain is None:
        raise UsageError("this discriminator has label maps, and got domain = None; pass the domain of each sample")
    logits = maps[torch.arange(len(maps), device=maps.device), domain][:, None]
    return logits, maps[:, domains:] if kept is not None and maps.shape[1] > domains else None


class AffineWarp(nn.Module):
    """Resamples each image by an affine map that it predicts itself (spatial transformer; Jaderberg et al., 2015).

    `forward(x, style)`: x (N, C, H, W); returns (N, C, H, W), bilinear, with borders repeated. The map's six numbers
    are predicted from a style vector and 16 regions of three convolutions with stride 2; the last layer starts at zero,
    hence the map as the identity. Moves are at most a quarter of the frame, scales 0.5 to 1.5.
    """

    def __init__(self, inputs: int, width: int, style: int):
        super().__init__()
        sides = [inputs, width, 2 * width, 2 * width]
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(sides))
        self.last = nn.Linear(16 * sides[-1] + style, 6)

    def init_weights(self) -> None:
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y = x
        for convolution in self.convolutions:
            y = F.silu(convolution(y))
        y = F.adaptive_avg_pool2d(y, 4).flatten(1)
        change = 0.5 * torch.tanh(self.last(y if style is None else torch.cat([y, style.to(y)], 1)).float())
        identity = torch.eye(2, 3, device=x.device)
        grid = F.affine_grid(identity + change.view(-1, 2, 3), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid.to(x.dtype), padding_mode="border", align_corners=False)


class BlurPool(nn.Module):
    """Antialiased downsampling by 2: a [1, 2, 1] x [1, 2, 1] / 16 filter, then every second pixel (Zhang, 2019).

    The border is padded by reflection.
    """

    def forward(self, x: Tensor) -> Tensor:
        # Two 2x2 means in a row are this filter, without a buffer of weights.
        return F.avg_pool2d(F.avg_pool2d(pad(x, (1, 1, 1, 1), "reflect"), 2, stride=1), 2)


def upsampling(kind: UpsampleKind, channels: int, outputs: int, bias: bool) -> list[nn.Module]:
    """Return layers that double height and width and map `channels` to `outputs` channels."""
    if kind == "transposed":
        return [nn.ConvTranspose2d(channels, outputs, 3, stride=2, padding=1, output_padding=1, bias=bias)]
    return [nn.Upsample(scale_factor=2, mode=kind), nn.Conv2d(channels, outputs, 3, padding=1, bias=bias)]


def init_weights(network: nn.Module, kind: InitKind = "normal") -> None:
    """Initialise a network as DCGAN, pix2pix and CycleGAN do.

    Weights of convolutions and linear layers from N(0, 0.02), scales of batch norm, and of instance norm where it has
    them, from N(1, 0.02), biases 0; each `FiLM` by its own rule.

    Args:
        kind: `"xavier"` for convolutions and linear layers as CUT initialises them: normal, with a standard deviation
            of 0.02 times that of Glorot and Bengio (2010, eq. 12).
    """
    for layer in network.modules():
        weight: Any = getattr(layer, "weight", None)
        bias: Any = getattr(layer, "bias", None)
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            if kind == "xavier":
                nn.init.xavier_normal_(weight, gain=0.02)
            else:
                nn.init.normal_(weight, 0.0, 0.02)
        elif isinstance(layer, (nn.BatchNorm2d, InstanceNorm)) and weight is not None:
            nn.init.normal_(weight, 1.0, 0.02)
        else:
            continue
        if bias is not None:
            nn.init.zeros_(bias)
    for layer in network.modules():
        if isinstance(layer, FiLM):
            layer.init_weights()
