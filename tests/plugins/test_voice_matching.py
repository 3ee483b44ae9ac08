"""Frames that say the same find each other, and the map between two speakers comes near that of the truth."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transgan_voice.kernel import bumps_of, ridge
from transgan_voice.matching import CONTEXT, matched, stretches
from transgan_voice.start import affine_map, inverse, matching_map
from transgan_voice.warp import Array, warped_cepstra

ORDERS = 12


def said(seed: int, recordings: int = 40) -> Array:
    """(N, 60, 12) cepstra: sounds of six frames that glide into each other."""
    size = 1.5 / np.arange(1, ORDERS + 1)
    sounds = np.random.default_rng(5).normal(size=(14, ORDERS)) * size
    rng = np.random.default_rng(seed)
    held = np.repeat(sounds[rng.integers(14, size=(recordings, 12))], 6, axis=1)
    glide = np.lib.stride_tricks.sliding_window_view(held, 5, axis=1).mean(-1)[:, :60]
    frames: Array = glide + 0.05 * size * rng.normal(size=glide.shape)
    return frames


def another_voice(x: Array) -> Array:
    """A warp, a tilt that depends on what is said, and another loudness of each coefficient."""
    tilt = np.eye(ORDERS) + 0.15 * np.random.default_rng(3).normal(size=(ORDERS, ORDERS)) / np.sqrt(ORDERS)
    voice: Array = x @ (tilt @ warped_cepstra(ORDERS, ORDERS, 0.06)[1:, 1:]).T + 0.2
    return voice


def test_a_map_that_is_no_warp_is_found_from_speakers_who_say_other_things() -> None:
    a, b, test = said(1), another_voice(said(2)), said(3)
    flat = [each.reshape(-1, ORDERS) for each in (a, b, test)]
    means, scales = [each.mean(0) for each in flat], [each.std(0) for each in flat]
    x, y = (a - means[0]) / scales[0], (b - means[1]) / scales[1]
    probe = (flat[2] - means[0]) / scales[0]
    wanted = (another_voice(flat[2]) - means[1]) / scales[1]
    ends = (x.reshape(-1, ORDERS), y.reshape(-1, ORDERS))
    start = affine_map(*ends, (scales[0], scales[1]), "cepstra", "warp_transport")

    def gap(matrix: Array, shift: Array) -> float:
        return float(np.abs(probe @ matrix.T + shift - wanted).mean())

    found = matched(x, y, scales[1], start)
    assert gap(*found) < 0.4 * gap(*start)
    assert gap(*found) < 0.1  # of a standard deviation
    back = matched(y, x, scales[0], inverse(start, ends[0]))
    assert float(np.abs(wanted @ back[0].T + back[1] - probe).mean()) < 0.12


def test_a_short_recording_is_enough_to_run_and_draws_are_the_same_each_time() -> None:
    a, b = said(1, 1), said(2, 1)
    same = (np.eye(ORDERS), np.zeros(ORDERS))
    first, second = (matched(a, b, np.ones(ORDERS), same) for _ in range(2))
    assert np.array_equal(first[0], second[0]) and np.isfinite(first[0]).all() and np.isfinite(first[1]).all()


def test_a_voice_that_bends_is_met_by_bumps_where_a_matrix_cannot() -> None:
    size = 1.5 / np.arange(1, ORDERS + 1)

    def bent(x: Array) -> Array:
        voice: Array = another_voice(x) + 0.7 * size * (np.abs(x / size) - 0.8)
        return voice

    a, b, test = said(1, 60), bent(said(2, 60)), said(3)
    (mean_a, std_a), (mean_b, std_b) = ((x.mean((0, 1)), x.std((0, 1))) for x in (a, b))
    x, y, probe, wanted = (a - mean_a) / std_a, (b - mean_b) / std_b, (test - mean_a) / std_a, bent(test)
    ends = (x.reshape(-1, ORDERS), y.reshape(-1, ORDERS))
    start = affine_map(*ends, (std_a, std_b), "cepstra", "warp_transport")
    matrix, shift = matched(x, y, std_b, start)
    speaker: Any = SimpleNamespace(media=SimpleNamespace(kind="cepstra"))
    found = matching_map(x, y, std_b, start, speaker)

    def gap(made: Array) -> float:
        return float(np.abs(made - (wanted - mean_b) / std_b).mean())

    best = np.linalg.lstsq(
        np.c_[probe.reshape(-1, ORDERS), np.ones(probe.shape[0] * probe.shape[1])],
        ((wanted - mean_b) / std_b).reshape(-1, ORDERS),
        rcond=None,
    )[0]
    straight = probe @ best[:-1] + best[-1]
    assert gap(found(probe)) < gap(straight) < gap(probe @ matrix.T + shift)


def test_bumps_are_kernel_ridge_regression() -> None:
    """With a bump at every frame, against the textbook's dual form: f = k (K + r)^-1 y, its constant apart."""
    rng = np.random.default_rng(0)
    recordings = rng.normal(size=(5, 100, 2))
    every = stretches(recordings, np.arange(500))
    assert every.shape == (500, 2 * len(CONTEXT))
    bumps = bumps_of(recordings)
    assert sorted(map(tuple, bumps.centres)) == sorted(map(tuple, every))
    squares = ((every[:, None] - every) ** 2).sum(-1)
    assert bumps.width == pytest.approx(np.median(squares))
    h = bumps(every)
    assert np.allclose(np.sort(h.ravel()), np.sort(np.exp(-squares / bumps.width).ravel()))
    y = np.sin(every[:, :3]) + 5.0
    weights, constant = ridge(h, y)
    centred = h - h.mean(0)
    share = 1e-3 * (centred**2).sum() / 500 / 500
    dual = np.linalg.solve(centred @ centred.T / 500 + share * np.eye(500), (y - y.mean(0)) / 500)
    assert np.allclose(h @ weights.T + constant, centred @ centred.T @ dual + y.mean(0), atol=1e-6)


def test_of_a_speaker_who_said_one_word_there_are_bumps_too() -> None:
    bumps = bumps_of(np.zeros((1, 3, 2)))
    weights, constant = ridge(bumps(np.zeros((4, 10))), np.ones((4, 2)))
    assert np.isfinite(weights).all() and np.allclose(constant + weights @ bumps(np.zeros((1, 10)))[0], 1)
