"""Generators for pictures: the ResNet of CycleGAN and the U-Net of pix2pix, each with a few choices more."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from transgan.api import Generator, Options, Spec, Tensor, UsageError
from transgan_standard.layers import (
    PADS,
    BlurPool,
    Norm,
    NormKind,
    PaddingKind,
    Residual,
    Styled,
    UpsampleKind,
    convolution_has_bias,
    initialise,
    run,
    two_axes,
    upsampling,
)

OutputKind = Literal["image", "edit", "residual"]


class Output(nn.Module):
    """What the last convolution's numbers become: a picture with values in [-1, 1].

    - `image`: tanh(d), as CycleGAN and pix2pix.
    - `edit`: x + m (c - x), with a colour c = tanh(.) and a mask m = sigmoid(.) from one channel more (GANimation,
      Pumarola et al., 2018, eq. 1, with the mask the other way round). The mask starts near 0.12.
    - `residual`: x + d - |d| x with d = tanh(.): a step of share |d| from x towards white or black. It is x where d
      is 0, can reach every value from everywhere, and cannot leave [-1, 1].
    """

    def __init__(self, kind: OutputKind, channels: int):
        super().__init__()
        self.kind = kind
        self.channels = channels
        self.inputs = channels + (kind == "edit")

    def start(self, last: nn.Conv2d | nn.ConvTranspose2d) -> None:
        """Initialises the last convolution further, so that an edited picture starts near its input."""
        if self.kind == "image" or last.bias is None:
            return
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias[self.channels :] = -2.0  # the mask, where there is one

    def forward(self, d: Tensor, x: Tensor) -> Tensor:
        if self.kind == "image":
            return d.tanh()
        # Conditioning planes come behind the picture.
        x = x[:, : self.channels]
        if self.kind == "edit":
            return x + d[:, self.channels :].sigmoid() * (d[:, : self.channels].tanh() - x)
        d = d.tanh()
        return x + d - d.abs() * x


class ResnetOptions(Options):
    """Options of the generator `resnet`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; each halving of the size doubles them (1 or more)."""
    blocks: int = Field(9, ge=0)
    """Residual blocks (0 or more); the reference takes 9 for 256 pixels and 6 for 128."""
    downs: int = Field(2, ge=0, le=8)
    """How often the size is halved before the residual blocks (0 to 8)."""
    norm: NormKind = "instance"
    """Normalisation after every convolution but the last: `instance`, `batch`, `group` (of 8 groups) or `none`."""
    norm_first: bool = True
    """Whether the first convolution has a norm. With a `channel` conditioning choose `false`: behind reflection
    padding, instance norm removes every constant plane without a trace."""
    padding: PaddingKind = "reflect"
    """Border of the 7x7 convolutions and of the residual blocks: `reflect`, `zero` or `replicate`. The others always
    pad with zeros, as in the reference."""
    upsample: UpsampleKind = "transposed"
    """How the size doubles: `transposed`, as the reference, or `nearest` or `bilinear` and then a 3x3 convolution,
    which leave no chequerboards."""
    downsample: Literal["strided", "antialiased"] = "strided"
    """How the size halves: `strided`, as the reference, or `antialiased`, a blur before every second pixel is kept
    (as CUT; the convolution sees all pixels, so a step takes up to twice as long)."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of activations dropped within each residual block while training (0 to below 1)."""
    depthwise: bool = False
    """Whether the residual blocks' convolutions are depthwise-separable: about eight times less to compute there, which
    on a CPU saves a narrow network a fifth of its time, and a wide one more."""
    output: OutputKind = "image"
    """What the network returns: `image`, `edit` (its input where a mask that it makes is 0, new colours where it
    is 1) or `residual` (its input and a change that cannot leave the range)."""


