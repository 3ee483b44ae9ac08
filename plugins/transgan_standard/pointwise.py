"""The generator `pointwise`: every position by itself, such as a colour that becomes another one."""

from collections.abc import Iterator
from itertools import pairwise

import torch.nn.functional as F
from pydantic import Field
from torch import nn

from transgan.api import NetworkSpec, Options, Tensor
from transgan_standard.generators import ImageGenerator, Output, OutputKind
from transgan_standard.layers import FiLM, two_axes


class PointwiseOptions(Options):
    """Options of the generator `pointwise`."""

    width: int = Field(128, ge=1)
    """Channels of the hidden layers (1 or more)."""
    layers: int = Field(3, ge=1, le=100)
    """Number of hidden layers (1 or more)."""
    output: OutputKind = "image"
    """What the network predicts, as that of `resnet`."""


class Pointwise(ImageGenerator[PointwiseOptions]):
    """1x1 convolutions with SiLU: a perceptron of the channels, the same at every position.

    A style vector sets scale and shift of every hidden layer (Perez et al., 2018). Weights begin as PyTorch's do.

    `forward(x, style)`: x (N, inputs, H, W); returns (N, channels, H, W). Activations: 0 is the input, then the hidden
    layers, then the last convolution.

    Raises:
        UsageError: samples are not images, or `output` does not suit their channels.
    """

    def __init__(self, options: PointwiseOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        two_axes(spec, "pointwise")
        widths = [spec.inputs, *[options.width] * options.layers]
        self.hidden = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))
        self.films = nn.ModuleList(FiLM(spec.style, options.width) for _ in self.hidden if spec.style)
        self.output = Output(options.output, spec)
        self.last = nn.Conv2d(options.width, self.output.inputs, 1)
        self.output.init_weights(self.last)

    def _activations(self, x: Tensor, style: Tensor | None) -> Iterator[Tensor]:
        yield x
        for i, layer in enumerate(self.hidden):
            x = layer(x)
            x = F.silu(self.films[i](x, style) if self.films else x)
            yield x
        yield self.last(x)
