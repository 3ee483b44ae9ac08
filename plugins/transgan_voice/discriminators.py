"""Discriminators for voices: one logit for each patch of bands and frames, or of frames."""

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from transgan_standard.layers import run

from transgan.api import Discriminator, DiscriminatorOutput, NetworkSpec, Options, Tensor, UsageError
from transgan_voice.layers import Gated, Norms, VoiceNorm


class GatedPatchOptions(Options):
    """Options of the discriminator `gated_patch`."""

    width: int = Field(128, ge=1)
    """Channels of the first convolution (1 or more); the papers take 128."""
    layers: int = Field(3, ge=1, le=6)
    """Gated 3x3 convolutions with stride 2, each of which doubles the channels (1 to 6)."""
    norm: VoiceNorm = "instance"
    """Normalization of all layers but the first and the last: `instance`, `group` (of 8 groups) or `none`."""
    affine: bool = False
    """Whether `instance` norm learns a scale and a shift of each channel, as in CycleGAN-VC2 and MaskCycleGAN-VC."""
    spectral: bool = False
    """Whether weights are divided by their spectral norm (Miyato et al., 2018); then `norm = "none"` is usual."""
    classes: bool = False
    """Whether it also classifies the speaker (an auxiliary linear classifier of the mean of the last features).
    Instance norm removes much of that mean: `norm = "none"` is usual here."""


