"""Generators for voices: spectra as frames of bands. What comes out is as long as what went in, for any length."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import nn
from transgan_standard.layers import Norm, run

from transgan.api import Domain, Generator, Options, Spec, Tensor, Translation, UsageError
from transgan_voice.kernel import CENTRES, heights
from transgan_voice.layers import Gated, GatedResidual, LeakyResidual, VoiceNorm, exactly, pad_frames, start_styles
from transgan_voice.matching import CONTEXT
from transgan_voice.start import StartKind, maps_of


class VoiceOptions(Options):
    """Options of every generator for voices."""

    start: StartKind = "none"
    """What the network starts from, and adds to: `none`, `mean_variance` (its input, which is normalised by speaker),
    `transport` (Gaussian optimal transport), `warp_transport` (vocal-tract-length warp, then transport) or `matching`
    (from there on, regression between frames that are nearest to each other, in rounds, in the end with bumps: a map
    that bends, of a frame and its neighbours). The last three need `nodes = "voice_translation"`."""
    start_trains: bool = False
    """Whether the map that it starts from is trained with it, or stays as it was found."""


class VoiceGenerator(Generator):
    """y = z + f(z), where z is what the start makes of x, and f a network that starts near zero; or y = f(x).

    The start belongs to the pair of speakers: z = W x + s from one to the other, of the kind `matching` with bumps over
    x and its neighbours, and z = x where they are the same, so that an identity loss asks f alone to do nothing. It is
    found in closed form before the first step (`transgan_voice.start`) and is kept with the weights.

    Shapes: x (N, spec.inputs, T), the bands first and what conditionings add behind; mask (N, 1, T), 0 where frames
    were removed; domain and origin (N,) numbers of the speakers to make and given; style (N, spec.style).
    """

    Options = VoiceOptions

    def __init__(self, options: Any, spec: Spec):
        super().__init__(options, spec)
        if len(spec.space) != 1:
            raise UsageError(f"generators for voices work on one axis, frames; these samples have {len(spec.space)}")
        self.bands = spec.channels
        self.names = spec.domains
        self.kind: StartKind = options.start
        if self.has_map:
            pairs = len(spec.domains) ** 2
            maps, shifts = torch.zeros(pairs, self.bands, self.bands), torch.zeros(pairs, self.bands, 1)
            maps.diagonal(dim1=1, dim2=2).fill_(1.0)  # torch.eye of a network without storage takes seconds
            self.maps: Tensor = nn.Parameter(maps) if options.start_trains else nn.Buffer(maps)
            self.shifts: Tensor = nn.Parameter(shifts) if options.start_trains else nn.Buffer(shifts)
        if self.has_bumps:
            speakers, stretch = len(spec.domains), len(CONTEXT) * self.bands
            self.centres = nn.Buffer(torch.zeros(speakers, CENTRES, stretch))
            self.widths = nn.Buffer(torch.ones(speakers))
            weights = torch.zeros(speakers**2, self.bands, CENTRES)
            self.weights: Tensor = nn.Parameter(weights) if options.start_trains else nn.Buffer(weights)

    @property
    def has_map(self) -> bool:
        """Whether the start is a map of its own, and not just the input."""
        return self.kind not in ("none", "mean_variance")

    @property
    def has_bumps(self) -> bool:
        """Whether that map bends."""
        return self.kind == "matching"

    def finish(self, last: nn.Conv1d | nn.Conv2d) -> None:
        """Initialises styles, and the last convolution near zero where its output is a change."""
        start_styles(self)
        if self.kind != "none":
            with torch.no_grad():
                last.weight.mul_(0.01)
                assert last.bias is not None
                last.bias.zero_()

    @torch.no_grad()
    def start(self, domains: Mapping[str, Domain], translations: Sequence[Translation]) -> None:
        """Finds the maps of the pairs of speakers that this copy serves."""
        if not self.has_map:
            return
        pairs = {(a, b) for t in translations for a in _ends(t.source, self.names) for b in _ends(t.target, self.names)}
        for (source, target), found in maps_of(domains, self.names, pairs, self.kind).items():
            speaker = self.names.index(source)
            row = speaker * len(self.names) + self.names.index(target)
            self.maps[row].copy_(torch.as_tensor(found.matrix))
            self.shifts[row].copy_(torch.as_tensor(found.shift)[:, None])
            if found.bumps is not None:
                self.centres[speaker].copy_(torch.as_tensor(found.bumps.centres))
                self.widths[speaker] = found.bumps.width
                self.weights[row].copy_(torch.as_tensor(found.weights))

    def forward(
        self,
        x: Tensor,
        style: Tensor | None = None,
        mask: Tensor | None = None,
        domain: Tensor | None = None,
        origin: Tensor | None = None,
    ) -> Tensor:
        if self.has_map:
            x = self._mapped(x, mask, domain, origin)
        y = self.change(x, style, mask)
        return y if self.kind == "none" else x[:, : self.bands] + y

    def change(self, x: Tensor, style: Tensor | None, mask: Tensor | None) -> Tensor:
        """f: (N, spec.inputs, T) -> (N, bands, T), for any T."""
        raise NotImplementedError

    def _mapped(self, x: Tensor, mask: Tensor | None, domain: Tensor | None, origin: Tensor | None) -> Tensor:
        if domain is None or origin is None:
            raise UsageError(
                f"start = '{self.kind}' must know who speaks and who is to speak; set nodes = \"voice_translation\""
            )
        row = origin * len(self.names) + domain
        with exactly(x):  # exponents of differences of large numbers
            frames = x[:, : self.bands].to(self.maps.dtype)
            z = torch.baddbmm(self.shifts[row], self.maps[row], frames)
            if self.has_bumps:
                z = z + self.weights[row] @ self._bumps(frames, origin)
        z = (z if mask is None else z * mask).to(x.dtype)  # frames that were removed stay so
        return torch.cat([z, x[:, self.bands :]], 1) if x.shape[1] > self.bands else z

    def _bumps(self, x: Tensor, origin: Tensor) -> Tensor:
        """(N, K, T), as `transgan_voice.kernel.Bumps`."""
        frames, reach = x.shape[-1], max(CONTEXT)
        wide = F.pad(x, (reach, reach), "replicate")
        around = torch.cat([wide[..., reach + at : reach + at + frames] for at in CONTEXT], 1)
        return heights(around, self.centres[origin], self.widths[origin][:, None, None])


def _ends(name: str, names: Sequence[str]) -> Sequence[str]:
    return names if name == "*" else [name]


class Gated1dOptions(VoiceOptions):
    """Options of the generator `gated_1d`."""

    width: int = Field(128, ge=1)
    """Channels of the first convolution (1 or more); the paper takes 128."""
    downs: int = Field(2, ge=0, le=5)
    """How often the number of frames is halved (0 to 5)."""
    blocks: int = Field(6, ge=0)
    """Residual blocks (0 or more)."""
    norm: VoiceNorm = "instance"
    """Normalisation: `instance`, `group` (of 8 groups) or `none`. The first two take statistics over the frames given:
    of a crop in training, of all that is translated at once later."""


class Gated1d(VoiceGenerator):
    """The 1-D gated generator of CycleGAN-VC (Kaneko and Kameoka, 2018, figure 4): bands are channels.

    Kernel 15, halvings with kernel 5, residual blocks with kernel 3, as many doublings by pixel shuffle, kernel 15.
    With the default options it has the paper's widths: 128, 256, 512 (1024 within the blocks).
    """

    Options = Gated1dOptions

    def __init__(self, options: Gated1dOptions, spec: Spec):
        super().__init__(options, spec)
        width, norm, style = options.width, options.norm, spec.style
        inner = width * 2**options.downs
        self.multiple = 2**options.downs
        self.first = Gated(nn.Conv1d(spec.inputs, 2 * width, 15, padding=7), width)
        layers: list[nn.Module] = []
        for i in range(options.downs):
            before, after = width * 2**i, width * 2 ** (i + 1)
            layers.append(Gated(nn.Conv1d(before, 2 * after, 5, 2, padding=2), after, norm, style))
        layers += [GatedResidual(inner, norm, style) for _ in range(options.blocks)]
        channels = inner
        for i in range(options.downs):
            after = inner // 2**i
            layers.append(Gated(nn.Conv1d(channels, 4 * after, 5, padding=2), after, norm, style, shuffle=2))
            channels = after
        self.layers = nn.ModuleList(layers)
        self.last = nn.Conv1d(channels, self.bands, 15, padding=7)
        self.finish(self.last)

    def change(self, x: Tensor, style: Tensor | None, mask: Tensor | None) -> Tensor:
        frames = x.shape[-1]
        y: Tensor = self.first(pad_frames(x, self.multiple, 2 * self.multiple), style)
        for layer in self.layers:
            y = run(layer, y, style)
        y = self.last(y)
        return y[..., :frames]


class Gated212dOptions(Gated1dOptions):
    """Options of the generator `gated_2_1_2d`."""

    mask: bool = False
    """Whether it sees, as a second plane beside the bands, which frames were removed (MaskCycleGAN-VC)."""


class Gated212d(VoiceGenerator):
    """The 2-1-2-D generator of CycleGAN-VC2 (Kaneko et al., 2019, figure 3) and MaskCycleGAN-VC (2021, figure 2).

    Bands and frames are two axes while they are halved and doubled, and the residual blocks between see frames with
    bands and channels as one axis. 5x15, halvings 5x5, 1x1 to 1-D, residual blocks, 1x1 to 2-D, doublings 5x5 by pixel
    shuffle, 5x15. Any number of bands: they are padded to what can be halved, by repeating the last. With the default
    options it has the papers' widths. A channel that a conditioning adds becomes a plane.
    """

    Options = Gated212dOptions

    def __init__(self, options: Gated212dOptions, spec: Spec):
        super().__init__(options, spec)
        width, norm, style = options.width, options.norm, spec.style
        self.multiple = 2**options.downs
        self.mask = options.mask
        self.rows = math.ceil(self.bands / self.multiple)
        planes = 1 + options.mask + spec.inputs - self.bands
        inner = 2 * width if options.downs else width
        self.first = Gated(nn.Conv2d(planes, 2 * width, (5, 15), padding=(2, 7)), width)
        self.downs = nn.ModuleList()
        for i in range(options.downs):
            conv = nn.Conv2d(width if i == 0 else inner, 2 * inner, 5, 2, padding=2)
            self.downs.append(Gated(conv, inner, norm, style))
        self.inner = inner
        self.to_1d, self.norm_1d = nn.Conv1d(inner * self.rows, inner, 1), Norm(norm, inner, style)
        self.blocks = nn.ModuleList(GatedResidual(inner, norm, style) for _ in range(options.blocks))
        self.to_2d, self.norm_2d = nn.Conv1d(inner, inner * self.rows, 1), Norm(norm, inner * self.rows, style)
        self.ups = nn.ModuleList()
        channels = inner
        for i in range(options.downs):
            after = inner if i == 0 else max(channels // 2, 1)
            conv = nn.Conv2d(channels, 8 * after, 5, padding=2)
            self.ups.append(Gated(conv, after, norm, style, shuffle=2))
            channels = after
        self.last = nn.Conv2d(channels, 1, (5, 15), padding=(2, 7))
        self.finish(self.last)

    def change(self, x: Tensor, style: Tensor | None, mask: Tensor | None) -> Tensor:
        frames = x.shape[-1]
        y: Tensor = self.first(self._planes(x, mask), style)
        for down in self.downs:
            y = run(down, y, style)
        n, t = len(y), y.shape[-1]
        y = self.norm_1d(self.to_1d(y.reshape(n, -1, t)), style)
        for block in self.blocks:
            y = run(block, y, style)
        y = self.norm_2d(self.to_2d(y), style).view(n, self.inner, self.rows, t)
        for up in self.ups:
            y = run(up, y, style)
        y = self.last(y)
        return y[:, 0, : self.bands, :frames]

    def _planes(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """(N, planes, rows, T): the spectrum, the mask, and what conditionings add, padded to what can be halved."""
        spectrum, more = x[:, : self.bands], [x[:, i : i + 1] for i in range(self.bands, x.shape[1])]
        if self.mask:
            more.insert(0, torch.ones_like(x[:, :1]) if mask is None else mask)
        planes = torch.stack([spectrum, *(each.expand_as(spectrum) for each in more)], 1)
        planes = pad_frames(planes, self.multiple, 2 * self.multiple)
        return pad_frames(planes.transpose(2, 3), self.multiple, self.multiple).transpose(2, 3)


class Residual1dOptions(VoiceOptions):
    """Options of the generator `residual_1d`."""

    width: int = Field(256, ge=1)
    """Channels (1 or more)."""
    blocks: int = Field(7, ge=0)
    """Residual blocks (0 or more)."""
    kernel: int = Field(5, ge=1)
    """Frames that a convolution of a block sees."""
    norm: VoiceNorm = "none"
    """Normalisation: `none`, so that what comes out depends on near frames alone, `instance` or `group`."""


class Residual1d(VoiceGenerator):
    """Residual blocks at full length and without a norm, after Scyclone (Tanaka et al., 2020).

    Every frame depends on `2 * blocks * (kernel - 1)` neighbours and on nothing else, so a long file can be translated
    in windows that overlap by as much without a seam.
    """

    Options = Residual1dOptions

    def __init__(self, options: Residual1dOptions, spec: Spec):
        super().__init__(options, spec)
        self.first = nn.Conv1d(spec.inputs, options.width, 1)
        self.blocks = nn.ModuleList(
            LeakyResidual(options.width, options.kernel, options.norm, spec.style) for _ in range(options.blocks)
        )
        self.last = nn.Conv1d(options.width, self.bands, 1)
        self.finish(self.last)

    def change(self, x: Tensor, style: Tensor | None, mask: Tensor | None) -> Tensor:
        frames = x.shape[-1]
        y: Tensor = F.leaky_relu(self.first(pad_frames(x, 1, 2)), 0.01)
        for block in self.blocks:
            y = run(block, y, style)
        y = self.last(F.leaky_relu(y, 0.01))
        return y[..., :frames]
