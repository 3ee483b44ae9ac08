"""Frames of two speakers that say the same, found without being told which: a better map from a good one."""

import numpy as np

from transgan_voice.warp import Affine, Array

#: Neighbours that a frame is matched with, as places in time: where a sound comes from and goes to tells sounds apart.
CONTEXT = (-4, -2, 0, 2, 4)
#: Frames of either speaker that look for their like, and among how many of the other's.
SEEK, AMONG = 4000, 8000
ROUNDS = 8
#: How much the last round's map holds back a new one, of the mean variance.
RIDGE = 0.03


def matched(source: Array, target: Array, scale: Array, affine: Affine) -> Affine:
    """The affine map of least squares between frames that are nearest to each other under the map before, in rounds.

    INCA (Erro, Moreno and Bonafonte, 2010), with affine regression: frames of both speakers look for the nearest of the
    other, so that no part of the target's sounds is left out, and near means in decibels, over a stretch of 9 frames.

    Args:
        source: (N, T, B) normalised frames of one speaker, recording by recording.
        target: (M, T, B) of the other.
        scale: (B,) what the target's normalised values are multiplied by to be decibels, or proportional to them.
        affine: a map (W, s), y = W x + s, under which most frames are already near their like. From a bad one it
            settles on wrong matches.
    """
    rng = np.random.default_rng(0)
    matrix, shift = affine
    x, y = (each.reshape(-1, each.shape[-1]) for each in (source, target))
    for _ in range(ROUNDS):
        a, b = like(source @ matrix.T + shift, target, scale, rng)
        matrix, shift = _regression(x[a], y[b], matrix)
    return matrix, shift


def like(moved: Array, target: Array, scale: Array, rng: np.random.Generator, often: int = 1) -> tuple[Array, Array]:
    """(2 K,) and (2 K,): places of frames that are near each other, K found for frames of either side.

    Args:
        moved: (N, T, B) one speaker's frames as a map makes them, recording by recording.
        target: (M, T, B) of the other.
        scale: as for `matched`.
        often: times SEEK frames look for their like, among that many times AMONG.
    """
    seek, among = often * SEEK, often * AMONG
    mine, theirs = (rng.permutation(each.shape[0] * each.shape[1])[:among] for each in (moved, target))
    weights = scale.astype(np.float32)
    here, there = (
        stretches(each.astype(np.float32) * weights, places) for each, places in ((moved, mine), (target, theirs))
    )
    a = np.concatenate([mine[:seek], mine[_nearest(there[:seek], here)]])
    b = np.concatenate([theirs[_nearest(here[:seek], there)], theirs[:seek]])
    return a, b


def stretches(recordings: Array, places: Array) -> Array:
    """(K, 5 B): frames of (N, T, B) with their neighbours within the same recording, whose ends go on for ever."""
    length = recordings.shape[1]
    first, at = np.divmod(places, length)
    around = np.clip(at[:, None] + CONTEXT, 0, length - 1)
    found: Array = recordings[first[:, None], around].reshape(len(places), -1)
    return found


def _nearest(points: Array, among: Array) -> Array:
    """(K,) which of `among` is nearest to each point."""
    half = (among**2).sum(1) / 2
    return np.concatenate(
        [(half - part @ among.T).argmin(1) for part in np.array_split(points, len(points) // 500 + 1)]
    )


def _regression(x: Array, y: Array, before: Array) -> Affine:
    """Least squares from x to y, (K, B) each, drawn to the matrix before where x hardly varies."""
    centred = x - x.mean(0)
    square = centred.T @ centred / len(x)
    held = RIDGE * np.trace(square) / len(square)
    right = centred.T @ (y - y.mean(0)) / len(x) + held * before.T
    matrix: Array = np.linalg.solve(square + held * np.eye(len(square)), right).T
    return matrix, y.mean(0) - matrix @ x.mean(0)