class GatedPatch(Discriminator[GatedPatchOptions]):
    """The 2-D gated PatchGAN of CycleGAN-VC2 (Kaneko et al., 2019, figure 3) and MaskCycleGAN-VC, with logits.

    A gated 3x3 convolution, `layers` gated 3x3 convolutions with stride 2, a gated 1x5 convolution, then a 1x3
    convolution to one logit at every position. With the default options it has the papers' widths (128, 256, 512,
    1024). A style vector, where there is one, is compared with the last features by projection (Miyato and Koyama,
    2018, eq. 3), position by position.

    Shapes: x (N, spec.inputs, T): the spectrum, behind it the second one that `given` adds, and the channels that
    conditionings add; each of them becomes a plane (channel of the 2-D convolutions).

    Raises:
        UsageError: samples do not have one axis, are too small for `layers`, or `classes` is set for a single domain.
    """

    channels_last = True

    def __init__(self, options: GatedPatchOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        if len(spec.space) != 1:
            raise UsageError(f"'gated_patch': samples have {len(spec.space)} axes; expected one, of frames")
        if options.classes and len(spec.domains) < 2:
            raise UsageError("'gated_patch': classes = true with one domain; expected two or more, or classes = false")
        self.bands = spec.channels
        spectra, extra = divmod(spec.inputs, spec.channels)
        remaining = [-(-axis // 2**options.layers) for axis in (self.bands, spec.space[0])]
        if options.norm == "instance" and max(remaining) < 2:
            raise UsageError(
                f"'gated_patch': {self.bands} bands and {spec.space[0]} frames are too few for "
                f"layers = {options.layers}; choose fewer layers"
            )
        width, norms = options.width, Norms(options.norm, options.affine)
        layers = [Gated(nn.Conv2d(spectra + extra, 2 * width, 3, padding=1), width)]
        for _ in range(options.layers):
            layers.append(Gated(nn.Conv2d(width, 4 * width, 3, 2, padding=1), 2 * width, norms))
            width *= 2
        layers.append(Gated(nn.Conv2d(width, 2 * width, (1, 5), padding=(0, 2)), width, norms))
        self.layers = nn.ModuleList(layers)
        self.last = nn.Conv2d(width, 1, (1, 3), padding=(0, 1))
        self.projection = nn.Linear(spec.style, width, bias=False) if spec.style else None
        self.classifier = nn.Linear(width, len(spec.domains)) if options.classes else None
        if options.spectral:
            for layer in list(self.modules()):
                if isinstance(layer, (nn.Conv2d, nn.Linear)):
                    spectral_norm(layer)

    def forward(self, x: Tensor, style: Tensor | None = None) -> DiscriminatorOutput:
        y = self._planes(x)
        features = []
        for layer in self.layers:
            y = run(layer, y, style)
            features.append(y)
        logits: Tensor = self.last(y)
        if self.projection is not None:
            if style is None:
                raise UsageError("a discriminator with a style vector was called without one")
            logits = logits + (y * self.projection(style)[:, :, None, None].to(y.dtype)).sum(1, keepdim=True)
        classes = None if self.classifier is None else self.classifier(y.mean((2, 3)))
        return DiscriminatorOutput([logits], classes, features)

    def _planes(self, x: Tensor) -> Tensor:
        """Return x as (N, planes, bands, T)."""
        count = x.shape[1] // self.bands * self.bands
        spectra = x[:, :count].reshape(len(x), -1, self.bands, x.shape[-1])
        extra = x[:, count:, None].expand(-1, -1, self.bands, -1)
        return torch.cat([spectra, extra], 1) if extra.shape[1] else spectra


class Patch1dOptions(Options):
    """Options of the discriminator `patch_1d`."""

    width: int = Field(64, ge=1)
    """Channels of the first convolution (1 or more)."""
    layers: int = Field(2, ge=0, le=6)
    """Convolutions with stride 2, each of which doubles the channels (0 to 6)."""
    kernel: int = Field(5, ge=1)
    """Kernel of these convolutions, in frames (odd)."""
    scales: int = Field(1, ge=1, le=5)
    """Number of networks, each of which gets the sequence at half the frames of the one before, averages of two (1 to
    5)."""
    norm: VoiceNorm = "none"
    """Normalization of all layers but the first and the last: `none`, `instance` or `group` (of 8 groups). Instance
    norm removes the mean level of each channel, which this discriminator is there to see."""
    spectral: bool = False
    """Whether weights are divided by their spectral norm (Miyato et al., 2018)."""


class Patch1d(Discriminator[Patch1dOptions]):
    """1-D convolutions over frames, with bands as channels, after that of Scyclone (Tanaka et al., 2020).

    A 2-D convolution treats all bands alike, so `gated_patch` hardly sees where on the frequency axis something is: a
    level of single bands that is wrong throughout. Here every band has weights of its own. A convolution, `layers`
    convolutions with stride 2, then a convolution of 3 frames to one logit at every position. `scales` are those of
    MelGAN (Kumar et al., 2019, section 2.2), on frames instead of samples of the wave. A style vector, where there is
    one, is compared with the last features by projection (Miyato and Koyama, 2018, eq. 3).

    Shapes: x (N, spec.inputs, T); logits (N, 1, T') for each scale, features of every layer and scale.

    Raises:
        UsageError: samples do not have one axis, have too few frames for `scales`, or the kernel is even.
    """

    def __init__(self, options: Patch1dOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        if len(spec.space) != 1:
            raise UsageError(f"'patch_1d': samples have {len(spec.space)} axes; expected one, of frames")
        if options.kernel % 2 == 0:
            raise UsageError(f"'patch_1d': kernel = {options.kernel}; expected an odd number of frames")
        if spec.space[0] < 2 ** (options.scales - 1):
            raise UsageError(
                f"'patch_1d': {spec.space[0]} frames are too few for scales = {options.scales}; choose fewer scales"
            )
        # The network of the first scale is the discriminator itself: so its weights have the names that they had before
        # there were others.
        _add_layers(self, options, spec)
        self.coarser = nn.ModuleList(_Convolutions(options, spec) for _ in range(options.scales - 1))

    def forward(self, x: Tensor, style: Tensor | None = None) -> DiscriminatorOutput:
        output = DiscriminatorOutput([])
        for scale in (self, *self.coarser):
            if output.logits:
                x = F.avg_pool1d(x, 2)
            logits, features = _convolved(scale, x, style)
            output.logits.append(logits)
            output.features.extend(features)
        return output


class _Convolutions(nn.Module):
    """The discriminator `patch_1d` at a further scale."""

    def __init__(self, options: Patch1dOptions, spec: NetworkSpec):
        super().__init__()
        _add_layers(self, options, spec)


def _add_layers(module: nn.Module, options: Patch1dOptions, spec: NetworkSpec) -> None:
    """Give a module the layers of `patch_1d` at one scale."""
    width, norms = options.width, Norms(options.norm)
    kernel, padding = options.kernel, options.kernel // 2
    module.convolutions = nn.ModuleList([nn.Conv1d(spec.inputs, width, kernel, padding=padding)])
    module.norms = nn.ModuleList([Norms("none")(width)])
    for _ in range(options.layers):
        module.convolutions.append(nn.Conv1d(width, 2 * width, kernel, 2, padding=padding))
        width *= 2
        module.norms.append(norms(width))
    module.last = nn.Conv1d(width, 1, 3, padding=1)
    module.add_module("projection", nn.Linear(spec.style, width, bias=False) if spec.style else None)
    if options.spectral:
        for layer in list(module.modules()):
            if isinstance(layer, (nn.Conv1d, nn.Linear)):
                spectral_norm(layer)


def _convolved(module: Any, x: Tensor, style: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    """Return the logits, and what each layer returns, of a module with these layers."""
    features = []
    for convolution, norm in zip(module.convolutions, module.norms, strict=True):
        x = F.leaky_relu(norm(convolution(x), style), 0.2)
        features.append(x)
    logits: Tensor = module.last(x)
    if module.projection is not None:
        if style is None:
            raise UsageError("a discriminator with a style vector was called without one")
        logits = logits + (x * module.projection(style)[:, :, None].to(x.dtype)).sum(1, keepdim=True)
    return logits, features
