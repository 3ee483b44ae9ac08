"""Discriminators for pictures that judge every patch, or every pixel, by itself."""

import torch.nn.functional as F
from pydantic import Field
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from transgan.api import Discriminator, DiscriminatorOutput, Options, Spec, Tensor, UsageError
from transgan_standard.layers import NormKind, convolution_has_bias, initialise, plain_norm, two_axes


class Judge(nn.Module):
    """A chain of convolutions with one logit at every position, and with a style its projection.

    The projection discriminator (Miyato and Koyama, 2018, eq. 3), position by position: to the logits comes the inner
    product of the last features with a linear map of the style, averaged over the window of the last convolution.
    """

    def __init__(self, inputs: int, widths: list[int], strides: list[int], kernel: int, norm: NormKind, style: int):
        super().__init__()
        self.kernel = kernel
        self.padding = (kernel - 1) // 2
        bias = convolution_has_bias(norm)
        self.layers = nn.ModuleList()
        for i, (before, after, stride) in enumerate(zip([inputs, *widths], widths, strides, strict=False)):
            conv = nn.Conv2d(before, after, kernel, stride, self.padding, bias=bias or i == 0)
            between = nn.Identity() if i == 0 else plain_norm(norm, after)
            self.layers.append(nn.Sequential(conv, between, nn.LeakyReLU(0.2)))
        self.last = nn.Conv2d(widths[-1], 1, kernel, 1, self.padding)
        self.projection = nn.Linear(style, widths[-1], bias=False) if style else None

    def forward(self, x: Tensor, style: Tensor | None) -> tuple[Tensor, list[Tensor]]:
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        logits: Tensor = self.last(x)
        if self.projection is not None:
            if style is None:
                raise UsageError("this discriminator was built for a style vector and was given none")
            product = (x * self.projection(style)[:, :, None, None].to(x.dtype)).sum(1, keepdim=True)
            logits = logits + F.avg_pool2d(product, self.kernel, 1, self.padding)
        return logits, features


def finish(network: nn.Module, spectral: bool) -> None:
    """Initialises a network and, where it is asked for, bounds its layers' largest singular value to 1."""
    initialise(network)
    if spectral:
        for layer in list(network.modules()):
            if isinstance(layer, (nn.Conv2d, nn.Linear)):
                spectral_norm(layer)


class PatchOptions(Options):
    """Options of the discriminator `patch`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; each layer doubles them, up to 8 times as many (1 or more)."""
    layers: int = Field(3, ge=1, le=8)
    """Convolutions with stride 2 (1 to 8). 3 see patches of 70x70 pixels, 2 of 34x34, 1 of 16x16 (kernel 4)."""
    kernel: int = Field(4, ge=2, le=7)
    """Size of the convolutions, in pixels (2 to 7)."""
    norm: NormKind = "instance"
    """Normalisation of all layers but the first and the last: `instance`, `batch`, `group` or `none`."""
    spectral: bool = False
    """Whether weights are divided by their spectral norm (Miyato et al., 2018); then `norm = "none"` is usual."""
    scales: int = Field(1, ge=1, le=5)
    """How many such networks judge, each a picture half the size of the one before (1 to 5)."""
    classes: bool = False
    """Whether it also tells the domains apart (an auxiliary classifier on the mean of the last features). Instance
    norm hides much of that mean: `norm = "none"` is usual here."""


class PatchDiscriminator(Discriminator):
    """The 70x70 PatchGAN of pix2pix (Isola et al., 2017, section 6.1.2), which judges overlapping patches.

    With the default options it is the authors' PyTorch implementation. Several scales are those of pix2pixHD (Wang et
    al., 2018, section 3.2), the classifier is that of StarGAN (Choi et al., 2018, eq. 2) on pooled features instead of
    a convolution as large as the map. What differs: a style vector, where there is one, is compared with the features
    by projection (Miyato and Koyama, 2018).
    """

    Options = PatchOptions

    def __init__(self, options: PatchOptions, spec: Spec):
        super().__init__(options, spec)
        if options.classes and len(spec.domains) < 2:
            raise UsageError("'patch' with classes = true tells domains apart, and there are fewer than two")
        widths = [options.width * min(2**i, 8) for i in range(options.layers + 1)]
        strides = [2] * options.layers + [1]
        self._check_size(options, two_axes(spec, "patch"))
        self.judges = nn.ModuleList(
            Judge(spec.inputs, widths, strides, options.kernel, options.norm, spec.style) for _ in range(options.scales)
        )
        self.classifier = nn.Linear(widths[-1], len(spec.domains)) if options.classes else None
        finish(self, options.spectral)

    @staticmethod
    def _check_size(options: PatchOptions, space: tuple[int, int]) -> None:
        """Refuses pictures of which nothing would be left, or one position, whose instance norm is always 0."""
        border = 2 * ((options.kernel - 1) // 2) - options.kernel
        for scale in range(options.scales):
            sizes = [(axis + 2**scale - 1) // 2**scale for axis in space]
            for stride in [2] * options.layers + [1]:
                sizes = [(size + border) // stride + 1 for size in sizes]
            left = [size + border + 1 for size in sizes]
            if min(left) < 1 or (options.norm == "instance" and max(sizes) < 2):
                raise UsageError(
                    f"'patch': {space[0]}x{space[1]} pixels are too few for layers = {options.layers}, "
                    f"kernel = {options.kernel}, scales = {options.scales}; choose fewer layers or scales"
                )

    def forward(self, x: Tensor, style: Tensor | None = None) -> DiscriminatorOutput:
        output = DiscriminatorOutput([])
        last: list[Tensor] = []
        for judge in self.judges:
            if output.logits:
                x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            logits, features = judge(x, style)
            output.logits.append(logits)
            output.features.extend(features)
            last.append(features[-1])
        if self.classifier is None:
            return output
        classes = self.classifier(last[0].mean((2, 3)))
        return DiscriminatorOutput(output.logits, classes, output.features)


class PixelOptions(Options):
    """Options of the discriminator `pixel`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution; the second has twice as many (1 or more)."""
    norm: NormKind = "instance"
    """Normalisation of the second convolution: `instance`, `batch`, `group` or `none`."""
    spectral: bool = False
    """Whether weights are divided by their spectral norm (Miyato et al., 2018)."""


class PixelDiscriminator(Discriminator):
    """The 1x1 PixelGAN of pix2pix (Isola et al., 2017, section 6.1.2): it judges colours, not shapes.

    As the authors' PyTorch implementation, but that the last convolution always has a bias; a style vector comes in by
    projection, as in `patch`.
    """

    Options = PixelOptions

    def __init__(self, options: PixelOptions, spec: Spec):
        super().__init__(options, spec)
        two_axes(spec, "pixel")
        self.judge = Judge(spec.inputs, [options.width, 2 * options.width], [1, 1], 1, options.norm, spec.style)
        finish(self, options.spectral)

    def forward(self, x: Tensor, style: Tensor | None = None) -> DiscriminatorOutput:
        logits, features = self.judge(x, style)
        return DiscriminatorOutput([logits], features=features)
