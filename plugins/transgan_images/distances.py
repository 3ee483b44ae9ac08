"""Distances between sets of images, computed from their features in numpy and float64.

Features are (N, D), one row for each image.
"""

from collections.abc import Callable

import numpy as np

Array = np.ndarray
RowFigure = Callable[[Array], float]
"""A figure of a subset of the samples, which is given as an array of row indices."""


def mean_and_root(x: Array) -> tuple[Array, Array]:
    """Return the mean of features, (D,), and a root R of their covariance, (min(N, D), D).

    R^T R is the covariance, with N - 1 in the denominator.

    Raises:
        ValueError: there are fewer than two samples.
    """
    if len(x) < 2:
        raise ValueError(f"a covariance needs at least two samples, found {len(x)}")
    x = np.asarray(x, dtype=np.float64)
    mean = x.mean(0)
    root = (x - mean) / np.sqrt(len(x) - 1)
    if len(root) > root.shape[1]:
        root = np.linalg.qr(root, mode="r")
    return mean, root


def frechet_between(first: tuple[Array, Array], second: tuple[Array, Array]) -> float:
    """Return the squared Frechet distance between two Gaussians (Dowson and Landau, 1982).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). With C = R^T R the trace of (C1 C2)^(1/2) equals that of the root of
    the symmetric R1 C2 R1^T, whose eigenvalues are the squared singular values of R1 R2^T. It is therefore the sum of
    these singular values, which avoids the root of a nearly singular matrix.

    Args:
        first: mean and root of the covariance, from `mean_and_root`.
        second: the same of the other Gaussian.
    """
    (m1, r1), (m2, r2) = first, second
    cross = np.linalg.svd(r1 @ r2.T, compute_uv=False).sum()
    return float(np.square(m1 - m2).sum() + np.square(r1).sum() + np.square(r2).sum() - 2 * cross)


def frechet(x: Array, y: Array) -> float:
    """Return FID's distance (Heusel et al., 2017) between features (N, D) and (M, D)."""
    return frechet_between(mean_and_root(x), mean_and_root(y))


def kernel(x: Array, y: Array, within_y: float | None = None) -> float:
    """Return KID: the unbiased squared MMD with the kernel (x.y / D + 1)^3 (Binkowski et al., 2018, eq. 4, section 4).

    For sets of the same distribution its expectation is 0, so it may be slightly negative.

    Args:
        x: features (N, D).
        y: features (M, D).
        within_y: `within(y)`, where it is computed already.

    Raises:
        ValueError: a set has fewer than two samples.
    """
    between = _polynomial(np.asarray(x, np.float64), np.asarray(y, np.float64)).mean()
    return float(within(x) + (within(y) if within_y is None else within_y) - 2 * between)


def within(x: Array) -> float:
    """Return the mean of KID's kernel over all pairs of different samples of features (N, D).

    Raises:
        ValueError: there are fewer than two samples.
    """
    if len(x) < 2:
        raise ValueError(f"the unbiased estimate needs at least two samples, found {len(x)}")
    values = _polynomial(np.asarray(x, np.float64), np.asarray(x, np.float64))
    return float((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)))


def _polynomial(x: Array, y: Array) -> Array:
    """Return the matrix of KID's kernel between features (N, D) and (M, D), (N, M)."""
    values: Array = (x @ y.T / x.shape[1] + 1) ** 3
    return values


def inception_score(logits: Array) -> float:
    """Return the inception score of logits (N, number of classes) in one split (Salimans et al., 2016).

    It is exp of the mean KL divergence between an image's class distribution and their mean. It lies between 1, where
    all images have the same class distribution, and the number of classes.
    """
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    p = np.exp(logs)
    marginal = p.mean(0)
    entropy = -float((p * logs).sum(1).mean())
    return float(np.exp(-float((marginal * np.log(np.maximum(marginal, 1e-300))).sum()) - entropy))


def normalised(x: Array) -> Array:
    """Return features (N, D) scaled to length 1; rows of zeros stay zero."""
    x = np.asarray(x, np.float64)
    unit: Array = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return unit


def diversity(x: Array) -> float:
    """Return the mean distance between normalised features (N, D) over all pairs: 0 for copies of one image, at most 2.

    Raises:
        ValueError: there are fewer than two samples.
    """
    if len(x) < 2:
        raise ValueError(f"pairs need at least two samples, found {len(x)}")
    return float(_pairwise(x, x)[np.triu_indices(len(x), 1)].mean())


def content(source: Array, fake: Array) -> float:
    """Return the mean distance between normalised features of each source and its translation, both (N, D)."""
    return float(np.linalg.norm(normalised(source) - normalised(fake), axis=1).mean())


def content_of_others(source: Array, fake: Array) -> float:
    """Return the mean distance between normalised features of each source and the translations of all others."""
    distances = _pairwise(source, fake)
    return float((distances.sum() - np.trace(distances)) / (len(source) * (len(source) - 1)))


def _pairwise(x: Array, y: Array) -> Array:
    """Return the distances between normalised features (N, D) and (M, D), (N, M)."""
    distances: Array = np.sqrt(np.maximum(2 - 2 * normalised(x) @ normalised(y).T, 0))
    return distances


def standard_error(figure: RowFigure, count: int, halves: int, seed: int) -> float:
    """Return the standard error of a figure, estimated from its values on random halves of the samples.

    Sampled without replacement, the mean of half the samples has the same variance about the mean of all as that has
    about the population mean: sigma^2 / N. Unlike in a bootstrap no sample occurs twice, which would bias distances
    between distributions.

    Args:
        count: the number of samples, N.
        halves: the number of random halves.
        seed: of the random halves.

    Returns:
        The standard error; nan where there are fewer than 2 halves or 4 samples.
    """
    half = count // 2
    if halves < 2 or half < 2:
        return float("nan")
    rng = np.random.default_rng(seed)
    values = [figure(rng.permutation(count)[:half]) for _ in range(halves)]
    # The values have the variance sigma^2 (1/half - 1/count), which differs from sigma^2 / count where count is odd.
    return float(np.std(values, ddof=1) * np.sqrt(half / (count - half)))


def on_rows(function: Callable[..., float], *sets: Array) -> RowFigure:
    """Return a function of several sets, whose rows correspond, as a function of the indices of the rows to use."""

    def figure(rows: Array) -> float:
        return function(*(features[rows] for features in sets))

    return figure
