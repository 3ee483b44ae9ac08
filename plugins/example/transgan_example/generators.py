"""A generator: a torch module that is built from its options and a `NetworkSpec`."""

from itertools import pairwise

from pydantic import Field
from torch import nn

from transgan.api import Generator, NetworkSpec, Options, Tensor


class RecolourOptions(Options):
    width: int = Field(16, ge=1)
    """Channels of the hidden layers (1 or more)."""
    layers: int = Field(2, ge=1, le=1000)
    """Number of hidden layers (1 or more)."""


class RecolourGenerator(Generator[RecolourOptions]):
    """Maps every pixel's colour to a new one by 1x1 convolutions, so that shapes cannot change.

    `forward(x)`: x (N, inputs, H, W); returns (N, channels, H, W) in [-1, 1].
    """

    def __init__(self, options: RecolourOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        widths = [spec.inputs, *[options.width] * options.layers]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(options.width, spec.channels, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y
