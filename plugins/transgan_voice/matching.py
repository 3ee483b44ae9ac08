"""Corresponding frames of two speakers without parallel recordings: nearest neighbours, and INCA."""

import numpy as np

from transgan_voice.warp import Affine, Array

#: The context of a frame, in frames: neighbours distinguish sounds that are alike for a moment.
CONTEXT = (-4, -2, 0, 2, 4)
#: Frames of either speaker whose nearest neighbour is searched, and frames of the other speaker that are candidates.
QUERIES, CANDIDATES = 4000, 8000
#: Iterations of INCA.
ITERATIONS = 8
#: Weight of the penalty on the difference from the map of the iteration before, relative to the mean variance.
RIDGE = 0.03


def inca(
    source: Array, target: Array, scale: Array, affine: Affine, active: tuple[Array, Array] | None = None
) -> Affine:
    """Improve an affine map by INCA (Erro, Moreno and Bonafonte, 2010).

    Each iteration pairs the mapped source frames and the target frames with their nearest neighbours, then fits a new
    affine map to the pairs by least squares. Neighbours are searched for frames of both speakers, so that all sounds of
    the target take part; distances are in decibels, over a context of 9 frames.

    Args:
        source: (N, T, B) normalized frames of N recordings of the source speaker.
        target: (M, T, B) the same of the target speaker.
        scale: (B,) factor from the target's normalized values to decibels, or anything proportional to decibels.
        affine: the initial map (W, s), y = W x + s. It must already map most frames close to their counterparts: from a
            poor one INCA converges to wrong pairs.
        active: as for `nearest_pairs`.
    """
    rng = np.random.default_rng(0)
    matrix, shift = affine
    x, y = (each.reshape(-1, each.shape[-1]) for each in (source, target))
    for _ in range(ITERATIONS):
        a, b = nearest_pairs(source @ matrix.T + shift, target, scale, rng, active=active)
        matrix, shift = _regression(x[a], y[b], matrix)
    return matrix, shift


def nearest_pairs(
    mapped: Array,
    target: Array,
    scale: Array,
    rng: np.random.Generator,
    factor: int = 1,
    active: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Return the frame numbers of 2 K pairs of nearest neighbours, (2 K,) and (2 K,); K queries come from either side.

    Args:
        mapped: (N, T, B) the source speaker's frames as a map converts them.
        target: (M, T, B) the target speaker's frames.
        scale: see `inca`.
        factor: multiplies QUERIES and CANDIDATES.
        active: (N, T) and (M, T) bool: frames that take part; all by default.
    """
    queries, candidates = factor * QUERIES, factor * CANDIDATES
    allowed = active or tuple(np.ones(each.shape[:2], bool) for each in (mapped, target))
    chosen_a, chosen_b = (rng.permutation(np.flatnonzero(each))[:candidates] for each in allowed)
    weights = scale.astype(np.float32)
    a, b = (
        with_context(each.astype(np.float32) * weights, chosen)
        for each, chosen in ((mapped, chosen_a), (target, chosen_b))
    )
    frames_a = np.concatenate([chosen_a[:queries], chosen_a[_nearest(b[:queries], a)]])
    frames_b = np.concatenate([chosen_b[_nearest(a[:queries], b)], chosen_b[:queries]])
    return frames_a, frames_b


def with_context(frames: Array, numbers: Array) -> Array:
    """Return frames with their context: (K, 5 B), of frames (N, T, B) those with numbers (K,), counted over N and T.

    At the ends of a recording its first and last frames are repeated.
    """
    length = frames.shape[1]
    recording, frame = np.divmod(numbers, length)
    neighbours = np.clip(frame[:, None] + CONTEXT, 0, length - 1)
    contexts: Array = frames[recording[:, None], neighbours].reshape(len(numbers), -1)
    return contexts


def _nearest(queries: Array, candidates: Array) -> Array:
    """Return the number of the nearest candidate of each query, (K,)."""
    half = (candidates**2).sum(1) / 2
    return np.concatenate(
        [(half - chunk @ candidates.T).argmin(1) for chunk in np.array_split(queries, len(queries) // 500 + 1)]
    )


def _regression(x: Array, y: Array, previous: Array) -> Affine:
    """Return the least-squares map from x to y, (K, B) each, with a ridge penalty on the distance from `previous`."""
    centred = x - x.mean(0)
    covariance = centred.T @ centred / len(x)
    penalty = RIDGE * np.trace(covariance) / len(covariance)
    right = centred.T @ (y - y.mean(0)) / len(x) + penalty * previous.T
    matrix: Array = np.linalg.solve(covariance + penalty * np.eye(len(covariance)), right).T
    return matrix, y.mean(0) - matrix @ x.mean(0)
