"""Generators for voices: from frames of one speaker to as many frames of another, for any number of frames."""

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn
from transgan_standard.layers import activations_at, last_of, run
from typing_extensions import TypeVar

from transgan.api import Domain, Generator, NetworkSpec, Options, Tensor, Translation, UsageError
from transgan_voice.initialization import MapKind, starts_of
from transgan_voice.kernel import CENTRES, gaussians
from transgan_voice.layers import (
    Gated,
    GatedResidual,
    LeakyResidual,
    Norms,
    VoiceNorm,
    init_styles,
    pad_frames,
    without_autocast,
)
from transgan_voice.matching import CONTEXT
from transgan_voice.windows import cross_fade, cut


class VoiceGeneratorOptions(Options):
    """Options of every generator for voices."""

    start: MapKind = "none"
    """The initialization: a map, fitted in closed form before training, to whose output the network adds its own.
    `none`; `mean_variance` (the input itself, which is normalized by speaker); `transport` (Gaussian optimal
    transport); `warp_transport` (vocal-tract-length warp, then transport); `matching` (that, improved by INCA, then
    kernel ridge regression on the pairs of nearest frames: a nonlinear map of a frame and its neighbours). The last
    three need `nodes = "voice_translation"`."""
    start_trains: bool = False
    """Whether the map's weights are trained with the network; otherwise they stay as fitted."""


VoiceOptionsT = TypeVar("VoiceOptionsT", bound=VoiceGeneratorOptions, default=VoiceGeneratorOptions)


