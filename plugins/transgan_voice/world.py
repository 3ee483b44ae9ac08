"""The features `world`: mel-cepstra of WORLD's spectral envelope, with F0 and aperiodicity (Morise et al., 2016)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from transgan.api import require
from transgan_voice.warp import warped_cepstra

#: All-pass constant of the warp that approximates the mel scale at 16 kHz.
ALPHA = 0.41
N_FFT, PERIOD_MS = 1024, 5.0
#: Lowest and highest F0 that is searched, in Hz.
F0_RANGE = (71.0, 800.0)
#: Shorter sounds are padded with zeros to this number of samples.
MIN_SAMPLES = 1600
#: Lower limit of an envelope's power.
FLOOR = 1e-12


def pyworld(purpose: str) -> Any:
    """Import and return pyworld.

    Args:
        purpose: what needs it, for the error message.

    Raises:
        PluginError: it is not installed.
    """
    return require("pyworld", "voice", purpose)


def log_f0_of(f0: np.ndarray) -> np.ndarray:
    """Return the logarithm of F0 (L,) in Hz, and 0 where it is 0: unvoiced."""
    log_f0: np.ndarray = np.where(f0 > 0, np.log(np.maximum(f0, 1.0)), 0.0)
    return log_f0


def log_f0_statistics(log_f0: np.ndarray) -> Tensor:
    """Return mean and deviation (2,) of the logarithm of F0 (L,), 0 where unvoiced, over voiced frames."""
    voiced = log_f0[log_f0 > 0].astype(np.float64)
    if not len(voiced):  # recordings without a voiced frame
        voiced = np.log([120.0])
    return torch.tensor([voiced.mean(), max(voiced.std(), 1e-3)], dtype=torch.float32)


def moved_f0(f0: np.ndarray, source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> np.ndarray:
    """Return F0 (L,) in Hz, 0 where unvoiced, with the target's mean and deviation of its logarithm: `log_f0` (2,)."""
    (from_mean, from_std), (to_mean, to_std) = (each["log_f0"].double().tolist() for each in (source, target))
    voiced = f0 > 0
    log_f0 = (np.log(np.where(voiced, f0, 1.0)) - from_mean) / from_std * to_std + to_mean
    moved: np.ndarray = np.where(voiced, np.exp(np.clip(log_f0, np.log(40.0), np.log(1000.0))), 0.0)
    return moved


@dataclass(frozen=True)
class WorldAnalysis:
    """A sound as spectral envelope, F0 and aperiodicity."""

    frames: np.ndarray
    """(L, B) float32 mel-cepstra c_1 .. c_B of the logarithm of the amplitude."""
    energy: np.ndarray
    """(L,) c_0."""
    decibels: np.ndarray
    """(L,) mean power of the envelope in dB."""
    f0: np.ndarray
    """(L,) float64 Hz, 0 where unvoiced."""
    aperiodicity: np.ndarray
    """(L, N_FFT / 2 + 1) float64, 0 to 1."""
    length: int
    """Samples of the sound."""


