"""Log-mel spectrograms with Slaney's bands, and their inversion by fast Griffin-Lim, in plain torch."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

#: Smallest magnitude of a band, whose logarithm is -11.5.
FLOOR = 1e-5
# Slaney's scale (Auditory Toolbox, 1998): linear up to 1 kHz, then 27 steps for a factor of 6.4.
_LINEAR, _KNEE, _STEP = 200.0 / 3, 1000.0, np.log(6.4) / 27


def hertz_to_mel(hertz: np.ndarray | float) -> np.ndarray:
    """Return frequencies in Hz on Slaney's mel scale."""
    f = np.asarray(hertz, dtype=np.float64)
    high = _KNEE / _LINEAR + np.log(np.maximum(f, _KNEE) / _KNEE) / _STEP
    mel: np.ndarray = np.where(f < _KNEE, f / _LINEAR, high)
    return mel


def mel_to_hertz(mel: np.ndarray | float) -> np.ndarray:
    """Return mel frequencies in Hz: the opposite of `hertz_to_mel`."""
    m = np.asarray(mel, dtype=np.float64)
    knee = _KNEE / _LINEAR
    hertz: np.ndarray = np.where(m < knee, m * _LINEAR, _KNEE * np.exp(_STEP * (np.maximum(m, knee) - knee)))
    return hertz


def filter_bank(bands: int, n_fft: int, rate: int, low: float = 0.0, high: float | None = None) -> np.ndarray:
    """Return triangular mel filters, (bands, n_fft / 2 + 1) float64, each of area 1.

    Edges are equally far apart in mel. Band i rises from edge i to edge i + 1 and falls to edge i + 2; its height is
    2 / (edge i + 2 - edge i).

    Args:
        rate: sample rate in Hz.
        low, high: first and last edge in Hz; `high` defaults to half the sample rate.
    """
    edges = mel_to_hertz(np.linspace(hertz_to_mel(low), hertz_to_mel(high or rate / 2), bands + 2))
    bins = np.arange(n_fft // 2 + 1) * (rate / n_fft)
    slopes = edges[:, None] - bins[None]
    rising = -slopes[:-2] / np.diff(edges)[:-1, None]
    falling = slopes[2:] / np.diff(edges)[1:, None]
    triangles: np.ndarray = np.maximum(0.0, np.minimum(rising, falling)) * (2 / (edges[2:] - edges[:-2]))[:, None]
    return triangles


class LogMel:
    """Log-mel spectrograms of sounds. Frame i is centred on sample i * hop; n samples give n // hop + 1 frames.

    A frame has `window` samples, zero-padded to an FFT of `n_fft`. The usual window of 64 ms smears formants: analysis
    and synthesis of real speech cost 3.6 dB of mel-cepstral distortion, with windows of 25 ms 2.2 dB. Bands reach up to
    `top` Hz, by default to half the sample rate.
    """

    def __init__(
        self,
        bands: int = 128,
        rate: int = 16_000,
        n_fft: int = 1024,
        hop: int = 128,
        window: int = 400,
        top: float | None = None,
    ):
        self.bands, self.rate, self.n_fft, self.hop = bands, rate, n_fft, hop
        self.window = torch.hann_window(window)
        self.filters = torch.from_numpy(filter_bank(bands, n_fft, rate, high=top)).float()

    @cached_property
    def inverse(self) -> Tensor:
        """(n_fft / 2 + 1, bands): the pseudo-inverse of the filter bank."""
        inverse: Tensor = torch.linalg.pinv(self.filters.double()).float()
        return inverse

    def stft(self, samples: Tensor) -> Tensor:
        """Return the spectrum of samples (n,), complex (n_fft / 2 + 1, n // hop + 1); ends are padded with zeros."""
        spectrum: Tensor = torch.stft(
            samples, self.n_fft, self.hop, len(self.window), self.window.to(samples.device), pad_mode="constant",
            return_complex=True,
        )  # fmt: skip
        return spectrum

    def istft(self, spectrum: Tensor, length: int) -> Tensor:
        """Return the samples (length,) of a spectrum: the opposite of `stft`."""
        samples: Tensor = torch.istft(
            spectrum, self.n_fft, self.hop, len(self.window), self.window.to(spectrum.device), length=length
        )
        return samples

    def __call__(self, samples: Tensor) -> Tensor:
        """Return the natural logarithm of the bands' magnitudes of samples (n,): (n // hop + 1, bands)."""
        return self.of_magnitude(self.stft(samples).abs())

    def of_magnitude(self, magnitude: Tensor) -> Tensor:
        """Return the log-mel spectrogram (L, bands) of magnitudes (n_fft / 2 + 1, L)."""
        return (self.filters.to(magnitude) @ magnitude).clamp_min(FLOOR).log().T

    def magnitude(self, mel: Tensor) -> Tensor:
        """Return magnitudes (n_fft / 2 + 1, L) of a log-mel spectrogram (L, bands): least squares, clamped to 0."""
        return (self.inverse.to(mel) @ mel.T.exp()).clamp_min(0.0)

    def griffin_lim(
        self, magnitude: Tensor, length: int, phase: Tensor | None = None, iterations: int = 32, momentum: float = 0.99
    ) -> Tensor:
        """Return `length` samples whose spectrogram is close to these magnitudes.

        By fast Griffin-Lim (Perraudin et al., 2013).

        Args:
            magnitude: (n_fft / 2 + 1, L).
            phase: the initial phase, complex of magnitude 1; defaults to zero phase.
        """
        angles = torch.ones_like(magnitude, dtype=torch.complex64) if phase is None else phase
        previous = torch.zeros_like(angles)
        for _ in range(iterations):
            rebuilt = self.stft(self.istft(magnitude * angles, length))
            angles = rebuilt - previous * (momentum / (1 + momentum))
            angles = angles / angles.abs().clamp_min(1e-16)
            previous = rebuilt
        return self.istft(magnitude * angles, length)
