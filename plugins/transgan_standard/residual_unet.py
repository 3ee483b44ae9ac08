"""The generator `residual_unet`: a U-Net of residual blocks, that of diffusion models without attention."""

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from transgan.api import NetworkSpec, Options, Tensor, UsageError
from transgan_standard.generators import ImageGenerator, Output, OutputKind
from transgan_standard.layers import AffineWarp, FiLM, Norm, Styled, plain_norm, two_axes


class ResidualUnetOptions(Options):
    """Options of the generator `residual_unet`."""

    width: int = Field(32, ge=1)
    """Channels of the outermost level (1 or more); group norm has 8 groups where they divide it."""
    factors: list[int] = Field([1, 2, 4, 6, 6], min_length=2)
    """Channels of each level as multiples of `width`, outermost first. Each level but the first has half the size of
    the one before."""
    blocks: int = Field(1, ge=1)
    """Residual blocks of each level, on the way down and on the way up (1 or more)."""
    output: OutputKind = "residual"
    """What the network predicts, as that of `unet`. `residual` starts as the identity."""
    warp: bool = False
    """Whether each image is first moved, turned, scaled and sheared by an affine map that a small network predicts for
    it: for domains that differ in how their subjects lie in the frame. The map starts as the identity."""


class StyledBlock(Styled):
    """Residual block of two convolutions with group norm and SiLU, the first norm adaptive.

    `forward(x, style)`: x (N, inputs, H, W); returns (N, outputs, H, W). The skip is a 1x1 convolution where the
    channels change.
    """

    def __init__(self, inputs: int, outputs: int, style: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.first_norm = Norm("group", outputs, style, affine=True)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.second_norm = plain_norm("group", outputs, affine=True)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y = F.silu(self.first_norm(self.first(x), style))
        y = F.silu(self.second_norm(self.second(y)))
        added: Tensor = self.skip(x) + y
        return added


class ResidualUnet(ImageGenerator[ResidualUnetOptions]):
    """A U-Net of residual blocks (after Ho et al., 2020, appendix B, and Dhariwal & Nichol, 2021, without attention).

    Levels are halved by mean pooling and doubled by nearest-neighbour interpolation; the style vector sets scale and
    shift after the first norm of each block. The last convolution starts at zero: with `output = "residual"` the
    network is the identity before training.

    `forward(x, style)`: x (N, inputs, H, W), H and W multiples of `stride`; returns (N, channels, H, W) in [-1, 1].
    Activations: 0 is the input, warped where `warp` is on; 1 to n are the levels on the way down, outermost first;
    n + 1 to 2n - 1 those on the way up, innermost first; 2n is the last convolution.

    Raises:
        UsageError: samples are not images, or `output` does not suit their channels.
    """

    def __init__(self, options: ResidualUnetOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        two_axes(spec, "residual_unet")
        if min(options.factors) < 1:
            raise UsageError(f"'residual_unet': factors = {options.factors}; expected numbers of at least 1")
        widths = [options.width * factor for factor in options.factors]
        self.stride = 2 ** (len(widths) - 1)
        self.warp = AffineWarp(spec.inputs, options.width, spec.style) if options.warp else None
        self.stem = nn.Conv2d(spec.inputs, widths[0], 3, padding=1)

        def level(inputs: int, outputs: int) -> nn.ModuleList:
            sides = [inputs, *[outputs] * options.blocks]
            return nn.ModuleList(StyledBlock(a, b, spec.style) for a, b in pairwise(sides))

        self.downs = nn.ModuleList(level(a, b) for a, b in pairwise([widths[0], *widths]))
        pairs = reversed(list(pairwise(widths)))
        self.ups = nn.ModuleList(level(inner + outer, outer) for outer, inner in pairs)
        self.output = Output(options.output, spec)
        self.last = nn.Conv2d(widths[0], self.output.inputs, 3, padding=1)
        for layer in self.modules():
            if isinstance(layer, FiLM):
                layer.init_weights()
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)
        self.output.init_weights(self.last)
        if self.warp is not None:
            self.warp.init_weights()

    def _activations(self, x: Tensor, style: Tensor | None) -> Iterator[Tensor]:
        yield x
        x = self.stem(x)
        levels = []
        for i, blocks in enumerate(self.downs):
            x = F.avg_pool2d(x, 2) if i else x
            x = _through(blocks, x, style)
            levels.append(x)
            yield x
        levels.pop()  # the innermost, which has no skip connection
        for blocks in self.ups:
            x = torch.cat([F.interpolate(x, scale_factor=2.0), levels.pop()], 1)
            x = _through(blocks, x, style)
            yield x
        yield self.last(x)


def _through(blocks: nn.Module, x: Tensor, style: Tensor | None) -> Tensor:
    assert isinstance(blocks, nn.ModuleList)
    for block in blocks:
        x = block(x, style)
    return x
