"""How far apart two sets of pictures lie, from their features; in numpy, in float64, in closed form.

Features are (N, D), one row a picture. Nothing here knows a network, a file or a domain.
"""

from collections.abc import Callable

import numpy as np

Array = np.ndarray
Figure = Callable[[Array], float]
"""A figure of some of the samples, which are given by their rows."""


def centred_root(x: Array) -> tuple[Array, Array]:
    """The mean (D,), and R (min(N, D), D) with R^T R the covariance (N - 1 in the denominator)."""
    if len(x) < 2:
        raise ValueError(f"a covariance needs two samples at least, not {len(x)}")
    x = np.asarray(x, dtype=np.float64)
    mean = x.mean(0)
    root = (x - mean) / np.sqrt(len(x) - 1)
    if len(root) > root.shape[1]:
        root = np.linalg.qr(root, mode="r")
    return mean, root


def frechet_between(first: tuple[Array, Array], second: tuple[Array, Array]) -> float:
    """The Frechet distance between Gaussians, each a mean and a root of the covariance (Dowson and Landau, 1982).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). With C = R^T R the last trace is that of the root of the symmetric
    R1 C2 R1^T, whose eigenvalues are the squared singular values of R1 R2^T: so it is their sum, and no root of a
    nearly singular matrix has to be taken.
    """
    (m1, r1), (m2, r2) = first, second
    cross = np.linalg.svd(r1 @ r2.T, compute_uv=False).sum()
    return float(np.square(m1 - m2).sum() + np.square(r1).sum() + np.square(r2).sum() - 2 * cross)


def frechet(x: Array, y: Array) -> float:
    """FID's formula (Heusel et al., 2017) on features (N, D) and (M, D)."""
    return frechet_between(centred_root(x), centred_root(y))


def kernel(x: Array, y: Array, within_y: float | None = None) -> float:
    """The unbiased squared MMD with the kernel (x.y / D + 1)^3 (Binkowski et al., 2018, eq. 4 and section 4).

    It may be below 0, where both sets are alike. `within_y` is `within(y)`, where that is known already.
    """
    between = _polynomial(np.asarray(x, np.float64), np.asarray(y, np.float64)).mean()
    return float(within(x) + (within(y) if within_y is None else within_y) - 2 * between)


def within(x: Array) -> float:
    """The kernel's mean over all pairs of different samples."""
    if len(x) < 2:
        raise ValueError("the unbiased estimate needs two samples at least")
    values = _polynomial(np.asarray(x, np.float64), np.asarray(x, np.float64))
    return float((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)))


def _polynomial(x: Array, y: Array) -> Array:
    values: Array = (x @ y.T / x.shape[1] + 1) ** 3
    return values


def inception_score(logits: Array) -> float:
    """exp of the mean KL divergence between a picture's classes and those of all (Salimans et al., 2016); one split.

    From 1, where every picture says the same or nothing, to the number of classes.
    """
    logits = np.asarray(logits, np.float64)
    logits = logits - logits.max(1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    p = np.exp(logs)
    marginal = p.mean(0)
    entropy = -float((p * logs).sum(1).mean())
    return float(np.exp(-float((marginal * np.log(np.maximum(marginal, 1e-300))).sum()) - entropy))


def normalised(x: Array) -> Array:
    """Rows of length 1; a row of zeros stays one."""
    x = np.asarray(x, np.float64)
    unit: Array = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return unit


def diversity(x: Array) -> float:
    """The mean distance between two pictures, over all pairs of unit features: 0 for copies of one, at most 2."""
    if len(x) < 2:
        raise ValueError("a pair needs two samples")
    return float(_apart(x, x)[np.triu_indices(len(x), 1)].mean())


def content(source: Array, fake: Array) -> float:
    """The mean distance between a source and its translation, of unit features: row i belongs to row i."""
    return float(np.linalg.norm(normalised(source) - normalised(fake), axis=1).mean())


def content_of_others(source: Array, fake: Array) -> float:
    """The same between a source and the translations of all others."""
    distances = _apart(source, fake)
    return float((distances.sum() - np.trace(distances)) / (len(source) * (len(source) - 1)))


def _apart(x: Array, y: Array) -> Array:
    """(N, M) distances between unit features."""
    distances: Array = np.sqrt(np.maximum(2 - 2 * normalised(x) @ normalised(y).T, 0))
    return distances


def spread(figure: Figure, count: int, halves: int, seed: int) -> float:
    """The standard deviation of a figure of `count` samples, by its values on random halves of them.

    Half the samples, drawn without replacement, deviate from all of them as much as all of them deviate from the
    population: sigma^2 / n, in either case. Unlike a bootstrap, no sample comes twice, which would move distances
    between distributions. nan where there are too few.
    """
    half = count // 2
    if halves < 2 or half < 2:
        return float("nan")
    rng = np.random.default_rng(seed)
    values = [figure(rng.permutation(count)[:half]) for _ in range(halves)]
    # An odd count's half is a little less than half of it: sigma^2 (1/half - 1/count) is what was seen.
    return float(np.std(values, ddof=1) * np.sqrt(half / (count - half)))


def on_rows(function: Callable[..., float], *sets: Array) -> Figure:
    """A figure of rows that belong together in several sets, as a figure of which rows are taken."""

    def figure(rows: Array) -> float:
        return function(*(each[rows] for each in sets))

    return figure
