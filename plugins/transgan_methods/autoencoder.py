"""Encoders and decoders of MUNIT and UNIT."""

import torch
import torch.nn.functional as F
from torch import nn
from transgan_standard.layers import two_axes
from transgan_standard.norms import InstanceNorm, sample_norm
from transgan_standard.padding import Conv2d

from transgan.api import NetworkSpec, Tensor, UsageError


class LayerNorm(nn.Module):
    """Normalisation of each sample over all its channels and positions, with a scale and shift of each channel."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(channels))  # as in the authors' code
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return sample_norm(x, self.weight, self.bias)


class AdaptiveResidual(nn.Module):
    """A residual block whose instance norms get scale and shift from outside: `forward(x, (N, 4 C))`."""

    def __init__(self, channels: int):
        super().__init__()
        self.first = Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.second = Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.norm = InstanceNorm()

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        scale, shift, other_scale, other_shift = modulation[..., None, None].to(x.dtype).chunk(4, 1)
        y = F.relu(self.norm(self.first(x)) * scale + shift)
        change: Tensor = self.norm(self.second(y)) * other_scale + other_shift
        return x + change


class Residual(nn.Module):
    """A residual block with instance norm: `forward(x)`."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            InstanceNorm(),
            nn.ReLU(),
            Conv2d(channels, channels, 3, padding=1, padding_mode="reflect"),
            InstanceNorm(),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


class ContentEncoder(nn.Module):
    """A 7x7 convolution, downsamplings by 4x4 convolutions, residual blocks, all with instance norm.

    `forward(x)`: (N, C, H, W) to (N, width 2^downs, H / 2^downs, W / 2^downs).

    Raises:
        UsageError: samples are not images, or too small.
    """

    def __init__(self, name: str, spec: NetworkSpec, width: int, downs: int, blocks: int):
        super().__init__()
        space = two_axes(spec, name)
        if min(space) < 2 ** (downs + 1):
            raise UsageError(f"'{name}': {space[0]}x{space[1]} are too few for downs = {downs}; choose fewer downs")
        layers: list[nn.Module] = [
            Conv2d(spec.inputs, width, 7, padding=3, padding_mode="reflect"),
            InstanceNorm(),
            nn.ReLU(),
        ]
        for i in range(downs):
            channels = width * 2**i
            conv = Conv2d(channels, 2 * channels, 4, 2, padding=1, padding_mode="reflect")
            layers += [conv, InstanceNorm(), nn.ReLU()]
        self.layers = nn.Sequential(*layers, *(self.block(width * 2**downs) for _ in range(blocks)))
        init_kaiming(self)

    @staticmethod
    def block(channels: int) -> nn.Module:
        """Return a residual block."""
        block = Residual(channels)
        init_kaiming(block)
        return block

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


class StyleEncoder(nn.Module):
    """Convolutions without norm, which would remove the style; the mean over positions; a linear map.

    `forward(x)`: (N, C, H, W) to (N, numbers).
    """

    def __init__(self, inputs: int, width: int, downs: int, numbers: int):
        super().__init__()
        layers: list[nn.Module] = [Conv2d(inputs, width, 7, padding=3, padding_mode="reflect"), nn.ReLU()]
        channels = width
        for i in range(downs):
            after = width * min(2 ** (i + 1), 4)
            layers += [Conv2d(channels, after, 4, 2, padding=1, padding_mode="reflect"), nn.ReLU()]
            channels = after
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, numbers, 1), nn.Flatten())
        init_kaiming(self)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y


class ContentDecoder(nn.Module):
    """Residual blocks, upsamplings by 2 with a 5x5 convolution and layer norm, a 7x7 convolution, tanh.

    `forward(content, code)`: the blocks' norms are set by the code (N, numbers), through two hidden layers. With
    `numbers = 0` there is no code, and they are plain instance norms.
    """

    def __init__(self, channels: int, width: int, downs: int, blocks: int, numbers: int, hidden: int):
        super().__init__()
        inner = width * 2**downs
        self.blocks = nn.ModuleList([AdaptiveResidual(inner) if numbers else Residual(inner) for _ in range(blocks)])
        layers: list[nn.Module] = []
        for i in reversed(range(downs)):
            after = width * 2**i
            conv = Conv2d(2 * after, after, 5, padding=2, padding_mode="reflect")
            layers += [nn.Upsample(scale_factor=2), conv, LayerNorm(after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, Conv2d(width, channels, 7, padding=3, padding_mode="reflect"), nn.Tanh())
        self.modulation: nn.Module | None = None
        if numbers:
            first, second = nn.Linear(numbers, hidden), nn.Linear(hidden, hidden)
            last = nn.Linear(hidden, blocks * 4 * inner)
            self.modulation = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), last)
        init_kaiming(self)

    def forward(self, x: Tensor, code: Tensor | None) -> Tensor:
        if self.modulation is None:
            for block in self.blocks:
                x = block(x)
        else:
            modulations = self.modulation(code).chunk(max(1, len(self.blocks)), 1)
            for block, modulation in zip(self.blocks, modulations, strict=False):
                x = block(x, modulation)
        y: Tensor = self.layers(x)
        return y


def init_kaiming(network: nn.Module) -> None:
    """Initialise convolutions and linear layers as MUNIT's generators: He normal, fan-in; biases 0."""
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, a=0, mode="fan_in")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