class ResnetGenerator(Generator):
    """The residual generator of CycleGAN (Zhu et al., 2017, section 7.2; Johnson et al., 2016).

    A 7x7 convolution, `downs` halvings, `blocks` residual blocks, as many doublings, a 7x7 convolution, tanh. With the
    default options it is the authors' PyTorch implementation layer for layer, bias for bias (its `resnet_9blocks`);
    with `downsample = "antialiased"` and `upsample = "bilinear"` it is the generator of CUT (Park et al., 2020). What
    differs: a style vector, where there is one, sets scale and shift after every norm; and the options.
    """

    Options = ResnetOptions

    def __init__(self, options: ResnetOptions, spec: Spec):
        super().__init__(options, spec)
        space = two_axes(spec, "resnet")
        if min(space) < 2 ** (options.downs + 1):
            raise UsageError(f"'resnet': {space[0]}x{space[1]} pixels are too few for downs = {options.downs}")
        width, antialiased = options.width, options.downsample == "antialiased"
        bias = convolution_has_bias(options.norm)

        def norm(channels: int) -> list[nn.Module]:
            return [Norm(options.norm, channels, spec.style), nn.ReLU()]

        self.output = Output(options.output, spec.channels)
        pad = PADS[options.padding]
        last = nn.Conv2d(width, self.output.inputs, 7)
        # One flat list in the reference's order, so that `layers` and weights of the reference count as it does.
        layers: list[nn.Module] = [pad(3), nn.Conv2d(spec.inputs, width, 7, bias=bias or not options.norm_first)]
        layers += norm(width) if options.norm_first else [nn.Identity(), nn.ReLU()]
        for i in range(options.downs):
            here = width * 2**i
            stride = 1 if antialiased else 2
            layers += [nn.Conv2d(here, 2 * here, 3, stride=stride, padding=1, bias=bias), *norm(2 * here)]
            layers += [BlurPool()] if antialiased else []
        inner = width * 2**options.downs
        layers += [
            Residual(inner, options.norm, options.padding, spec.style, options.dropout, options.depthwise)
            for _ in range(options.blocks)
        ]
        for i in reversed(range(options.downs)):
            here = width * 2**i
            layers += [*upsampling(options.upsample, 2 * here, here, bias), *norm(here)]
        layers += [pad(3), last]
        self.model = nn.ModuleList(layers)
        self.stride = 2**options.downs
        initialise(self)
        self.output.start(last)

    def forward(
        self, x: Tensor, style: Tensor | None = None, layers: Sequence[int] | None = None
    ) -> Tensor | list[Tensor]:
        """The picture; or, with `layers`, the activations behind these layers, and nothing computed past the last.

        Layers are counted as CUT counts them: 0 is the padded input, 4 the first convolution with stride 2, ...
        """
        y = x
        kept: dict[int, Tensor] = {}
        for number, layer in enumerate(self.model):
            y = run(layer, y, style)
            if layers is not None and number in layers:
                kept[number] = y
                if len(kept) == len(set(layers)):
                    return [kept[wanted] for wanted in layers]
        if layers is not None:
            raise UsageError(f"'resnet' has layers 0 to {len(self.model) - 1}; asked for {list(layers)}")
        picture: Tensor = self.output(y, x)
        return picture


class UnetOptions(Options):
    """Options of the generator `unet`."""

    width: int = Field(64, ge=1)
    """Channels of the outermost level; each level doubles them, up to 8 times as many (1 or more)."""
    downs: int | None = Field(None, ge=1, le=10)
    """How often the size is halved (1 to 10); without it as often as the training size divides by 2, at most 8."""
    norm: NormKind = "batch"
    """Normalisation between the outermost and the innermost level: `instance`, `batch`, `group` or `none`."""
    dropout: float = Field(0.5, ge=0.0, lt=1.0)
    """Share of activations dropped while training, on the way up, at the levels between the fifth and the innermost:
    three of eight, none where there are fewer than six (0 to below 1)."""
    upsample: UpsampleKind = "transposed"
    """How the size is doubled: `transposed` as in the paper, or `nearest` or `bilinear` and then a 3x3 convolution,
    which leaves no chequerboard."""
    output: OutputKind = "image"
    """What the network returns: `image`, `edit` (its input where a mask that it makes is 0, new colours where it
    is 1) or `residual` (its input and a change that cannot leave the range)."""


