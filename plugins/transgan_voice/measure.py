"""Figures of voices from arrays: distortion, alignment, pitch, classifiers. Nothing here knows a file or a network.

Mel-cepstra are (L, D): c_1 .. c_D, without c_0, of the logarithm of an amplitude.
"""

from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from transgan_voice.warp import Array, cosine_basis, warped_cepstra
from transgan_voice.world import pyworld

#: Distortion in dB of a distance 1 between cepstra: of both halves of a spectrum, hence the 2 (Kubichek, 1993).
DECIBELS = 10 / np.log(10) * np.sqrt(2)
#: A frame is active if it is at most so many dB below the 97th percentile of a recording.
BELOW = 35.0


@cache
def _mel_cepstral(orders: int, bins: int, alpha: float) -> Array:
    """(orders, bins): c_1 .. c_orders on the bent axis, of log amplitudes at frequencies from 0 to half the rate.

    The cepstrum by an inverse real transform, its frequency transform (Tokuda et al., 1994) in one matrix.
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
    """(L, bins) power spectra as (L, orders) mel-cepstra; alpha is 0.41 at 16 kHz, 0.455 at 22.05 kHz."""
    cepstra: Array = 0.5 * np.log(np.maximum(power, 1e-16)) @ _mel_cepstral(orders, power.shape[1], alpha).T
    return cepstra


def cepstra_of_bands(log_amplitudes: Array, orders: int = 24) -> Array:
    """(L, B) log amplitudes of equal mel bands as (L, orders) cepstra."""
    cepstra: Array = log_amplitudes @ cosine_basis(log_amplitudes.shape[1], orders)[1:].T
    return cepstra


def active(decibels: Array) -> Array:
    """(L,) bool: which frames are loud enough to count, by their levels in dB."""
    loud: Array = decibels > np.percentile(decibels, 97) - BELOW
    return loud


def distortion(a: Array, b: Array) -> Array:
    """(L,) mel-cepstral distortion in dB, frame by frame."""
    each: Array = DECIBELS * np.sqrt(((a - b) ** 2).sum(1))
    return each


def align(a: Array, b: Array) -> tuple[Array, Array]:
    """The cheapest way through both, from first to last frames (dynamic time warping: Sakoe and Chiba, 1978).

    Exact, with steps (1, 0), (0, 1) and (1, 1) of equal weight and Euclidean distances; computed by anti-diagonals,
    whose cells do not depend on each other. Where ways cost the same, it goes diagonally, then along `a`.

    Returns:
        The frames of `a` and of `b` that belong together, in order.
    """
    n, m = len(a), len(b)
    square = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    distance = np.sqrt(np.maximum(square, 0))
    steps = np.zeros((n, m), np.int8)
    before, last = np.full(n + 1, np.inf), np.full(n + 1, np.inf)  # costs of two diagonals, by row; row 0 is outside
    for total in range(n + m - 1):
        rows = np.arange(max(0, total - m + 1), min(n, total + 1))
        ways = np.stack([before[rows], last[rows], last[rows + 1]])  # from (i-1, j-1), (i-1, j), (i, j-1)
        if total == 0:
            ways[0] = 0.0
        best = ways.argmin(0)
        steps[rows, total - rows] = best
        here = np.full(n + 1, np.inf)
        here[rows + 1] = ways[best, np.arange(len(rows))] + distance[rows, total - rows]
        before, last = last, here
    i, j = n - 1, m - 1
    path = [(i, j)]
    while i or j:
        step = steps[i, j]
        i, j = i - (step != 2), j - (step != 1)
        path.append((i, j))
    found = np.array(path[::-1])
    return found[:, 0], found[:, 1]


def interval(values: Array, share: float = 0.95, rounds: int = 1000) -> tuple[float, float]:
    """Between what the mean lies, by the bootstrap (Efron, 1979): utterances drawn anew, percentiles of the means."""
    draws = np.random.default_rng(0).integers(len(values), size=(rounds, len(values)))
    low, high = np.percentile(np.asarray(values)[draws].mean(1), [50 * (1 - share), 50 * (1 + share)])
    return float(low), float(high)


def f0_errors(made: Array, true: Array) -> tuple[float, float]:
    """Of F0 tracks in Hz, 0 where unvoiced: the root of the mean squared error in cents where both are voiced (nan if
    nowhere), and the share of frames that only one of them says are voiced."""
    both = (made > 0) & (true > 0)
    wrong = float(((made > 0) != (true > 0)).mean())
    if not both.any():
        return float("nan"), wrong
    return float(np.sqrt(np.mean((1200 * np.log2(made[both] / true[both])) ** 2))), wrong


def variance_ratio(made: list[Array], real: list[Array]) -> float:
    """Global variance (Toda et al., 2007) of utterances against real ones: the geometric mean over coefficients of the
    ratio of mean variances. Below 1 speech is over-smoothed, which distortion rewards."""
    ratio = np.mean([x.var(0) for x in made], 0) / np.mean([x.var(0) for x in real], 0)
    return float(np.exp(np.log(ratio + 1e-12).mean()))


def modulation_distance(made: list[Array], real: list[Array], window: int = 64) -> float:
    """Of log modulation spectra (Takamichi et al., 2016): the root of the mean squared difference in dB.

    The modulation spectrum is the power of each coefficient's movement, by how fast it moves; windows of 64 frames,
    overlapping by half.
    """

    def spectrum(utterances: list[Array]) -> Array:
        taper = np.hanning(window)[:, None]
        parts = [
            np.abs(np.fft.rfft((x[i : i + window] - x[i : i + window].mean(0)) * taper, axis=0)) ** 2
            for x in utterances
            for i in range(0, len(x) - window + 1, window // 2)
        ]
        found: Array = 10 * np.log10(np.mean(parts, 0)[1:] + 1e-12)
        return found

    if all(len(x) < window for x in made) or all(len(x) < window for x in real):
        return float("nan")
    return float(np.sqrt(np.mean((spectrum(made) - spectrum(real)) ** 2)))


class NearestNeighbours:
    """Which phone a frame is: the majority of the nearest real frames, coefficients scaled to equal deviation.

    Args:
        x: (F, D) real frames, at most `most` of them kept.
        labels: (F,) of each.
    """

    def __init__(self, x: Array, labels: Array, neighbours: int = 9, most: int = 8000):
        kept = np.random.default_rng(0).permutation(len(x))[:most]
        self.scale = 1 / (x.std(0) + 1e-9)
        self.x, self.labels = x[kept] * self.scale, labels[kept]
        self.neighbours = min(neighbours, len(kept))

    def __call__(self, x: Array) -> Array:
        """(L,) labels."""
        found = []
        for part in np.array_split(x * self.scale, max(1, len(x) // 512)):
            square = (self.x**2).sum(1) - 2 * part @ self.x.T
            near = np.argpartition(square, self.neighbours - 1, axis=1)[:, : self.neighbours]
            found += [np.bincount(each).argmax() for each in self.labels[near]]
        return np.array(found)


class Speakers:
    """Who speaks: linear discriminant analysis (Fisher, 1936) of frames, the mean score of an utterance decides."""

    def __init__(self, frames: dict[str, Array]):
        self.names = list(frames)
        means = np.stack([x.mean(0) for x in frames.values()])
        within = np.mean([np.cov(x.T) for x in frames.values()], 0)
        within += 1e-6 * np.trace(within) / len(within) * np.eye(len(within))
        self.weights = np.linalg.solve(within, means.T)
        self.bias = -0.5 * (means.T * self.weights).sum(0)

    def __call__(self, x: Array) -> str:
        """The name of who most likely speaks these frames (L, D)."""
        return self.names[int((x @ self.weights + self.bias).mean(0).argmax())]


def energy_distance(a: Array, b: Array) -> float:
    """Between two clouds of points (Szekely and Rizzo, 2013, eq. 5): 2 E|A - B| - E|A - A'| - E|B - B'|."""

    def mean(x: Array, y: Array) -> float:
        square = (x**2).sum(1)[:, None] + (y**2).sum(1) - 2 * x @ y.T
        return float(np.sqrt(np.maximum(square, 0)).mean())

    return 2 * mean(a, b) - mean(a, a) - mean(b, b)


def has_world() -> bool:
    """Whether pyworld is there."""
    return find_spec("pyworld") is not None


def world_analysis(samples: Any, rate: int, period: float = 5.0) -> tuple[Array, Array, Array] | None:
    """F0 in Hz by DIO and StoneMask, mel-cepstra of CheapTrick's envelope, and levels in dB, (L,), (L, 24), (L,);
    None without pyworld (Morise et al., 2016)."""
    if not has_world():
        return None
    world = pyworld("measuring voices")
    x = np.ascontiguousarray(samples, dtype=np.float64)
    rough, times = world.dio(x, rate, frame_period=period)
    f0 = world.stonemask(x, rough, times, rate)
    power = world.cheaptrick(x, f0, times, rate)
    return f0, mel_cepstra(power), 10 * np.log10(power.mean(1) + 1e-16)
