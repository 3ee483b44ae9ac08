"""Losses for generators that begin as a closed-form map: what holds them to it, and what its statistics lack."""

from collections.abc import Generator
from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from transgan_standard.feature_losses import single

from transgan.api import Call, Conditions, Loss, Options, UsageError, node


class AnchorOptions(Options):
    """Options of the loss `anchor`."""

    smooth: int = Field(0, ge=0)
    """Frames over which changes are averaged along time before they are measured (a Hann window of this length; 0 for
    none): what is faster than that is free."""


class Anchor(Loss[AnchorOptions]):
    """L1 distance between a translation and the generator's start, the output of its closed-form map.

    The start keeps the phones (docs/explanation/voices.md), so a generator that stays near it keeps them too; unlike a
    cycle loss, this needs no way back, whose error is a floor that training cannot get below. With `smooth`, only slow
    changes are held, and fine structure in time, which a map of single frames lacks, is left to the adversarial loss.
    Frames that were removed from the source (`longest_gap`) count too: they are to be filled in as the start has them.

    Raises:
        UsageError: the generator has no start.
    """

    measures = ("recordings", 1)

    @node
    def start(self, source: Tensor, to_target: Conditions) -> Generator[Call, Any, Tensor]:
        """Return the start z of a source, (N, B, T), without a gradient; the source itself where there is no map."""
        layers: list[Tensor] | Tensor = yield Call("generator", source, {**to_target, "layers": [0]}, frozen=True)
        start = None if isinstance(layers, Tensor) else layers[0][:, : source.shape[1]].detach()
        if start is None or start.shape != source.shape:  # another generator's layer 0 is something else
            raise UsageError(
                "anchor: needs a generator with the option `start`, whose layer 0 is its start, such as residual_1d; "
                "choose one in [generators], or leave the loss out"
            )
        return start

    def for_generator(self, fake: Tensor, start: Tensor) -> Tensor:
        return smoothed(fake - start, self.options.smooth).abs().mean()


def smoothed(x: Tensor, frames: int) -> Tensor:
    """Return x (N, B, T) averaged along time with a Hann window of `frames`, at most T; edges count what there is."""
    frames = min(frames, x.shape[-1])
    if frames < 2:
        return x
    window = torch.hann_window(frames + 2, periodic=False, dtype=x.dtype, device=x.device)[1:-1]
    kernel = window.view(1, 1, -1)
    padding = (frames - 1) // 2, frames // 2

    def filtered(y: Tensor) -> Tensor:
        return F.conv1d(F.pad(y.flatten(0, 1)[:, None], padding), kernel)[:, 0]

    weights = filtered(torch.ones_like(x[:1, :1]))
    return (filtered(x) / weights).view_as(x)


#: The fewest frames with a modulation: the window is 0 at the first, and there is no course in a single other one.
MIN_FRAMES = 3


class ModulationOptions(Options):
    """Options of the loss `modulation`."""

    decay: float = Field(0.9, ge=0, lt=1)
    """Decay per step of the moving average of the target's spectrum (0 to below 1; 0 for the batch alone)."""


class Modulation(Loss[ModulationOptions]):
    """How far the modulation spectrum of translations is from that of the target's real speech.

    The power of each feature's course in time, by octaves of its modulation frequency, averaged over the batch; the
    mean absolute difference of its logarithm. Closed-form maps and regression smooth speech over time; the modulation
    spectrum is a measure of that which correlates with quality (Takamichi et al., 2016), and covers the global variance
    (Toda et al., 2007). 1 is a factor of e in power.

    Raises:
        UsageError: there are too few frames.
    """

    measures = ("recordings", 1)

    def for_generator(self, fake: Tensor, target: Tensor, buffers: dict[str, Tensor]) -> Tensor:
        """Return the distance between translations and real samples, (N, B, T) each."""
        if (frames := fake.shape[-1]) < MIN_FRAMES:
            needed = f"needs samples of {MIN_FRAMES} frames or more, and these have {frames}"
            raise UsageError(f"modulation: {needed}; set data.size, or the stage's size, to {MIN_FRAMES} or more")
        real = modulation_power(target.detach())
        before = buffers.get("power")
        if before is not None and before.shape == real.shape:  # crops of another length have other octaves
            real = before.lerp(real, 1 - self.options.decay)
        buffers["power"] = real
        return (modulation_power(fake).clamp_min(1e-8).log() - real.clamp_min(1e-8).log()).abs().mean()


def modulation_power(x: Tensor) -> Tensor:
    """Return the mean power (B, K) of the modulation of x (N, B, T) in K octaves: 1, 2 to 3, 4 to 7 ... cycles in T."""
    x = single(x)
    window = torch.hann_window(x.shape[-1], dtype=x.dtype, device=x.device)
    mean = (x * window).sum(-1, keepdim=True) / window.sum()
    spectrum = torch.fft.rfft((x - mean) * window, dim=-1).abs().square().mean(0) / window.square().sum()
    octaves = [spectrum[:, first : 2 * first].mean(1) for first in _octaves(spectrum.shape[1])]
    return torch.stack(octaves, 1)


def _octaves(bins: int) -> list[int]:
    return [2**k for k in range(bins.bit_length()) if 2**k < bins]