class Down(Styled):
    """Halves the size, on the way in."""

    def __init__(self, inputs: int, outputs: int, norm: Norm | None, outermost: bool, bias: bool):
        super().__init__()
        self.outermost = outermost
        self.conv = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)
        self.norm = norm

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y: Tensor = self.conv(x if self.outermost else F.leaky_relu(x, 0.2))
        return y if self.norm is None else self.norm(y, style)


class Up(Styled):
    """Doubles the size, on the way out."""

    def __init__(
        self, inputs: int, outputs: int, norm: Norm | None, dropout: float, upsample: UpsampleKind, bias: bool
    ):
        super().__init__()
        self.resize: nn.Module = nn.Identity()
        self.conv: nn.Conv2d | nn.ConvTranspose2d
        if upsample == "transposed":
            self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)
        else:
            self.resize = nn.Upsample(scale_factor=2, mode=upsample)
            self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=bias)
        self.norm = norm
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y = self.conv(self.resize(F.relu(x)))
        dropped: Tensor = self.dropout(y if self.norm is None else self.norm(y, style))
        return dropped


class UnetGenerator(Generator):
    """The U-Net of pix2pix (Isola et al., 2017, section 6.1.1): every level of the way in is seen on the way out.

    With 8 or 7 downs and the default options it is the authors' PyTorch `unet_256` or `unet_128`. What differs:
    dropout and batch norm follow the module's mode as usual in PyTorch, so in evaluation nothing is dropped and batch
    norm uses its running statistics, where the paper keeps both as in training; fewer downs are possible; a style
    vector sets scale and shift after every norm.
    """

    Options = UnetOptions

    def __init__(self, options: UnetOptions, spec: Spec):
        super().__init__(options, spec)
        space = two_axes(spec, "unet")
        downs = options.downs or max((n for n in range(9) if not any(axis % 2**n for axis in space)), default=0)
        if not downs:
            raise UsageError(f"'unet' halves the size at least once, and {space[0]}x{space[1]} cannot be halved")
        bias = convolution_has_bias(options.norm)
        widths = [options.width * min(2**i, 8) for i in range(downs)]

        def norm(channels: int) -> Norm:
            return Norm(options.norm, channels, spec.style)

        self.output = Output(options.output, spec.channels)
        last = self.output.inputs
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        for i, (outer, inner) in enumerate(zip([0, *widths], widths, strict=False)):
            outermost, innermost = i == 0, i == downs - 1
            within = None if outermost or innermost else norm(inner)
            self.downs.append(Down(spec.inputs if outermost else outer, inner, within, outermost, bias))
            inputs = inner if innermost else 2 * inner
            dropout = options.dropout if i >= 4 and not innermost else 0.0
            if outermost:
                outermost_up = Up(inputs, last, None, 0.0, options.upsample, bias=True)
                self.ups.append(outermost_up)
            else:
                self.ups.append(Up(inputs, outer, norm(outer), dropout, options.upsample, bias))
        self.stride = 2**downs
        initialise(self)
        self.output.start(outermost_up.conv)

    def forward(
        self, x: Tensor, style: Tensor | None = None, layers: Sequence[int] | None = None
    ) -> Tensor | list[Tensor]:
        """The picture; or, with `layers`, the activations on the way in: 0 is the input, 1 the first level, ..."""
        levels = [x]
        for down in self.downs:
            if layers is not None and len(levels) > max(layers, default=0):
                break
            levels.append(down(levels[-1], style))
        if layers is not None:
            if not all(0 <= wanted < len(levels) for wanted in layers):
                raise UsageError(f"'unet' has layers 0 to {len(self.downs)}; asked for {list(layers)}")
            return [levels[wanted] for wanted in layers]
        y = levels.pop()
        for up in reversed(list(self.ups)):
            y = up(y, style)
            if up is not self.ups[0]:
                y = torch.cat([levels.pop(), y], 1)
        picture: Tensor = self.output(y, x)
        return picture