class WorldFeatures:
    """Envelopes by CheapTrick, aperiodicity by D4C, F0 by Harvest or, four times as fast, DIO with StoneMask.

    Log F0 is converted by its mean and deviation over voiced frames; aperiodicity and c_0 stay the source's.

    Args:
        order: mel-cepstra without c_0.
        pitch: the F0 estimator.

    Raises:
        PluginError: pyworld is not installed.
    """

    kind = "cepstra"
    rate = 16_000
    hop = 80
    statistic_names: tuple[str, ...] = ("log_f0", "energy")

    def __init__(self, order: int, pitch: Literal["harvest", "dio"]):
        self.world = pyworld('features = "world"')
        self.channels, self.pitch = order, pitch
        self.to_mel = warped_cepstra(order, N_FFT // 2, ALPHA)
        self.from_mel = warped_cepstra(N_FFT // 2, order, -ALPHA)

    def analyze(self, samples: np.ndarray) -> WorldAnalysis:
        x = np.ascontiguousarray(np.pad(samples, (0, max(0, MIN_SAMPLES - len(samples)))), dtype=np.float64)
        low, high = F0_RANGE
        estimate = self.world.harvest if self.pitch == "harvest" else self.world.dio
        f0, times = estimate(x, self.rate, f0_floor=low, f0_ceil=high, frame_period=PERIOD_MS)
        if self.pitch == "dio":
            f0 = self.world.stonemask(x, f0, times, self.rate)
        envelope = self.world.cheaptrick(x, f0, times, self.rate, fft_size=N_FFT)
        aperiodicity = self.world.d4c(x, f0, times, self.rate, fft_size=N_FFT)
        count = len(samples) // self.hop + 1
        f0, envelope, aperiodicity = (each[:count] for each in (f0, envelope, aperiodicity))
        cepstra = self.cepstra(envelope)
        return WorldAnalysis(
            cepstra[:, 1:].astype(np.float32),
            cepstra[:, 0],
            10 * np.log10(np.maximum(envelope, FLOOR).mean(1)),
            f0,
            aperiodicity,
            len(samples),
        )

    def cepstra(self, envelope: np.ndarray) -> np.ndarray:
        """Return the mel-cepstra c_0 .. c_B (L, B + 1) of a power envelope (L, N_FFT / 2 + 1)."""
        cepstrum = np.fft.irfft(np.log(np.maximum(envelope, FLOOR)), axis=1)[:, : N_FFT // 2 + 1]
        cepstrum[:, [0, -1]] /= 2
        cepstra: np.ndarray = cepstrum @ self.to_mel.T
        return cepstra

    def envelope(self, cepstra: np.ndarray) -> np.ndarray:
        """Return the power envelope (L, N_FFT / 2 + 1) of mel-cepstra (L, B + 1): a smooth approximation."""
        cepstrum = cepstra.astype(np.float64) @ self.from_mel.T
        cepstrum[:, [0, -1]] *= 2
        power: np.ndarray = np.exp(np.fft.rfft(np.hstack([cepstrum, cepstrum[:, -2:0:-1]]), axis=1).real)
        return np.ascontiguousarray(power)

    def pack(self, analysis: WorldAnalysis) -> np.ndarray:
        """Return the columns log F0 (0 where unvoiced), level in dB, c_0, then the frames."""
        columns = np.stack([log_f0_of(analysis.f0), analysis.decibels, analysis.energy], 1)
        return np.concatenate([columns.astype(np.float32), analysis.frames], 1)

    def frames_of(self, packed: Any) -> Any:
        return packed[:, 3:]

    def levels(self, packed: np.ndarray) -> np.ndarray:
        return packed[:, 1]

    def fit_statistics(self, packed: np.ndarray, active: np.ndarray) -> dict[str, Tensor]:
        energy = torch.tensor([packed[active, 2].mean()], dtype=torch.float32)
        return {"log_f0": log_f0_statistics(packed[:, 0]), "energy": energy}

    def convert(
        self, analysis: WorldAnalysis, frames: np.ndarray, source: Mapping[str, Tensor], target: Mapping[str, Tensor]
    ) -> WorldAnalysis:
        return replace(analysis, frames=frames, f0=moved_f0(analysis.f0, source, target))

    def at(self, analysis: WorldAnalysis, frames: np.ndarray, like: WorldAnalysis) -> WorldAnalysis:
        energy, decibels, f0 = (each[frames] for each in (analysis.energy, analysis.decibels, analysis.f0))
        return WorldAnalysis(analysis.frames[frames], energy, decibels, f0, analysis.aperiodicity[frames], like.length)

    def from_frames(self, frames: np.ndarray, statistics: Mapping[str, Tensor]) -> WorldAnalysis:
        """Return an analysis with the speaker's mean F0 and c_0, and an aperiodicity that grows with frequency."""
        count = len(frames)
        energy = np.full(count, float(statistics["energy"]))
        f0 = np.full(count, float(statistics["log_f0"][0].exp()))
        aperiodicity = np.tile(np.linspace(0.01, 0.8, N_FFT // 2 + 1), (count, 1))
        return WorldAnalysis(frames, energy, energy, f0, aperiodicity, (count - 1) * self.hop)

    def synthesize(self, analysis: WorldAnalysis) -> np.ndarray:
        envelope = self.envelope(np.concatenate([analysis.energy[:, None], analysis.frames], 1))
        f0, aperiodicity = (
            np.ascontiguousarray(each, dtype=np.float64) for each in (analysis.f0, analysis.aperiodicity)
        )
        samples = self.world.synthesize(f0, envelope, aperiodicity, self.rate, PERIOD_MS).astype(np.float32)
        padded: np.ndarray = np.pad(samples, (0, max(0, analysis.length - len(samples))))[: analysis.length]
        return padded

    def spectrogram(self, frames: np.ndarray) -> np.ndarray:
        """Return the log amplitudes, without c_0, in 96 equal bands of the mel axis: (96, L)."""
        basis = np.cos(np.outer(np.arange(1, self.channels + 1), np.pi * (np.arange(96) + 0.5) / 96))
        image: np.ndarray = (frames @ basis).T[::-1]
        return image
