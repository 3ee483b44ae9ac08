"""Fully convolutional discriminators for images: a logit for every patch, or for every pixel."""

from collections.abc import Collection
from dataclasses import replace

import torch.nn.functional as F
from pydantic import Field
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from transgan.api import Discriminator, DiscriminatorOutput, NetworkSpec, Options, Tensor, UsageError
from transgan_standard.layers import (
    BlurPool,
    DownsampleKind,
    InitKind,
    NormKind,
    convolution_has_bias,
    init_weights,
    plain_norm,
    split_label_maps,
    two_axes,
)


class ConvStack(nn.Module):
    """A stack of convolutions with logits at every position, and projection where there is a style vector.

    `forward(x, style)` returns the logits, (N, maps, H', W'), and the features of each layer. Projection (Miyato and
    Koyama, 2018, eq. 3) is applied at every position: it adds the inner product of the last features with a linear map
    of the style, averaged over the window of the last convolution.

    Args:
        inputs: channels of the input.
        widths: channels of each layer.
        strides: stride of each layer.
        affine: whether instance norm learns a scale and a shift.
        style: length of the style vector; 0 for none.
        antialiased: whether a blur after the layer keeps every second pixel, in place of a stride of 2.
        maps: number of logits at every position.
        padding: of every convolution; None for half of the kernel.
    """

    def __init__(
        self,
        inputs: int,
        widths: list[int],
        strides: list[int],
        kernel: int,
        norm: NormKind,
        affine: bool,
        style: int,
        antialiased: bool = False,
        maps: int = 1,
        padding: int | None = None,
    ):
        super().__init__()
        self.kernel = kernel
        self.padding = (kernel - 1) // 2 if padding is None else padding
        bias = convolution_has_bias(norm, affine)
        self.layers = nn.ModuleList()
        for i, (before, after, stride) in enumerate(zip([inputs, *widths], widths, strides, strict=False)):
            blur = [BlurPool()] if antialiased and stride == 2 else []
            conv = nn.Conv2d(before, after, kernel, 1 if blur else stride, self.padding, bias=bias or i == 0)
            between = nn.Identity() if i == 0 else plain_norm(norm, after, affine)
            self.layers.append(nn.Sequential(conv, between, nn.LeakyReLU(0.2), *blur))
        self.last = nn.Conv2d(widths[-1], maps, kernel, 1, self.padding)
        self.projection = nn.Linear(style, widths[-1], bias=False) if style else None

    def forward(self, x: Tensor, style: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        logits: Tensor = self.last(x)
        if self.projection is not None:
            if style is None:
                raise UsageError(
                    "this discriminator was built with a style vector, and got style = None; pass a style vector"
                )
            product = (x * self.projection(style)[:, :, None, None].to(x.dtype)).sum(1, keepdim=True)
            logits = logits + F.avg_pool2d(product, self.kernel, 1, self.padding)
        return logits, features


def init_and_normalise(network: nn.Module, spectral: bool, kind: InitKind = "normal") -> None:
    """Initialise a network and, where `spectral`, add spectral normalisation to its convolutions and linear layers."""
    init_weights(network, kind)
    if spectral:
        for layer in list(network.modules()):
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                spectral_norm(layer)


class PatchOptions(Options):
    """Options of the discriminator `patch`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; each layer doubles them, up to 8 times as many (1 or more)."""
    layers: int = Field(3, ge=1, le=8)
    """Number of convolutions with stride 2 (1 to 8). With `kernel = 4` the receptive field of a logit is 70x70 pixels
    for 3, 34x34 for 2 and 16x16 for 1."""
    kernel: int = Field(4, ge=2, le=7)
    """Kernel size of the convolutions, in pixels (2 to 7)."""
    padding: int | None = Field(None, ge=0, le=3)
    """Padding of the convolutions, in pixels (0 to 3); by default (kernel - 1) / 2, rounded down. pix2pixHD has 2."""
    norm: NormKind = "instance"
    """Normalisation of all layers but the first and the last: `instance`, `batch`, `group` or `none`."""
    affine: bool = False
    """Whether `instance` norm learns a scale and a shift of each channel. It is then the batch norm of pix2pix, which
    trains with a batch of 1."""
    spectral: bool = False
    """Spectral normalisation of all weights (Miyato et al., 2018); usually with `norm = "none"`."""
    downsample: DownsampleKind = "strided"
    """Downsampling: `strided` convolutions, as in the reference, or `antialiased`, a convolution with stride 1 followed
    by a blur that keeps every second pixel (as in CUT; a pass takes several times as long)."""
    init: InitKind = "normal"
    """Initial weights: `normal`, as the reference, or `xavier`, as in CUT."""
    scales: int = Field(1, ge=1, le=5)
    """Number of networks, each of which gets the image at half the size of the one before (1 to 5)."""
    classes: bool = False
    """Add a class head, which classifies domains from the mean of the last features. Instance norm removes much of that
    mean: `norm = "none"` is usual here."""
    label_maps: bool = False
    """One map of logits for each domain, of which that of the domain to check is used, and one for each value of the
    labels in `keep`: a discriminator of all domains (`per = "run"`) with shared layers."""
    kept_weight: float = Field(0.5, ge=0)
    """With `label_maps`, what each kept label counts in adversarial losses, where the domain counts 1 (0 or more)."""


class PatchDiscriminator(Discriminator[PatchOptions]):
    """The 70x70 PatchGAN of pix2pix (Isola et al., 2017, section 6.1.2): logits of overlapping patches.

    With the default options it is the authors' PyTorch implementation, with `downsample = "antialiased"` and
    `init = "xavier"` the discriminator of CUT (Park et al., 2020). `scales` are those of pix2pixHD (Wang et al., 2018,
    section 3.2); the class head is that of StarGAN (Choi et al., 2018, eq. 2), on pooled features instead of a
    convolution as large as the feature map. A style vector, which the reference does not have, enters by projection
    (Miyato and Koyama, 2018).

    A stage may leave the networks of the largest scales out, `conditions = { first_scale = 1 }`: the others then get
    the image at the size that it has there, half of what it will be, so that each stays at its own resolution.

    `forward(x, style, domain, kept, first_scale)`: x (N, inputs, H, W); logits (N, 1, H', W') for each scale, class
    logits (N, number of domains) of the largest scale, features of every layer and scale; with `label_maps` domain (N,)
    and kept (N, K), or None, and the logits of K values for each scale.

    Raises:
        UsageError: samples are not images, or are too small for the layers; `classes` with fewer than two domains.
    """

    channels_last = True

    @classmethod
    def unused_conditions(cls, options: PatchOptions) -> Collection[str]:
        return () if options.label_maps else ("domain", "kept")

    def __init__(self, options: PatchOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        if options.classes and len(spec.domains) < 2:
            raise UsageError(
                f"'patch': classes = true needs at least 2 domains, found {len(spec.domains)}; set classes = false"
            )
        widths = [options.width * min(2**i, 8) for i in range(options.layers + 1)]
        strides = [2] * options.layers + [1]
        self._check_size(options, two_axes(spec, "patch"))
        self.domains, self.kept_weight = len(spec.domains), options.kept_weight
        self.label_maps = options.label_maps
        self.scales = nn.ModuleList(
            ConvStack(
                spec.inputs,
                widths,
                strides,
                options.kernel,
                options.norm,
                options.affine,
                spec.style,
                options.downsample == "antialiased",
                self.domains + spec.attributes.get("kept", 0) if options.label_maps else 1,
                options.padding,
            )
            for _ in range(options.scales)
        )
        self.classifier = nn.Linear(widths[-1], len(spec.domains)) if options.classes else None
        init_and_normalise(self, options.spectral, options.init)

    @staticmethod
    def _check_size(options: PatchOptions, space: tuple[int, int]) -> None:
        """Raise UsageError for images so small that no position remains, or one, whose instance norm is always 0."""
        padding = (options.kernel - 1) // 2 if options.padding is None else options.padding
        border = 2 * padding - options.kernel
        for scale in range(options.scales):
            sizes = [(axis + 2**scale - 1) // 2**scale for axis in space]
            unblurred = 2  # the least size before a blur, which pads by reflection
            for stride in [2] * options.layers + [1]:
                if options.downsample == "antialiased" and stride == 2:
                    unblurred = min(unblurred, *(size + border + 1 for size in sizes))
                sizes = [(size + border) // stride + 1 for size in sizes]
            positions = [size + border + 1 for size in sizes]
            if min(positions) < 1 or unblurred < 2 or (options.norm == "instance" and max(sizes) < 2):
                raise UsageError(
                    f"'patch': {space[0]}x{space[1]} pixels are too few for layers = {options.layers}, "
                    f"kernel = {options.kernel}, scales = {options.scales}; choose fewer layers or scales"
                )

    def forward(
        self,
        x: Tensor,
        style: Tensor | None = None,
        domain: Tensor | None = None,
        kept: Tensor | None = None,
        first_scale: int = 0,
    ) -> DiscriminatorOutput:
        if not 0 <= first_scale < len(self.scales):
            raise UsageError(
                f"first_scale = {first_scale}: expected 0 to {len(self.scales) - 1}, since 'patch' has scales"
            )
        output = DiscriminatorOutput([], kept=None if kept is None else self.kept_weight * kept)
        last: list[Tensor] = []
        for discriminator in list(self.scales)[first_scale:]:
            if output.logits:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            logits, features = discriminator(x, style)
            if self.label_maps:
                logits, kept_logits = split_label_maps(logits, domain, kept, self.domains)
                output.kept_logits.extend([] if kept_logits is None else [kept_logits])
            output.logits.append(logits)
            output.features.extend(features)
            last.append(features[-1])
        return (
            output if self.classifier is None else replace(output, class_logits=self.classifier(last[0].mean((2, 3))))
        )


class PixelOptions(Options):
    """Options of the discriminator `pixel`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; the second has twice as many (1 or more)."""
    norm: NormKind = "instance"
    """Normalisation of the second convolution: `instance`, `batch`, `group` or `none`."""
    affine: bool = False
    """Whether `instance` norm learns a scale and a shift of each channel."""
    spectral: bool = False
    """Spectral normalisation of all weights (Miyato et al., 2018)."""


class PixelDiscriminator(Discriminator[PixelOptions]):
    """The 1x1 PixelGAN of pix2pix (Isola et al., 2017, section 6.1.2): a logit of each pixel's colour, blind to shapes.

    As the authors' PyTorch implementation, except that the last convolution always has a bias. A style vector enters
    by projection, as in `patch`.

    `forward(x, style)`: x (N, inputs, H, W); one scale of logits, (N, 1, H, W), and the features of both layers.

    Raises:
        UsageError: samples are not images.
    """

    channels_last = True

    def __init__(self, options: PixelOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        two_axes(spec, "pixel")
        widths = [options.width, 2 * options.width]
        self.discriminator = ConvStack(spec.inputs, widths, [1, 1], 1, options.norm, options.affine, spec.style)
        init_and_normalise(self, options.spectral)

    def forward(self, x: Tensor, style: Tensor | None = None) -> DiscriminatorOutput:
        logits, features = self.discriminator(x, style)
        return DiscriminatorOutput([logits], features=features)
