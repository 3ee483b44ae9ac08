"""Measures of converted voices on arrays: distortion, alignment, F0, classifiers, distances. No files, no networks.

Mel-cepstra are (L, D): c_1 .. c_D, without c_0, of the logarithm of an amplitude.
"""

from functools import cache
from typing import Any

import numpy as np

from transgan_voice.warp import Array, cosine_basis, warped_cepstra
from transgan_voice.world import pyworld

#: Mel-cepstral distortion in dB of two cepstra at Euclidean distance 1; the 2 counts both halves of the spectrum
#: (Kubichek, 1993).
DECIBELS = 10 / np.log(10) * np.sqrt(2)


@cache
def _mel_cepstral_matrix(orders: int, bins: int, alpha: float) -> Array:
    """Return (orders, bins): from log amplitudes at frequencies from 0 to half the sample rate to c_1 .. c_orders.

    The inverse real Fourier transform to the cepstrum, then its frequency transform (Tokuda et al., 1994).
    """
    points = 2 * (bins - 1)
    weights = np.full(bins, 2.0)
    weights[[0, -1]] = 1.0
    lags = np.arange(bins)
    cepstrum = 2 * weights * np.cos(2 * np.pi * np.outer(lags, lags) / points) / points
    cepstrum[[0, -1]] /= 2
    matrix: Array = warped_cepstra(orders, bins - 1, alpha)[1:] @ cepstrum
    return matrix


def mel_cepstra(power: Array, orders: int = 24, alpha: float = 0.41) -> Array:
    """Return the mel-cepstra (L, orders) of power spectra (L, bins); alpha is 0.41 at 16 kHz, 0.455 at 22.05 kHz."""
    cepstra: Array = 0.5 * np.log(np.maximum(power, 1e-16)) @ _mel_cepstral_matrix(orders, power.shape[1], alpha).T
    return cepstra


def cepstra_of_bands(log_amplitudes: Array, orders: int = 24) -> Array:
    """Return the cepstra (L, orders) of log amplitudes of equal mel bands (L, B)."""
    cepstra: Array = log_amplitudes @ cosine_basis(log_amplitudes.shape[1], orders)[1:].T
    return cepstra


def mel_cepstral_distortion(a: Array, b: Array) -> Array:
    """Return the mel-cepstral distortion of each frame in dB, (L,), between mel-cepstra (L, D)."""
    distortion: Array = DECIBELS * np.sqrt(((a - b) ** 2).sum(1))
    return distortion


def dtw(a: Array, b: Array) -> tuple[Array, Array]:
    """Align two sequences (L, D) and (M, D) from first to last frames by dynamic time warping (Sakoe and Chiba, 1978).

    Exact, with steps (1, 0), (0, 1) and (1, 1) of equal weight and Euclidean distances; computed by anti-diagonals,
    whose cells do not depend on each other. Of paths of equal cost it takes diagonal steps first, then those along `a`.

    Returns:
        The frame numbers in `a` and in `b` along the path.
    """
    n, m = len(a), len(b)
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    distance = np.sqrt(np.maximum(squares, 0))
    steps = np.zeros((n, m), np.int8)
    # Costs of the last two anti-diagonals, by row + 1; entry 0 lies outside.
    before_last, last = np.full(n + 1, np.inf), np.full(n + 1, np.inf)
    for total in range(n + m - 1):
        rows = np.arange(max(0, total - m + 1), min(n, total + 1))
        # From (i-1, j-1), (i-1, j) and (i, j-1).
        costs = np.stack([before_last[rows], last[rows], last[rows + 1]])
        if total == 0:
            costs[0] = 0.0
        best = costs.argmin(0)
        steps[rows, total - rows] = best
        current = np.full(n + 1, np.inf)
        current[rows + 1] = costs[best, np.arange(len(rows))] + distance[rows, total - rows]
        before_last, last = last, current
    i, j = n - 1, m - 1
    path = [(i, j)]
    while i or j:
        step = steps[i, j]
        i, j = i - (step != 2), j - (step != 1)
        path.append((i, j))
    frames = np.array(path[::-1])
    return frames[:, 0], frames[:, 1]


