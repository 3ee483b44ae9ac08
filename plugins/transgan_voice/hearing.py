"""Sounds as they are measured: frames of 5 ms, which of them belong together, and maps that need no training."""

from dataclasses import dataclass

import numpy as np
import torch

from transgan_voice import measure
from transgan_voice.audio import Sound
from transgan_voice.mel import LogMel
from transgan_voice.start import affine_map
from transgan_voice.warp import Affine, Array

RATE, FRAME = 16_000, 80


@dataclass(frozen=True)
class Heard:
    """A sound as it is measured, every 5 ms."""

    cepstra: Array
    """(L, 24) c_1 .. c_24."""
    decibels: Array
    """(L,)"""
    f0: Array | None
    """(L,) Hz, 0 where unvoiced; None where nothing here can tell."""

    @property
    def times(self) -> Array:
        """(L,) seconds."""
        return np.arange(len(self.decibels)) * (FRAME / RATE)

    @property
    def active(self) -> Array:
        """(L,) bool: the frames that count."""
        return measure.active(self.decibels)

    @property
    def spoken(self) -> Array:
        """(F, 24) the cepstra of active frames."""
        spoken: Array = self.cepstra[self.active]
        return spoken


class Hearing:
    """Sounds as `Heard`: by WORLD, or without pyworld by 80 mel bands, which know no pitch."""

    def __init__(self) -> None:
        self.mel = LogMel(80, RATE, hop=FRAME)

    @property
    def front(self) -> str:
        """What it hears by, in words."""
        return "CheapTrick, all-pass 0.41" if measure.has_world() else "80 mel bands by DCT"

    def __call__(self, sound: Sound) -> Heard:
        samples = sound.at(RATE).samples
        if found := measure.world_analysis(samples, RATE):
            return Heard(found[1], found[2], found[0])
        bands = self.mel(torch.from_numpy(samples)).double().numpy()
        return Heard(measure.cepstra_of_bands(bands), 10 * np.log10(np.exp(2 * bands).sum(1)), None)


def together(made: tuple[Array, Array], real: tuple[Array, Array], aligned: bool) -> tuple[Array, Array]:
    """Which frames of two recordings belong together.

    Args:
        made, real: cepstra (L, D) and which frames are active (L,) bool, of each.
        aligned: whether frame i of both is the same moment; then these are the real one's active frames. Otherwise it
            is the cheapest way through the active frames of both.
    """
    (a, loud_a), (b, loud_b) = made, real
    if aligned:
        at = np.flatnonzero(loud_b[: min(len(a), len(b))])
        return at, at
    at_a, at_b = np.flatnonzero(loud_a), np.flatnonzero(loud_b)
    i, j = measure.align(a[at_a], b[at_b])
    return at_a[i], at_b[j]


def closed_forms(source: Array, target: Array) -> dict[str, Affine]:
    """Unpaired maps from one speaker's cepstra (F, D) to another's (G, D), of the very cepstra that are compared.

    `of_mean_variance`, and `of_baseline`: vocal-tract-length warp and Gaussian transport, as they come.
    """
    scale = target.std(0) / np.maximum(source.std(0), 1e-9)
    same = np.ones(source.shape[1])
    return {
        "of_mean_variance": (np.diag(scale), target.mean(0) - scale * source.mean(0)),
        "of_baseline": affine_map(source, target, (same, same), "cepstra", "warp_transport", share=0.0),
    }
