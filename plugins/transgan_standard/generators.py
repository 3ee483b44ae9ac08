"""Generators for images: the ResNet of CycleGAN and the U-Net of pix2pix, with further options."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn

from transgan.api import Generator, NetworkSpec, Options, OptionsT, Tensor, UsageError
from transgan_standard.layers import (
    AffineWarp,
    BlurPool,
    DownsampleKind,
    Dropout,
    InitKind,
    Norm,
    NormKind,
    Residual,
    Styled,
    UpsampleKind,
    activations_at,
    convolution_has_bias,
    init_weights,
    last_of,
    run,
    two_axes,
    upsampling,
)
from transgan_standard.padding import Pad, PaddingKind

OutputKind = Literal["image", "edit", "residual", "linear"]


class Output(nn.Module):
    """Output layer: turns the last convolution's output d and the input x into an image with values in [-1, 1].

    - `image`: tanh(d), as CycleGAN and pix2pix.
    - `edit`: x + m (c - x), with colours c = tanh(d) and a mask m = sigmoid(d) from an additional channel (GANimation,
      Pumarola et al., 2018, eq. 1, with the mask inverted). The mask is initialised near 0.12.
    - `residual`: x + r - |r| x with r = tanh(d): moves x towards white (r > 0) or black (r < 0) by the share |r| of the
      distance. It is x where r is 0, reaches every value from every x, and stays within [-1, 1].
    - `linear`: d, for what is no image, such as the velocity of a flow; of any size.

    Args:
        spec: where the generator stands.

    Raises:
        UsageError: `edit` or `residual`, where a translation has other channels than its source.
    """

    def __init__(self, kind: OutputKind, spec: NetworkSpec):
        super().__init__()
        if kind in ("edit", "residual") and not spec.keeps_channels:
            raise UsageError(
                f'output = "{kind}" changes the input, which has {spec.source_channels} channels, and the output has '
                f'{spec.channels}; expected output = "image"'
            )
        self.kind = kind
        self.channels = spec.channels
        self.inputs = spec.channels + (kind == "edit")

    def init_weights(self, last: nn.Conv2d | nn.ConvTranspose2d) -> None:
        """Rescale the initial weights of the last convolution, so that `edit` and `residual` start near the input."""
        if self.kind in ("image", "linear") or last.bias is None:
            return
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias[self.channels :] = -2.0  # the mask's channel, where there is one

    def forward(self, d: Tensor, x: Tensor) -> Tensor:
        if self.kind == "linear":
            return d
        if self.kind == "image":
            return d.tanh()
        # The channels behind the image's are conditioning planes.
        x = x[:, : self.channels]
        if self.kind == "edit":
            return x + d[:, self.channels :].sigmoid() * (d[:, : self.channels].tanh() - x)
        d = d.tanh()
        return x + d - d.abs() * x


class ImageGenerator(Generator[OptionsT]):
    """Base class of generators whose activations are numbered, and whose last one `output` makes an image of."""

    channels_last = True
    output: Output

    def __init__(self, options: OptionsT, spec: NetworkSpec):
        super().__init__(options, spec)
        self.warp: AffineWarp | None = None

    def forward(
        self, x: Tensor, style: Tensor | None = None, layers: Sequence[int] | None = None
    ) -> Tensor | list[Tensor]:
        """Return the image; or, with `layers`, these activations, computed no further than needed.

        Args:
            x: (N, inputs, H, W).
            style: (N, S), or None where there is no style vector.
            layers: indices of activations, as the class numbers them.

        Raises:
            UsageError: there is no such activation.
        """
        if self.warp is not None:
            x = self.warp(x, style)
        if layers is not None:
            return activations_at(layers, self._activations(x, style))
        image: Tensor = self.output(last_of(self._activations(x, style)), x)
        return image

    def _activations(self, x: Tensor, style: Tensor | None) -> Iterator[Tensor]:
        """Yield the activations of x in order, each computed when it is taken."""
        raise NotImplementedError


class ResnetOptions(Options):
    """Options of the generator `resnet`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; each downsampling doubles them (1 or more)."""
    blocks: int = Field(9, ge=0, le=1000)
    """Number of residual blocks (0 or more); the reference has 9 for 256 pixels and 6 for 128."""
    downs: int = Field(2, ge=0, le=8)
    """Number of downsamplings by 2 before the residual blocks (0 to 8)."""
    norm: NormKind = "instance"
    """Normalisation after every convolution but the last: `instance`, `batch`, `group` (of 8 groups) or `none`."""
    affine: bool = False
    """Whether `instance` norm learns a scale and a shift of each channel, as StarGAN's does; CycleGAN's does not."""
    norm_first: bool = True
    """Whether the first convolution is normalised. With a `channel` conditioning choose `false`: instance norm after a
    convolution with reflection padding removes every constant plane completely."""
    padding: PaddingKind = "reflect"
    """Padding of the 7x7 convolutions and of the residual blocks: `reflect`, `zero` or `replicate`. All other
    convolutions pad with zeros, as in the reference."""
    upsample: UpsampleKind = "transposed"
    """Upsampling: `transposed` convolutions, as in the reference, or `nearest` or `bilinear` interpolation followed by
    a 3x3 convolution, which avoids chequerboard artefacts."""
    downsample: DownsampleKind = "strided"
    """Downsampling: `strided` convolutions, as in the reference, or `antialiased`, a convolution with stride 1 followed
    by a blur that keeps every second pixel (as in CUT; a step takes up to twice as long)."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Dropout probability within each residual block (0 to below 1)."""
    dropout_at_use: bool = False
    """Whether dropout stays on in translation, with one mask for all images; as in the generator `unet`."""
    depthwise: bool = False
    """Whether the residual blocks' convolutions are depthwise-separable. These then need about an eighth of the
    operations; on a CPU a narrow network takes about a fifth less time in all, a wide one less still."""
    init: InitKind = "normal"
    """Initial weights: `normal`, as the reference, or `xavier`, as in CUT."""
    output: OutputKind = "image"
    """What the network predicts: the `image`, an `edit` (new colours and a mask, which blends them with the input), a
    `residual` (a change of the input, bounded so that values stay within [-1, 1]), or numbers without bounds
    (`linear`), such as a velocity."""
    warp: bool = False
    """Whether each image is first moved, turned, scaled and sheared by an affine map that a small network predicts for
    it: for domains that differ in how their subjects lie in the frame. The map starts as the identity."""


