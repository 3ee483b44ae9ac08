"""Frames that say the same find each other, and the map between two speakers comes near that of the truth."""

import numpy as np
from transgan_voice.matching import matched
from transgan_voice.start import affine_map, inverse
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
