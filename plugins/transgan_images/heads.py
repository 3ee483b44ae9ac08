"""Small networks that evaluate the feature maps of a frozen one, and the fixed random projections before it."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm
from transgan_standard.norms import sample_norm


class Mixing(nn.Module):
    """Fixed random projections of feature maps: cross-channel and cross-scale mixing (Sauer et al., 2021, section 3.2).

    As in the authors' code: a 1x1 convolution of each map; for `scales`, from the last map on, a map and the one before
    are added, doubled by interpolation, and projected by another 1x1 convolution. They begin as PyTorch's convolutions
    do, and are never trained. A map that does not fit the doubled one is interpolated to its size.

    `forward(maps)`: (N, C_i, H_i, W_i) each, fine to coarse; returns as many, with `channels`; those of `scales` have
    twice the size.
    """

    def __init__(self, channels: Sequence[int], mixed: int, kind: str):
        super().__init__()
        count = len(channels)
        widths = [mixed * 2**i for i in range(count)]
        self.within = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(channels, widths, strict=True))
        self.between: nn.ModuleList | None = None
        self.channels = widths
        if kind == "scales":
            self.channels = [mixed, *widths[:-1]]  # the finest map keeps its channels, the others halve them
            self.between = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(widths, self.channels, strict=True))
        self.requires_grad_(False)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        within = [layer(x) for layer, x in zip(self.within, maps, strict=True)]
        if self.between is None:
            return within
        mixed: list[Tensor] = []
        for x, layer in zip(reversed(within), reversed(self.between), strict=True):
            if mixed:
                below = mixed[0]
                if below.shape[2:] != x.shape[2:]:
                    below = F.interpolate(below, x.shape[2:], mode="bilinear", align_corners=True)
                x = below + x
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            mixed.insert(0, layer(x))
        return mixed


def _projected(x: Tensor, projection: nn.Module | None, style: Tensor | None) -> Tensor | float:
    """Return the product of features (N, C, *space) with the style, (N, 1, *space) (Miyato & Koyama, 2018), or 0."""
    if projection is None or style is None:
        return 0.0
    weights: Tensor = projection(style).view(*x.shape[:2], *[1] * (x.dim() - 2))
    return (x * weights.to(x.dtype)).sum(1, keepdim=True)


class Head(nn.Module):
    """1x1 and 3x3 convolution and a map of logits, on normalised features; spectral norm everywhere.

    `forward(x, style)`: x (N, channels, H, W); returns logits (N, maps, H, W) and the last features.
    """

    def __init__(self, channels: int, width: int, maps: int, style: int):
        super().__init__()
        self.first = spectral_norm(nn.Conv2d(channels, width, 1))
        self.second = spectral_norm(nn.Conv2d(width, width, 3, padding=1))
        self.last = spectral_norm(nn.Conv2d(width, maps, 1))
        self.projection = spectral_norm(nn.Linear(style, width, bias=False)) if style else None

    def forward(self, x: Tensor, style: Tensor | None) -> tuple[Tensor, Tensor]:
        x = sample_norm(x)  # each sample by itself: how strong features are says little of an image
        x = F.leaky_relu(self.first(x), 0.2)
        x = F.leaky_relu(self.second(x), 0.2)
        return self.last(x) + _projected(x, self.projection, style), x


class DownsamplingHead(nn.Module):
    """4x4 convolutions with stride 2 and batch norm down to 8 pixels, then a 4x4 convolution; spectral norm everywhere.

    One of the discriminators of Projected GAN (Sauer et al., 2021), whose widths it has with `width = 64`.

    `forward(x, style)`: x (N, channels, H, W); returns logits (N, maps, H', W') and the last features.

    Args:
        side: the shorter side of x in training, in pixels.
    """

    def __init__(self, channels: int, width: int, maps: int, style: int, side: int):
        super().__init__()
        layers: list[nn.Module] = []
        halvings = max(0, round(math.log2(side / 8)))
        for i in reversed(range(halvings)):
            after = width * max(1, 8 // 2**i)
            layers += [spectral_norm(nn.Conv2d(channels, after, 4, 2, 1)), nn.BatchNorm2d(after), nn.LeakyReLU(0.2)]
            channels = after
        self.body = nn.Sequential(*layers)
        kernel = min(4, max(1, side // 2**halvings))
        self.last = spectral_norm(nn.Conv2d(channels, maps, kernel, bias=False))
        self.projection = spectral_norm(nn.Linear(style, channels, bias=False)) if style else None

    def forward(self, x: Tensor, style: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self.body(x)
        product = _projected(x.mean((2, 3), keepdim=True), self.projection, style)
        return self.last(x) + product, x


class LocalBatchNorm(nn.Module):
    """Batch norm of groups of 8 samples, without running statistics (StyleGAN-T, Sauer et al., 2023).

    `forward(x)`: (N, C, L); each channel of a group has the mean 0 and the variance 1, then a learned scale and shift.
    """

    mixes_batch = True
    GROUP = 8

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        groups = torch.split(x, self.GROUP)
        return torch.cat([F.batch_norm(each, None, None, self.weight, self.bias, True) for each in groups])


class TokenHead(nn.Module):
    """Convolutions along the positions of a feature map, row after row, as a head of StyleGAN-T (Sauer et al., 2023).

    A convolution of one position; one of nine, whose ends are joined, around which x is carried; each with local batch
    norm; and one to logits. Spectral norm everywhere.

    `forward(x, style)`: x (N, channels, H, W); returns logits (N, maps, H W) and the last features.
    """

    def __init__(self, channels: int, maps: int, style: int):
        super().__init__()
        self.first = self._block(channels, 1)
        self.second = self._block(channels, 9)
        self.last = spectral_norm(nn.Conv1d(channels, maps, 1))
        self.projection = spectral_norm(nn.Linear(style, channels, bias=False)) if style else None

    @staticmethod
    def _block(channels: int, kernel: int) -> nn.Sequential:
        convolution = nn.Conv1d(channels, channels, kernel, padding=kernel // 2, padding_mode="circular")
        return nn.Sequential(spectral_norm(convolution), LocalBatchNorm(channels), nn.LeakyReLU(0.2))

    def forward(self, x: Tensor, style: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self.first(x.flatten(2))
        x = (self.second(x) + x) / math.sqrt(2)
        return self.last(x) + _projected(x, self.projection, style), x