class ResnetGenerator(ImageGenerator[ResnetOptions]):
    """The residual generator of CycleGAN (Zhu et al., 2017, section 7.2; Johnson et al., 2016).

    A 7x7 convolution, `downs` downsamplings, `blocks` residual blocks, as many upsamplings, a 7x7 convolution, tanh.
    With the default options it is the `resnet_9blocks` of the authors' PyTorch implementation, biases included; with
    `downsample = "antialiased"`, `upsample = "bilinear"` and `init = "xavier"` it is the generator of CUT (Park et al.,
    2020). A style vector, which the reference does not have, sets scale and shift after every norm.

    `forward(x, style)`: x (N, inputs, H, W), H and W multiples of `stride`; returns (N, channels, H, W) in [-1, 1].
    Activations are numbered as in CUT: 0 is the padded input, 4 the first downsampling, ...

    Raises:
        UsageError: samples are not images, or are too small for `downs`.
    """

    def __init__(self, options: ResnetOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        space = two_axes(spec, "resnet")
        if min(space) < 2 ** (options.downs + 1):
            raise UsageError(
                f"'resnet': {space[0]}x{space[1]} pixels are too few for downs = {options.downs}; choose fewer downs"
            )
        width, antialiased = options.width, options.downsample == "antialiased"
        bias = convolution_has_bias(options.norm, options.affine)

        def make_norm(channels: int) -> Norm:
            return Norm(options.norm, channels, spec.style, options.affine)

        def norm(channels: int) -> list[nn.Module]:
            return [make_norm(channels), nn.ReLU()]

        self.output = Output(options.output, spec)
        last = nn.Conv2d(width, self.output.inputs, 7)
        # One flat list in the reference's order, so that `layers` and the names of its weights have the same numbers.
        layers: list[nn.Module] = [
            Pad(3, options.padding),
            nn.Conv2d(spec.inputs, width, 7, bias=bias or not options.norm_first),
        ]
        layers += norm(width) if options.norm_first else [nn.Identity(), nn.ReLU()]
        for i in range(options.downs):
            channels = width * 2**i
            stride = 1 if antialiased else 2
            layers += [nn.Conv2d(channels, 2 * channels, 3, stride=stride, padding=1, bias=bias), *norm(2 * channels)]
            layers += [BlurPool()] if antialiased else []
        inner = width * 2**options.downs
        layers += [
            Residual(
                inner,
                make_norm,
                options.padding,
                bias,
                Dropout(options.dropout, options.dropout_at_use, seed),
                options.depthwise,
            )
            for seed in range(options.blocks)
        ]
        for i in reversed(range(options.downs)):
            channels = width * 2**i
            layers += [*upsampling(options.upsample, 2 * channels, channels, bias), *norm(channels)]
        layers += [Pad(3, options.padding), last]
        self.model = nn.ModuleList(layers)
        self.stride = 2**options.downs
        self.warp = AffineWarp(spec.inputs, options.width, spec.style) if options.warp else None
        init_weights(self, options.init)
        self.output.init_weights(last)
        if self.warp is not None:
            self.warp.init_weights()

    def _activations(self, x: Tensor, style: Tensor | None) -> Iterator[Tensor]:
        for layer in self.model:
            x = run(layer, x, style)
            yield x


class UnetOptions(Options):
    """Options of the generator `unet`."""

    width: int = Field(64, ge=1)
    """Channels of the outermost level; each level doubles them, up to 8 times as many (1 or more)."""
    downs: int | None = Field(None, ge=1, le=10)
    """Number of downsamplings by 2 (1 to 10); defaults to the most that the training size can be halved, at most 8."""
    norm: NormKind = "batch"
    """Normalisation between the outermost and the innermost level: `instance`, `batch`, `group` or `none`."""
    affine: bool = False
    """Whether `instance` norm learns a scale and a shift of each channel. It is then the batch norm of the reference,
    which trains and tests with a batch of 1."""
    dropout: float = Field(0.5, ge=0.0, lt=1.0)
    """Dropout probability in the decoder, at the levels from the fifth to the last but one: three of eight levels, none
    where there are fewer than six (0 to below 1)."""
    dropout_at_use: bool = False
    """Whether dropout stays on in translation: the paper's noise z. The reference draws a new mask for every image;
    here all images have the same one, so that a translation can be repeated."""
    upsample: UpsampleKind = "transposed"
    """Upsampling: `transposed` convolutions, as in the paper, or `nearest` or `bilinear` interpolation followed by a
    3x3 convolution, which avoids chequerboard artefacts."""
    init: InitKind = "normal"
    """Initial weights: `normal`, as the reference, or `xavier`, as in CUT."""
    output: OutputKind = "image"
    """What the network predicts: the `image`, an `edit` (new colours and a mask, which blends them with the input), a
    `residual` (a change of the input, bounded so that values stay within [-1, 1]), or numbers without bounds
    (`linear`), such as a velocity."""


class Down(Styled):
    """A level of the encoder: downsamples by 2."""

    def __init__(self, inputs: int, outputs: int, norm: Norm | None, outermost: bool, bias: bool):
        super().__init__()
        self.outermost = outermost
        self.conv = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=bias)
        self.norm = norm

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y: Tensor = self.conv(x if self.outermost else F.leaky_relu(x, 0.2))
        return y if self.norm is None else self.norm(y, style)


