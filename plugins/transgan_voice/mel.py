"""Log-mel spectrograms and the way back: Slaney's bands, and fast Griffin-Lim for the phase, in plain torch."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

#: Smallest magnitude of a band; its logarithm is -11.5.
FLOOR = 1e-5
# Slaney's scale (Auditory Toolbox, 1998): linear up to 1 kHz, then 27 steps for a factor of 6.4.
_LINEAR, _KNEE, _STEP = 200.0 / 3, 1000.0, np.log(6.4) / 27


def hertz_to_mel(hertz: np.ndarray | float) -> np.ndarray:
    """Slaney's mel of frequencies in Hz."""
    f = np.asarray(hertz, dtype=np.float64)
    high = _KNEE / _LINEAR + np.log(np.maximum(f, _KNEE) / _KNEE) / _STEP
    mel: np.ndarray = np.where(f < _KNEE, f / _LINEAR, high)
    return mel


def mel_to_hertz(mel: np.ndarray | float) -> np.ndarray:
    """The opposite of `hertz_to_mel`."""
    m = np.asarray(mel, dtype=np.float64)
    knee = _KNEE / _LINEAR
    hertz: np.ndarray = np.where(m < knee, m * _LINEAR, _KNEE * np.exp(_STEP * (np.maximum(m, knee) - knee)))
    return hertz


def filter_bank(bands: int, n_fft: int, rate: int, low: float = 0.0, high: float | None = None) -> np.ndarray:
    """(bands, n_fft / 2 + 1) float64: triangles between neighbours that are equally far apart in mel, each of area 1.

    Band i rises from edge i to edge i + 1 and falls to edge i + 2, and is 2 / (edge i + 2 - edge i) high.
    """
    edges = mel_to_hertz(np.linspace(hertz_to_mel(low), hertz_to_mel(high or rate / 2), bands + 2))
    bins = np.arange(n_fft // 2 + 1) * (rate / n_fft)
    slopes = edges[:, None] - bins[None]
    rising = -slopes[:-2] / np.diff(edges)[:-1, None]
    falling = slopes[2:] / np.diff(edges)[1:, None]
    triangles: np.ndarray = np.maximum(0.0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return triangles


class LogMel:
    """Sounds as log-mel spectrograms. Frame i is centred on sample i hop; n samples make n // hop + 1 frames.

    A frame is `window` samples long, within a transform of `n_fft`. Over the usual 64 ms formants smear: real speech
    made audible again is 3.6 dB of mel-cepstral distortion away from where it came from; with frames of 25 ms, 2.2 dB.
    """

    def __init__(self, bands: int = 128, rate: int = 16_000, n_fft: int = 1024, hop: int = 128, window: int = 400):
        self.bands, self.rate, self.n_fft, self.hop = bands, rate, n_fft, hop
        self.window = torch.hann_window(window)
        self.filters = torch.from_numpy(filter_bank(bands, n_fft, rate)).float()

    @cached_property
    def inverse(self) -> Tensor:
        """(n_fft / 2 + 1, bands): the pseudo-inverse of the filter bank."""
        inverse: Tensor = torch.linalg.pinv(self.filters.double()).float()
        return inverse

    def stft(self, samples: Tensor) -> Tensor:
        """(n,) as complex (n_fft / 2 + 1, n // hop + 1); beyond the ends there is silence."""
        spectrum: Tensor = torch.stft(
            samples, self.n_fft, self.hop, len(self.window), self.window.to(samples.device), pad_mode="constant",
            return_complex=True,
        )  # fmt: skip
        return spectrum

    def istft(self, spectrum: Tensor, length: int) -> Tensor:
        """The opposite of `stft`: (length,)."""
        made: Tensor = torch.istft(
            spectrum, self.n_fft, self.hop, len(self.window), self.window.to(spectrum.device), length=length
        )
        return made

    def __call__(self, samples: Tensor) -> Tensor:
        """(n,) as (n // hop + 1, bands): natural logarithm of the bands' magnitudes."""
        return self.of_magnitude(self.stft(samples).abs())

    def of_magnitude(self, magnitude: Tensor) -> Tensor:
        """(n_fft / 2 + 1, L) as (L, bands)."""
        return (self.filters.to(magnitude) @ magnitude).clamp_min(FLOOR).log().T

    def magnitude(self, mel: Tensor) -> Tensor:
        """(L, bands) log-mel as (n_fft / 2 + 1, L) magnitudes, the least-squares solution without what is negative."""
        return (self.inverse.to(mel) @ mel.T.exp()).clamp_min(0.0)

    def griffin_lim(
        self, magnitude: Tensor, length: int, phase: Tensor | None = None, iterations: int = 32, momentum: float = 0.99
    ) -> Tensor:
        """A sound of `length` samples whose spectrogram comes close to these magnitudes.

        Fast Griffin-Lim (Perraudin et al., 2013). `phase`, complex of length 1, is where it begins; zero without it.
        """
        angles = torch.ones_like(magnitude, dtype=torch.complex64) if phase is None else phase
        before = torch.zeros_like(angles)
        for _ in range(iterations):
            rebuilt = self.stft(self.istft(magnitude * angles, length))
            angles = rebuilt - before * (momentum / (1 + momentum))
            angles = angles / angles.abs().clamp_min(1e-16)
            before = rebuilt
        return self.istft(magnitude * angles, length)
