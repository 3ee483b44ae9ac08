"""A generator is a torch module that is told its options and the place where it will stand."""

from itertools import pairwise

from pydantic import Field
from torch import nn

from transgan.api import Generator, Options, Spec, Tensor


class RecolourOptions(Options):
    width: int = Field(16, ge=1)
    """Channels between the layers."""
    layers: int = Field(2, ge=1)
    """Hidden layers."""


class RecolourGenerator(Generator):
    """Gives every pixel a new colour, by its old one alone: nothing can move, and no shape can change."""

    Options = RecolourOptions

    def __init__(self, options: RecolourOptions, spec: Spec):
        super().__init__(options, spec)
        widths = [spec.inputs, *[options.width] * options.layers]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(options.width, spec.channels, 1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return y
