"""The feature set `world`: mel-cepstra of WORLD's envelope; pitch and breath are kept apart (Morise et al., 2016)."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from transgan.api import require
from transgan_voice.warp import warped_cepstra

#: Of the first-order all-pass filter that comes closest to the mel scale at 16 kHz.
ALPHA = 0.41
N_FFT, PERIOD_MS = 1024, 5.0
F0_RANGE = (71.0, 800.0)
#: Fewest samples that are analysed; shorter sounds are followed by silence.
LEAST = 1600
#: Power below which an envelope is cut off.
FLOOR = 1e-12


def pyworld(purpose: str) -> Any:
    """The module. PluginError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it asks for setuptools in a way that setuptools warns of
        return require("pyworld", "world", purpose)


@dataclass(frozen=True)
class WorldAnalysis:
    """A sound as a filter and what goes into it."""

    frames: np.ndarray
    """(L, B) float32 mel-cepstra c_1 to c_B of the logarithm of the amplitude."""
    energy: np.ndarray
    """(L,) c_0."""
    decibels: np.ndarray
    """(L,) mean power of the envelope."""
    f0: np.ndarray
    """(L,) float64 Hz, 0 where there is no voice."""
    aperiodicity: np.ndarray
    """(L, N_FFT / 2 + 1) float64, 0 to 1."""
    length: int
    """Samples."""


class WorldFeatures:
    """Envelopes by CheapTrick, breath by D4C, pitch by Harvest or, four times as fast, DIO with StoneMask.

    Pitch moves from voice to voice by mean and deviation of its logarithm over voiced frames; breath stays as it is.
    """

    kind = "cepstra"
    rate = 16_000
    hop = 80
    names: tuple[str, ...] = ("log_f0", "energy")

    def __init__(self, order: int, pitch: Literal["harvest", "dio"]):
        self.world = pyworld('features = "world"')
        self.channels, self.pitch = order, pitch
        self.to_mel = warped_cepstra(order, N_FFT // 2, ALPHA)
        self.from_mel = warped_cepstra(N_FFT // 2, order, -ALPHA)

    def analyse(self, samples: np.ndarray) -> WorldAnalysis:
        x = np.ascontiguousarray(np.pad(samples, (0, max(0, LEAST - len(samples)))), dtype=np.float64)
        low, high = F0_RANGE
        find = self.world.harvest if self.pitch == "harvest" else self.world.dio
        f0, times = find(x, self.rate, f0_floor=low, f0_ceil=high, frame_period=PERIOD_MS)
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
        """Power (L, N_FFT / 2 + 1) as mel-cepstra (L, B + 1)."""
        plain = np.fft.irfft(np.log(np.maximum(envelope, FLOOR)), axis=1)[:, : N_FFT // 2 + 1]
        plain[:, [0, -1]] /= 2
        cepstra: np.ndarray = plain @ self.to_mel.T
        return cepstra

    def envelope(self, cepstra: np.ndarray) -> np.ndarray:
        """The opposite, as smooth as so few cepstra are."""
        plain = cepstra.astype(np.float64) @ self.from_mel.T
        plain[:, [0, -1]] *= 2
        power: np.ndarray = np.exp(np.fft.rfft(np.hstack([plain, plain[:, -2:0:-1]]), axis=1).real)
        return np.ascontiguousarray(power)

    def pack(self, analysis: WorldAnalysis) -> np.ndarray:
        """Logarithm of F0 (0 where there is none), level, c_0, then the frames."""
        pitch = np.where(analysis.f0 > 0, np.log(np.maximum(analysis.f0, 1.0)), 0.0)
        apart = np.stack([pitch, analysis.decibels, analysis.energy], 1)
        return np.concatenate([apart.astype(np.float32), analysis.frames], 1)

    def bands(self, packed: Any) -> Any:
        return packed[:, 3:]

    def levels(self, packed: np.ndarray) -> np.ndarray:
        return packed[:, 1]

    def learn(self, packed: np.ndarray, active: np.ndarray) -> dict[str, Tensor]:
        pitch = packed[packed[:, 0] > 0, 0].astype(np.float64)
        if not len(pitch):  # a domain that never speaks
            pitch = np.log([120.0])
        found = {"log_f0": [pitch.mean(), max(pitch.std(), 1e-3)], "energy": [packed[active, 2].mean()]}
        return {name: torch.tensor(values, dtype=torch.float32) for name, values in found.items()}

    def converted(
        self, analysis: WorldAnalysis, frames: np.ndarray, source: Mapping[str, Tensor], target: Mapping[str, Tensor]
    ) -> WorldAnalysis:
        (from_mean, from_std), (to_mean, to_std) = (each["log_f0"].double().tolist() for each in (source, target))
        voiced = analysis.f0 > 0
        moved = (np.log(np.where(voiced, analysis.f0, 1.0)) - from_mean) / from_std * to_std + to_mean
        f0 = np.where(voiced, np.exp(np.clip(moved, np.log(40.0), np.log(1000.0))), 0.0)
        return replace(analysis, frames=frames, f0=f0)

    def imagined(self, frames: np.ndarray, known: Mapping[str, Tensor]) -> WorldAnalysis:
        """On one note, the speaker's middle one, and as loud all the time."""
        count = len(frames)
        energy = np.full(count, float(known["energy"]))
        f0 = np.full(count, float(known["log_f0"][0].exp()))
        breath = np.tile(np.linspace(0.01, 0.8, N_FFT // 2 + 1), (count, 1))
        return WorldAnalysis(frames, energy, energy, f0, breath, (count - 1) * self.hop)

    def sound(self, analysis: WorldAnalysis) -> np.ndarray:
        envelope = self.envelope(np.concatenate([analysis.energy[:, None], analysis.frames], 1))
        f0, breath = (np.ascontiguousarray(each, dtype=np.float64) for each in (analysis.f0, analysis.aperiodicity))
        made = self.world.synthesize(f0, envelope, breath, self.rate, PERIOD_MS).astype(np.float32)
        padded: np.ndarray = np.pad(made, (0, max(0, analysis.length - len(made))))[: analysis.length]
        return padded

    def picture(self, frames: np.ndarray) -> np.ndarray:
        """The envelope over 96 bands, equally far apart in mel; without c_0."""
        at = np.cos(np.outer(np.arange(1, self.channels + 1), np.pi * (np.arange(96) + 0.5) / 96))
        drawn: np.ndarray = (frames @ at).T[::-1]
        return drawn