class VoiceGenerator(Generator[VoiceOptionsT]):
    """Base class of generators for voices: y = z + f(z), with a closed-form map z of x and a network f; or y = f(x).

    The map depends on the pair of speakers: z = W x + s from source to target speaker, for `matching` plus radial basis
    functions of x and its neighbours; z = x where both are the same, so that an identity loss trains f alone. f is near
    zero before training. The map is fitted before the first step (`transgan_voice.initialization`) and saved with the
    weights.

    f is trained on crops of `spec.space` frames, and its norms and its padding depend on their number. So of more
    frames it is computed in windows of that many, which overlap by half and are cross-faded, as the media cuts
    recordings to translate: the same function of a sound in training, evaluation and translation, whatever its length.

    Shapes: x (N, spec.inputs, T), the features first, then the channels that conditionings add; mask (N, 1, T), 0 where
    frames were removed; domain and origin (N,) indices of the target and the source speaker; style (N, spec.style);
    y (N, spec.channels, T).

    Raises:
        UsageError: samples do not have one axis, or a map is called without `domain` and `origin`.
    """

    channels_last = True

    def __init__(self, options: VoiceOptionsT, spec: NetworkSpec):
        super().__init__(options, spec)
        if len(spec.space) != 1:
            raise UsageError(f"generators for voices: samples have {len(spec.space)} axes; expected one, of frames")
        self.bands = spec.channels
        self.window = spec.space[0]
        self.speakers = spec.domains
        self.kind: MapKind = options.start
        if self.has_map:
            # Rows are speakers, not pairs: see `transgan_voice.initialization.Starts`.
            speakers = len(spec.domains)
            self.stages = 1 if speakers < 3 else 2
            maps = torch.zeros(self.stages, speakers, self.bands, self.bands)
            maps.diagonal(dim1=2, dim2=3).fill_(1.0)  # torch.eye takes seconds on the meta device
            shifts = torch.zeros(self.stages, speakers, self.bands, 1)
            self.maps: Tensor = nn.Parameter(maps) if options.start_trains else nn.Buffer(maps)
            self.shifts: Tensor = nn.Parameter(shifts) if options.start_trains else nn.Buffer(shifts)
            self.hub = nn.Buffer(torch.zeros((), dtype=torch.long))
        if self.has_basis:
            self.centres = nn.Buffer(torch.zeros(speakers, CENTRES, len(CONTEXT) * self.bands))
            self.widths = nn.Buffer(torch.ones(speakers))
            weights = torch.zeros(self.stages, speakers, self.bands, CENTRES)
            self.weights: Tensor = nn.Parameter(weights) if options.start_trains else nn.Buffer(weights)

    @property
    def has_map(self) -> bool:
        """Whether there is a map other than the identity."""
        return self.kind not in ("none", "mean_variance")

    @property
    def has_basis(self) -> bool:
        """Whether the map has radial basis functions."""
        return self.kind == "matching"

    def init_weights(self, last: nn.Conv1d | nn.Conv2d) -> None:
        """Initialize the style layers and, where the output is added to a map's, the last convolution near zero."""
        init_styles(self)
        if self.kind != "none":
            with torch.no_grad():
                last.weight.mul_(0.01)
                assert last.bias is not None
                last.bias.zero_()

    @torch.no_grad()
    def init_from_data(self, domains: Mapping[str, Domain], translations: Sequence[Translation]) -> None:
        """Fit the maps between all pairs of speakers in `translations`."""
        if not self.has_map:
            return
        pairs = {
            (a, b)
            for t in translations
            for a in _expand(t.source, self.speakers)
            for b in _expand(t.target, self.speakers)
        }
        starts = starts_of(domains, self.speakers, pairs, self.kind)
        self.hub.fill_(self.speakers.index(starts.hub))
        for stage, maps in enumerate(starts.stages):
            for name, fitted in maps.items():
                row = self.speakers.index(name)
                self.maps[stage, row].copy_(torch.as_tensor(fitted.matrix))
                self.shifts[stage, row].copy_(torch.as_tensor(fitted.shift)[:, None])
                if fitted.basis is not None:
                    source = self.speakers.index(starts.hub) if stage else row
                    self.centres[source].copy_(torch.as_tensor(fitted.basis.centres))
                    self.widths[source] = fitted.basis.width
                    self.weights[stage, row].copy_(torch.as_tensor(fitted.weights))

    def forward(
        self,
        x: Tensor,
        style: Tensor | None = None,
        mask: Tensor | None = None,
        domain: Tensor | None = None,
        origin: Tensor | None = None,
        layers: Sequence[int] | None = None,
    ) -> Tensor | list[Tensor]:
        """Return y; or, with `layers`, activations of f after these layers, computed no further than needed.

        Args:
            layers: indices of layers: 0 is z, f's input; then those that the class names, in this order; the last is
                f(z). Between these, frames are padded to a multiple that the layers can halve.

        Raises:
            UsageError: there is no such layer.
        """
        if self.has_map:
            x = self._apply_map(x, mask, domain, origin)
        if layers is not None:
            return activations_at(layers, self.activations(x, style, mask))
        y = self._in_windows(x, style, mask)
        return y if self.kind == "none" else x[:, : self.bands] + y

    def _in_windows(self, x: Tensor, style: Tensor | None, mask: Tensor | None) -> Tensor:
        """Return f(x); of more frames than a training crop has in overlapping windows of that many, cross-faded."""
        frames = x.shape[-1]
        if frames <= self.window:
            return last_of(self.activations(x, style, mask))
        windows = cut(x, self.window)
        count = windows.shape[1]
        own_style = None if style is None else style.repeat_interleave(count, 0)
        own_mask = None if mask is None else cut(mask, self.window).flatten(0, 1)
        y = last_of(self.activations(windows.flatten(0, 1), own_style, own_mask))
        return cross_fade(y.view(len(x), count, *y.shape[1:]), frames)

    def activations(self, x: Tensor, style: Tensor | None, mask: Tensor | None) -> Iterator[Tensor]:
        """Yield x (N, spec.inputs, T), with any T, then what each layer returns; the last is f(x), (N, bands, T)."""
        raise NotImplementedError

    def _apply_map(self, x: Tensor, mask: Tensor | None, domain: Tensor | None, origin: Tensor | None) -> Tensor:
        if domain is None or origin is None:
            raise UsageError(
                f"start = '{self.kind}' needs the source and the target speaker, and the generator was called without "
                'them; set nodes = "voice_translation"'
            )
        with without_autocast(x):  # squared distances are differences of large numbers
            frames = x[:, : self.bands].to(self.maps.dtype)
            z = self._stage(frames, 0, origin, origin)
            if self.stages == 2:
                z = self._stage(z, 1, domain, self.hub.expand_as(domain))
            z = torch.where((domain == origin)[:, None, None], frames, z)
        z = (z if mask is None else z * mask).to(x.dtype)  # removed frames stay zero
        return torch.cat([z, x[:, self.bands :]], 1) if x.shape[1] > self.bands else z

    def _stage(self, x: Tensor, stage: int, row: Tensor, source: Tensor) -> Tensor:
        """Return x (N, B, T) mapped by the rows (N,) of a stage; `source` (N,) are the speakers whose frames x are."""
        z = torch.baddbmm(self.shifts[stage, row], self.maps[stage, row], x)
        return z + self.weights[stage, row] @ self._basis(x, source) if self.has_basis else z

    def _basis(self, x: Tensor, origin: Tensor) -> Tensor:
        """Return the radial basis functions (N, K, T) of the source speaker, as `transgan_voice.kernel.RadialBasis`."""
        frames, reach = x.shape[-1], max(CONTEXT)
        padded = F.pad(x, (reach, reach), "replicate")
        contexts = torch.cat([padded[..., reach + offset : reach + offset + frames] for offset in CONTEXT], 1)
        return gaussians(contexts, self.centres[origin], self.widths[origin][:, None, None])


