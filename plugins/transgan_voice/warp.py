"""Vocal-tract-length warp of cepstra and of mel bands, and the mixture model by which it is chosen. Pure numpy.

Cepstra are those of the logarithm of an amplitude: log|H(w)| = sum over m of c_m cos(m w).
"""

import numpy as np

Array = np.ndarray
#: A matrix and a shift: y = W x + s.
Affine = tuple[Array, Array]


def bilinear(w: Array, alpha: float) -> Array:
    """Frequencies 0 to pi as the first-order all-pass filter bends them (Oppenheim and Johnson, 1972, eq. 19)."""
    bent: Array = w + 2 * np.arctan2(alpha * np.sin(w), 1 - alpha * np.cos(w))
    return bent


def warped_cepstra(orders: int, inputs: int, alpha: float) -> Array:
    """The frequency transform of cepstra as a matrix (Tokuda et al., 1994; the recursion known as `freqt`).

    Returns:
        (orders + 1, inputs + 1): takes c_0 .. c_inputs of H(w) to c_0 .. c_orders of the same over the bent axis,
        bilinear(w, alpha); a positive alpha gives low frequencies more room.
    """
    points = 4 * (inputs + orders + 64)
    w = np.pi * (np.arange(points) + 0.5) / points
    matrix: Array = 2 / points * np.cos(np.outer(np.arange(orders + 1), w)) @ _cosines(bilinear(w, -alpha), inputs).T
    matrix[0] /= 2
    return matrix


def _cosines(w: Array, orders: int) -> Array:
    """(orders + 1, len(w)): cos(m w)."""
    cosines: Array = np.cos(np.outer(np.arange(orders + 1), w))
    return cosines


def cosine_basis(bands: int, orders: int) -> Array:
    """(orders + 1, bands): c_0 .. c_orders of values at the centres of equal bands (DCT-II)."""
    centres = np.pi * (np.arange(bands) + 0.5) / bands
    basis: Array = 2 / bands * _cosines(centres, orders)
    basis[0] /= 2
    return basis


def warped_bands(bands: int, alpha: float) -> Array:
    """(bands, bands): spectra over equal bands of an axis, over the axis bent: cosine interpolation between bands."""
    centres = np.pi * (np.arange(bands) + 0.5) / bands
    matrix: Array = _cosines(bilinear(centres, -alpha), bands - 1).T @ cosine_basis(bands, bands - 1)
    return matrix


class Mixture:
    """A mixture of Gaussians with diagonal covariances, fitted by expectation maximisation from k-means.

    Args:
        x: (F, D) what it is fitted to.
        parts: of the mixture, at most; one for every 50 rows at most.
    """

    def __init__(self, x: Array, parts: int = 48, rounds: int = 40, seed: int = 0):
        parts = max(1, min(parts, len(x) // 50))
        self.floor = 1e-3 * x.var(0) + 1e-10
        means = x[np.random.default_rng(seed).permutation(len(x))[:parts]]
        for _ in range(10):
            nearest = ((means**2).sum(1) - 2 * x @ means.T).argmin(1)
            share = np.eye(parts)[nearest]
            means = np.where(share.sum(0)[:, None] > 0, share.T @ x / np.maximum(share.sum(0), 1)[:, None], means)
        self._maximise(x, np.eye(parts)[((means**2).sum(1) - 2 * x @ means.T).argmin(1)])
        for _ in range(rounds):
            joint = self._joint(x)
            self._maximise(x, np.exp(joint - _log_sum(joint)[:, None]))

    def _maximise(self, x: Array, share: Array) -> None:
        total = share.sum(0) + 1e-8
        self.weights = total / total.sum()
        self.means = share.T @ x / total[:, None]
        self.variances = np.maximum(share.T @ x**2 / total[:, None] - self.means**2, 0) + self.floor

    def _joint(self, x: Array) -> Array:
        precise = 1 / self.variances
        square = x**2 @ precise.T - 2 * x @ (self.means * precise).T + (self.means**2 * precise).sum(1)
        constant = np.log(self.weights) - 0.5 * np.log(2 * np.pi * self.variances).sum(1)
        joint: Array = constant - 0.5 * square
        return joint

    def log_likelihood(self, x: Array) -> float:
        """The mean over rows."""
        return float(_log_sum(self._joint(x)).mean())


def _log_sum(x: Array) -> Array:
    most = x.max(1, keepdims=True)
    total: Array = most[:, 0] + np.log(np.exp(x - most).sum(1))
    return total