class Up(Styled):
    """A level of the decoder: upsamples by 2."""

    def __init__(
        self, inputs: int, outputs: int, norm: Norm | None, dropout: Dropout, upsample: UpsampleKind, bias: bool
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
        self.dropout = dropout

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        y = self.conv(self.resize(F.relu(x)))
        dropped: Tensor = self.dropout(y if self.norm is None else self.norm(y, style))
        return dropped


class UnetGenerator(ImageGenerator[UnetOptions]):
    """The U-Net of pix2pix (Isola et al., 2017, section 6.1.1): an encoder and a decoder with skip connections.

    With 8 or 7 downs and the default options it is `unet_256` or `unet_128` of the authors' PyTorch implementation.
    Differences: in evaluation mode dropout is off and batch norm uses its running statistics, as usual in PyTorch. The
    paper and the reference test as they train, with a batch of 1: that is `norm = "instance"` with `affine = true`, and
    `dropout_at_use = true`. Fewer downs are possible; a style vector, which the reference does not have, sets scale and
    shift after every norm.

    `forward(x, style)`: x (N, inputs, H, W), H and W multiples of `stride`; returns (N, channels, H, W) in [-1, 1].
    Activations: 0 is the input; 1 to n = `downs` are the encoder's levels, outermost first; n + 1 to 2n the decoder's,
    innermost first, without the channels of the skip connections.

    Raises:
        UsageError: samples are not images, or their size is odd.
    """

    def __init__(self, options: UnetOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        space = two_axes(spec, "unet")
        downs = options.downs or max((n for n in range(9) if not any(axis % 2**n for axis in space)), default=0)
        if not downs:
            raise UsageError(f"'unet': {space[0]}x{space[1]} pixels cannot be halved; choose an even size")
        bias = convolution_has_bias(options.norm, options.affine)
        widths = [options.width * min(2**i, 8) for i in range(downs)]

        def norm(channels: int) -> Norm:
            return Norm(options.norm, channels, spec.style, options.affine)

        self.output = Output(options.output, spec)
        last = self.output.inputs
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        for i, (outer, inner) in enumerate(zip([0, *widths], widths, strict=False)):
            outermost, innermost = i == 0, i == downs - 1
            down_norm = None if outermost or innermost else norm(inner)
            self.downs.append(Down(spec.inputs if outermost else outer, inner, down_norm, outermost, bias))
            inputs = inner if innermost else 2 * inner
            dropout = Dropout(options.dropout if i >= 4 and not innermost else 0.0, options.dropout_at_use, i)
            if outermost:
                outermost_up = Up(inputs, last, None, dropout, options.upsample, bias=True)
                self.ups.append(outermost_up)
            else:
                self.ups.append(Up(inputs, outer, norm(outer), dropout, options.upsample, bias))
        self.stride = 2**downs
        init_weights(self, options.init)
        self.output.init_weights(outermost_up.conv)

    def _activations(self, x: Tensor, style: Tensor | None) -> Iterator[Tensor]:
        levels = []
        yield x
        for down in self.downs:
            x = down(x, style)
            levels.append(x)
            yield x
        levels.pop()  # the innermost, which has no skip connection
        for up in reversed(list(self.ups)):
            x = up(x, style)
            yield x
            if levels:
                x = torch.cat([levels.pop(), x], 1)
