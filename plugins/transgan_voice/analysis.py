"""Analysis of recordings for the metrics: mel-cepstra, level and F0 every 5 ms, and the alignment of frames."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from transgan_voice import audio, measures
from transgan_voice.audio import Sound
from transgan_voice.initialization import affine_map
from transgan_voice.warp import Affine, Array

#: Sample rate in Hz, and samples from one frame to the next (5 ms).
RATE, HOP = 16_000, 80


@dataclass(frozen=True)
class AnalyzedSound:
    """A recording, analyzed every 5 ms."""

    cepstra: Array
    """(L, 24) mel-cepstra c_1 .. c_24."""
    decibels: Array
    """(L,) level of each frame in dB."""
    f0: Array
    """(L,) Hz, 0 where unvoiced."""

    @property
    def times(self) -> Array:
        """(L,) seconds from the beginning to each frame."""
        return np.arange(len(self.decibels)) * (HOP / RATE)

    @property
    def active(self) -> Array:
        """(L,) bool: which frames are not silence."""
        return audio.active(self.decibels)

    @property
    def active_cepstra(self) -> Array:
        """(F, 24) the cepstra of active frames."""
        cepstra: Array = self.cepstra[self.active]
        return cepstra


class Analyzer:
    """Analyses recordings with WORLD; the pitch by another function where one is given.

    Args:
        pitch: returns F0 in Hz, 0 where unvoiced, of samples at 16 kHz at moments (L,) in seconds.
    """

    description = "CheapTrick, all-pass 0.41"
    """Where the cepstra come from, as `protocol` reports it."""

    def __init__(self, pitch: Callable[[Array, Array], Array] | None = None):
        self.pitch = pitch

    def __call__(self, sound: Sound) -> AnalyzedSound:
        samples = sound.resample(RATE).samples
        f0, cepstra, decibels = measures.world_analysis(samples, RATE)
        analyzed = AnalyzedSound(cepstra, decibels, f0)
        return replace(analyzed, f0=self.pitch(samples, analyzed.times)) if self.pitch else analyzed


def align_frames(
    converted: tuple[Array, Array], reference: tuple[Array, Array], synchronous: bool
) -> tuple[Array, Array]:
    """Return the corresponding frames of two recordings, as two arrays of frame numbers.

    Args:
        converted, reference: of each recording the cepstra (L, D), and which frames are active (L,) bool.
        synchronous: whether frame i is the same moment in both recordings. Then the frames are the active ones of the
            reference; otherwise they are the DTW path through the active frames of both.
    """
    (a, active_a), (b, active_b) = converted, reference
    if synchronous:
        frames = np.flatnonzero(active_b[: min(len(a), len(b))])
        return frames, frames
    frames_a, frames_b = np.flatnonzero(active_a), np.flatnonzero(active_b)
    i, j = measures.dtw(a[frames_a], b[frames_b])
    return frames_a[i], frames_b[j]


def closed_form_maps(source: Array, target: Array) -> dict[str, Affine]:
    """Return maps from one speaker's cepstra (F, D) to another's (G, D), fitted in closed form to unpaired frames.

    Returns:
        `of_mean_variance`: mean and variance of each coefficient; `of_baseline`: vocal-tract-length warp, then Gaussian
        optimal transport without regularization.
    """
    scale = target.std(0) / np.maximum(source.std(0), 1e-9)
    ones = np.ones(source.shape[1])
    return {
        "of_mean_variance": (np.diag(scale), target.mean(0) - scale * source.mean(0)),
        "of_baseline": affine_map(source, target, (ones, ones), "cepstra", "warp_transport", regularization=0.0),
    }
