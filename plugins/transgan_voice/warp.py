"""Vocal-tract-length warp of cepstra and of mel bands, and the Gaussian mixture by which it is chosen. Pure numpy.

Cepstra are those of the logarithm of an amplitude: log|H(w)| = sum over m of c_m cos(m w).
"""

import numpy as np

Array = np.ndarray
#: A matrix and a shift: y = W x + s.
Affine = tuple[Array, Array]


def bilinear(w: Array, alpha: float) -> Array:
    """Return frequencies 0 to pi warped by a first-order all-pass filter (Oppenheim and Johnson, 1972, eq. 19)."""
    warped: Array = w + 2 * np.arctan2(alpha * np.sin(w), 1 - alpha * np.cos(w))
    return warped


def warped_cepstra(orders: int, inputs: int, alpha: float) -> Array:
    """Return the frequency transform of cepstra as a matrix (Tokuda et al., 1994; the recursion known as `freqt`).

    Returns:
        (orders + 1, inputs + 1): maps c_0 .. c_inputs of H(w) to c_0 .. c_orders of H over the warped axis
        bilinear(w, alpha); a positive alpha stretches low frequencies.
    """
    points = 4 * (inputs + orders + 64)
    w = np.pi * (np.arange(points) + 0.5) / points
    matrix: Array = 2 / points * np.cos(np.outer(np.arange(orders + 1), w)) @ _cosines(bilinear(w, -alpha), inputs).T
    matrix[0] /= 2
    return matrix


def _cosines(w: Array, orders: int) -> Array:
    """Return cos(m w) for m = 0 .. orders: (orders + 1, len(w))."""
    cosines: Array = np.cos(np.outer(np.arange(orders + 1), w))
    return cosines


def cosine_basis(bands: int, orders: int) -> Array:
    """Return (orders + 1, bands): from values of equal bands to c_0 .. c_orders (DCT-II)."""
    centres = np.pi * (np.arange(bands) + 0.5) / bands
    basis: Array = 2 / bands * _cosines(centres, orders)
    basis[0] /= 2
    return basis


def warped_bands(bands: int, alpha: float) -> Array:
    """Return the warp of spectra in equal bands of an axis, (bands, bands), by cosine interpolation between bands."""
    centres = np.pi * (np.arange(bands) + 0.5) / bands
    matrix: Array = _cosines(bilinear(centres, -alpha), bands - 1).T @ cosine_basis(bands, bands - 1)
    return matrix


class GaussianMixture:
    """A mixture of Gaussians with diagonal covariances, fitted by expectation maximization, initialized by k-means.

    Args:
        x: (F, D) training points.
        components: at most; fewer for less than 50 points each.
        iterations: of expectation maximization.
        seed: of the initial means.
    """

    def __init__(self, x: Array, components: int = 48, iterations: int = 40, seed: int = 0):
        components = max(1, min(components, len(x) // 50))
        self.floor = 1e-3 * x.var(0) + 1e-10
        means = x[np.random.default_rng(seed).permutation(len(x))[:components]]
        for _ in range(10):
            nearest = ((means**2).sum(1) - 2 * x @ means.T).argmin(1)
            assigned = np.eye(components)[nearest]
            counts = assigned.sum(0)
            means = np.where(counts[:, None] > 0, assigned.T @ x / np.maximum(counts, 1)[:, None], means)
        self._maximize(x, np.eye(components)[((means**2).sum(1) - 2 * x @ means.T).argmin(1)])
        for _ in range(iterations):
            joint = self._log_joint(x)
            self._maximize(x, np.exp(joint - _log_sum_exp(joint)[:, None]))

    def _maximize(self, x: Array, responsibilities: Array) -> None:
        """Set the parameters to those of maximum likelihood for given responsibilities (F, components)."""
        total = responsibilities.sum(0) + 1e-8
        self.weights = total / total.sum()
        self.means = responsibilities.T @ x / total[:, None]
        self.variances = np.maximum(responsibilities.T @ x**2 / total[:, None] - self.means**2, 0) + self.floor

    def _log_joint(self, x: Array) -> Array:
        """Return the log density of each point and component, (F, components)."""
        precision = 1 / self.variances
        squares = x**2 @ precision.T - 2 * x @ (self.means * precision).T + (self.means**2 * precision).sum(1)
        constant = np.log(self.weights) - 0.5 * np.log(2 * np.pi * self.variances).sum(1)
        joint: Array = constant - 0.5 * squares
        return joint

    def log_likelihood(self, x: Array) -> float:
        """Return the mean log-likelihood of points (F, D)."""
        return float(_log_sum_exp(self._log_joint(x)).mean())


def _log_sum_exp(x: Array) -> Array:
    largest = x.max(1, keepdims=True)
    total: Array = largest[:, 0] + np.log(np.exp(x - largest).sum(1))
    return total