def _expand(name: str, names: Sequence[str]) -> Sequence[str]:
    """Return the domains that a translation's source or target stands for."""
    return names if name == "*" else [name]


class Gated1dOptions(VoiceGeneratorOptions):
    """Options of the generator `gated_1d`."""

    width: int = Field(128, ge=1)
    """Channels of the first convolution (1 or more); the paper takes 128."""
    downs: int = Field(2, ge=0, le=5)
    """Convolutions with stride 2, each of which halves the number of frames (0 to 5)."""
    blocks: int = Field(6, ge=0, le=1000)
    """Residual blocks (0 or more)."""
    norm: VoiceNorm = "instance"
    """Normalization: `instance`, `group` (of 8 groups) or `none`. The first two take statistics over the frames of the
    input: a crop in training, a window of its length in translation."""
    affine: bool = False
    """Whether `instance` norm learns a scale and a shift of each channel, as in the papers' networks. A style vector
    sets both instead, where there is one."""


class Gated1d(VoiceGenerator[Gated1dOptions]):
    """The 1-D gated generator of CycleGAN-VC (Kaneko and Kameoka, 2018, figure 4): features are channels.

    A convolution with kernel 15, `downs` with kernel 5 and stride 2, residual blocks with kernel 3, `downs` with kernel
    5 and pixel shuffle, one with kernel 15. With the default options it has the paper's widths: 128, 256, 512 (1024
    within the blocks).
    """

    def __init__(self, options: Gated1dOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        width, norms = options.width, Norms(options.norm, options.affine, spec.style)
        inner = width * 2**options.downs
        self.multiple = 2**options.downs
        self.first = Gated(nn.Conv1d(spec.inputs, 2 * width, 15, padding=7), width)
        layers: list[nn.Module] = []
        for i in range(options.downs):
            before, after = width * 2**i, width * 2 ** (i + 1)
            layers.append(Gated(nn.Conv1d(before, 2 * after, 5, 2, padding=2), after, norms))
        layers += [GatedResidual(inner, norms) for _ in range(options.blocks)]
        channels = inner
        for i in range(options.downs):
            after = inner // 2**i
            layers.append(Gated(nn.Conv1d(channels, 4 * after, 5, padding=2), after, norms, shuffle=2))
            channels = after
        self.layers = nn.ModuleList(layers)
        self.last = nn.Conv1d(channels, self.bands, 15, padding=7)
        self.init_weights(self.last)

    def activations(self, x: Tensor, style: Tensor | None, mask: Tensor | None) -> Iterator[Tensor]:
        yield x
        y: Tensor = self.first(pad_frames(x, self.multiple, 2 * self.multiple), style)
        yield y
        for layer in self.layers:
            y = run(layer, y, style)
            yield y
        yield self.last(y)[..., : x.shape[-1]]


class Gated212dOptions(Gated1dOptions):
    """Options of the generator `gated_2_1_2d`."""

    mask: bool = False
    """Whether the mask of removed frames is a second input plane beside the features (MaskCycleGAN-VC)."""


class Gated212d(VoiceGenerator[Gated212dOptions]):
    """The 2-1-2-D generator of CycleGAN-VC2 (Kaneko et al., 2019, figure 3) and MaskCycleGAN-VC (2021, figure 2).

    Down- and upsampling are 2-D convolutions over features and frames; the residual blocks between are 1-D, with
    features and channels as one axis. Convolutions 5x15, `downs` times 5x5 with stride 2, 1x1 to 1-D, residual blocks,
    1x1 to 2-D, as many times 5x5 with pixel shuffle, 5x15. Any number of features: they are padded to a multiple of
    2 ** downs by repeating the last. With the default options it has the papers' widths. A channel that a conditioning
    adds becomes a plane.
    """

    def __init__(self, options: Gated212dOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        width, norms = options.width, Norms(options.norm, options.affine, spec.style)
        self.multiple = 2**options.downs
        self.mask = options.mask
        self.rows = math.ceil(self.bands / self.multiple)
        planes = 1 + options.mask + spec.inputs - self.bands
        inner = 2 * width if options.downs else width
        self.first = Gated(nn.Conv2d(planes, 2 * width, (5, 15), padding=(2, 7)), width)
        self.downs = nn.ModuleList()
        for i in range(options.downs):
            conv = nn.Conv2d(width if i == 0 else inner, 2 * inner, 5, 2, padding=2)
            self.downs.append(Gated(conv, inner, norms))
        self.inner = inner
        self.to_1d, self.norm_1d = nn.Conv1d(inner * self.rows, inner, 1), norms(inner)
        self.blocks = nn.ModuleList(GatedResidual(inner, norms) for _ in range(options.blocks))
        self.to_2d, self.norm_2d = nn.Conv1d(inner, inner * self.rows, 1), norms(inner * self.rows)
        self.ups = nn.ModuleList()
        channels = inner
        for i in range(options.downs):
            after = inner if i == 0 else max(channels // 2, 1)
            conv = nn.Conv2d(channels, 8 * after, 5, padding=2)
            self.ups.append(Gated(conv, after, norms, shuffle=2))
            channels = after
        self.last = nn.Conv2d(channels, 1, (5, 15), padding=(2, 7))
        self.init_weights(self.last)

    def activations(self, x: Tensor, style: Tensor | None, mask: Tensor | None) -> Iterator[Tensor]:
        yield x
        y: Tensor = self.first(self._planes(x, mask), style)
        yield y
        for down in self.downs:
            y = run(down, y, style)
            yield y
        n, t = len(y), y.shape[-1]
        y = self.norm_1d(self.to_1d(y.reshape(n, -1, t)), style)
        yield y
        for block in self.blocks:
            y = run(block, y, style)
            yield y
        y = self.norm_2d(self.to_2d(y), style).view(n, self.inner, self.rows, t)
        yield y
        for up in self.ups:
            y = run(up, y, style)
            yield y
        yield self.last(y)[:, 0, : self.bands, : x.shape[-1]]

    def _planes(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return (N, planes, rows, T): the spectrum, the mask and the channels of conditionings, padded."""
        spectrum, extra = x[:, : self.bands], [x[:, i : i + 1] for i in range(self.bands, x.shape[1])]
        if self.mask:
            extra.insert(0, torch.ones_like(x[:, :1]) if mask is None else mask)
        planes = torch.stack([spectrum, *(each.expand_as(spectrum) for each in extra)], 1)
        planes = pad_frames(planes, self.multiple, 2 * self.multiple)
        return pad_frames(planes.transpose(2, 3), self.multiple, self.multiple).transpose(2, 3)


class Residual1dOptions(VoiceGeneratorOptions):
    """Options of the generator `residual_1d`."""

    width: int = Field(256, ge=1)
    """Channels (1 or more)."""
    blocks: int = Field(7, ge=0, le=1000)
    """Residual blocks (0 or more)."""
    kernel: int = Field(5, ge=1)
    """Kernel of a block's convolutions, in frames (1 or more)."""
    norm: VoiceNorm = "none"
    """Normalization: `none`, so that the output depends on nearby frames only, `instance` or `group`."""
    affine: bool = False
    """Whether `instance` norm learns a scale and a shift of each channel."""


class Residual1d(VoiceGenerator[Residual1dOptions]):
    """Residual blocks at full resolution, by default without a norm, after Scyclone (Tanaka et al., 2020).

    A 1x1 convolution, `blocks` residual blocks, a 1x1 convolution.
    Without a norm every output frame depends on `2 * blocks * (kernel - 1)` neighbours only, so a long file can be
    translated in overlapping windows without a seam.
    """

    def __init__(self, options: Residual1dOptions, spec: NetworkSpec):
        super().__init__(options, spec)
        self.first = nn.Conv1d(spec.inputs, options.width, 1)
        self.blocks = nn.ModuleList(
            LeakyResidual(options.width, options.kernel, Norms(options.norm, options.affine, spec.style))
            for _ in range(options.blocks)
        )
        self.last = nn.Conv1d(options.width, self.bands, 1)
        self.init_weights(self.last)

    def activations(self, x: Tensor, style: Tensor | None, mask: Tensor | None) -> Iterator[Tensor]:
        yield x
        y: Tensor = F.leaky_relu(self.first(pad_frames(x, 1, 2)), 0.01)
        yield y
        for block in self.blocks:
            y = run(block, y, style)
            yield y
        yield self.last(F.leaky_relu(y, 0.01))[..., : x.shape[-1]]