def bootstrap_interval(values: Array, level: float = 0.95, rounds: int = 1000) -> tuple[float, float]:
    """Return a confidence interval of the mean: percentiles of the means of bootstrap samples (Efron, 1979)."""
    chosen = np.random.default_rng(0).integers(len(values), size=(rounds, len(values)))
    low, high = np.percentile(np.asarray(values)[chosen].mean(1), [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def f0_errors(converted: Array, true: Array) -> tuple[float, float]:
    """Compare F0 tracks (L,) in Hz, 0 where unvoiced.

    Returns:
        The root mean squared error in cents over frames that are voiced in both (nan if there are none), and the
        voicing error: the share of frames that are voiced in only one of them.
    """
    voiced = (converted > 0) & (true > 0)
    voicing_error = float(((converted > 0) != (true > 0)).mean())
    if not voiced.any():
        return float("nan"), voicing_error
    return float(np.sqrt(np.mean((1200 * np.log2(converted[voiced] / true[voiced])) ** 2))), voicing_error


def variance_ratio(converted: list[Array], real: list[Array]) -> float:
    """Return the global variance (Toda et al., 2007) of utterances (L, D) relative to that of real ones.

    The geometric mean over coefficients of the ratio of mean variances. Below 1 the conversion is over-smoothed, which
    mel-cepstral distortion does not penalize.
    """
    ratio = np.mean([x.var(0) for x in converted], 0) / np.mean([x.var(0) for x in real], 0)
    return float(np.exp(np.log(ratio + 1e-12).mean()))


def modulation_distance(converted: list[Array], real: list[Array], window: int = 64) -> float:
    """Return the root mean squared difference in dB between log modulation spectra (Takamichi et al., 2016).

    The modulation spectrum is the power spectrum over time of each coefficient, in windows of 64 frames that overlap by
    half. nan where all utterances (L, D) of one side are shorter than a window.
    """

    def spectrum(utterances: list[Array]) -> Array:
        taper = np.hanning(window)[:, None]
        powers = [
            np.abs(np.fft.rfft((x[i : i + window] - x[i : i + window].mean(0)) * taper, axis=0)) ** 2
            for x in utterances
            for i in range(0, len(x) - window + 1, window // 2)
        ]
        decibels: Array = 10 * np.log10(np.mean(powers, 0)[1:] + 1e-12)
        return decibels

    if all(len(x) < window for x in converted) or all(len(x) < window for x in real):
        return float("nan")
    return float(np.sqrt(np.mean((spectrum(converted) - spectrum(real)) ** 2)))


class PhoneClassifier:
    """A nearest-neighbour classifier of frames: the majority of the nearest real frames, coefficients standardized.

    Args:
        x: (F, D) real frames.
        labels: (F,) phone of each.
        neighbours: that vote.
        limit: real frames that are kept, at most.
    """

    def __init__(self, x: Array, labels: Array, neighbours: int = 9, limit: int = 8000):
        kept = np.random.default_rng(0).permutation(len(x))[:limit]
        self.scale = 1 / (x.std(0) + 1e-9)
        self.x, self.labels = x[kept] * self.scale, labels[kept]
        self.neighbours = min(neighbours, len(kept))

    def __call__(self, x: Array) -> Array:
        """Return the labels (L,) of frames (L, D)."""
        labels = []
        for chunk in np.array_split(x * self.scale, max(1, len(x) // 512)):
            distances = (self.x**2).sum(1) - 2 * chunk @ self.x.T
            nearest = np.argpartition(distances, self.neighbours - 1, axis=1)[:, : self.neighbours]
            labels += [np.bincount(each).argmax() for each in self.labels[nearest]]
        return np.array(labels)


class SpeakerClassifier:
    """A classifier of utterances: linear discriminant analysis of frames (Fisher, 1936), scores averaged over frames.

    Args:
        frames: (F, D) real frames of each speaker, by name.
    """

    def __init__(self, frames: dict[str, Array]):
        self.names = list(frames)
        means = np.stack([x.mean(0) for x in frames.values()])
        within = np.mean([np.cov(x.T) for x in frames.values()], 0)
        within += 1e-6 * np.trace(within) / len(within) * np.eye(len(within))
        self.weights = np.linalg.solve(within, means.T)
        self.bias = -0.5 * (means.T * self.weights).sum(0)

    def __call__(self, x: Array) -> str:
        """Return the name of the most likely speaker of frames (L, D)."""
        return self.names[int((x @ self.weights + self.bias).mean(0).argmax())]


def world_analysis(samples: Any, rate: int, period: float = 5.0) -> tuple[Array, Array, Array]:
    """Analyze samples (n,) with WORLD (Morise et al., 2016).

    Args:
        period: from one frame to the next, in ms.

    Returns:
        F0 in Hz by DIO and StoneMask (L,), mel-cepstra of CheapTrick's envelope (L, 24), levels in dB (L,).

    Raises:
        PluginError: pyworld is not installed.
    """
    world = pyworld("measuring voices")
    x = np.ascontiguousarray(samples, dtype=np.float64)
    rough, times = world.dio(x, rate, frame_period=period)
    f0 = world.stonemask(x, rough, times, rate)
    power = world.cheaptrick(x, f0, times, rate)
    return f0, mel_cepstra(power), 10 * np.log10(power.mean(1) + 1e-16)
