"""INCA and kernel ridge regression recover known maps between speakers with different sentences."""

import numpy as np
import pytest
from transgan_voice.initialization import Speech, affine_map, inverse, matching_map
from transgan_voice.kernel import radial_basis, ridge_regression
from transgan_voice.matching import CONTEXT, inca, with_context
from transgan_voice.warp import Array, warped_cepstra

ORDERS = 12


def speech(seed: int, recordings: int = 40) -> Array:
    """Return cepstra (N, 60, 12) of recordings: sounds of six frames with smooth transitions."""
    size = 1.5 / np.arange(1, ORDERS + 1)
    sounds = np.random.default_rng(5).normal(size=(14, ORDERS)) * size
    rng = np.random.default_rng(seed)
    held = np.repeat(sounds[rng.integers(14, size=(recordings, 12))], 6, axis=1)
    glide = np.lib.stride_tricks.sliding_window_view(held, 5, axis=1).mean(-1)[:, :60]
    frames: Array = glide + 0.05 * size * rng.normal(size=glide.shape)
    return frames


def another_voice(x: Array) -> Array:
    """Return the cepstra as another speaker's: a warp, a random linear map close to the identity, and an offset."""
    mixing = np.eye(ORDERS) + 0.15 * np.random.default_rng(3).normal(size=(ORDERS, ORDERS)) / np.sqrt(ORDERS)
    voice: Array = x @ (mixing @ warped_cepstra(ORDERS, ORDERS, 0.06)[1:, 1:]).T + 0.2
    return voice


def test_inca_finds_a_linear_map_that_is_not_a_warp() -> None:
    a, b, test = speech(1), another_voice(speech(2)), speech(3)
    flat = [each.reshape(-1, ORDERS) for each in (a, b, test)]
    means, scales = [each.mean(0) for each in flat], [each.std(0) for each in flat]
    x, y = (a - means[0]) / scales[0], (b - means[1]) / scales[1]
    probe = (flat[2] - means[0]) / scales[0]
    expected = (another_voice(flat[2]) - means[1]) / scales[1]
    ends = (x.reshape(-1, ORDERS), y.reshape(-1, ORDERS))
    initial = affine_map(*ends, (scales[0], scales[1]), "cepstra", "warp_transport")

    def error(matrix: Array, shift: Array) -> float:
        return float(np.abs(probe @ matrix.T + shift - expected).mean())

    found = inca(x, y, scales[1], initial)
    assert error(*found) < 0.4 * error(*initial)
    assert error(*found) < 0.1  # of a standard deviation
    back = inca(y, x, scales[0], inverse(initial, ends[0]))
    assert float(np.abs(expected @ back[0].T + back[1] - probe).mean()) < 0.12


def test_inca_runs_on_one_short_recording_and_is_deterministic() -> None:
    a, b = speech(1, 1), speech(2, 1)
    identity = (np.eye(ORDERS), np.zeros(ORDERS))
    first, second = (inca(a, b, np.ones(ORDERS), identity) for _ in range(2))
    assert np.array_equal(first[0], second[0]) and np.isfinite(first[0]).all() and np.isfinite(first[1]).all()


def test_kernel_regression_fits_a_nonlinear_map_better_than_any_affine_one() -> None:
    size = 1.5 / np.arange(1, ORDERS + 1)

    def nonlinear(x: Array) -> Array:
        voice: Array = another_voice(x) + 0.7 * size * (np.abs(x / size) - 0.8)
        return voice

    a, b, test = speech(1, 60), nonlinear(speech(2, 60)), speech(3)
    (mean_a, std_a), (mean_b, std_b) = ((x.mean((0, 1)), x.std((0, 1))) for x in (a, b))
    x, y, probe, expected = (a - mean_a) / std_a, (b - mean_b) / std_b, (test - mean_a) / std_a, nonlinear(test)
    ends = (x.reshape(-1, ORDERS), y.reshape(-1, ORDERS))
    initial = affine_map(*ends, (std_a, std_b), "cepstra", "warp_transport")
    matrix, shift = inca(x, y, std_b, initial)
    found = matching_map(*(Speech(each, np.ones(each.shape[:2], bool)) for each in (x, y)), std_b, initial)

    def error(mapped: Array) -> float:
        return float(np.abs(mapped - (expected - mean_b) / std_b).mean())

    best = np.linalg.lstsq(
        np.c_[probe.reshape(-1, ORDERS), np.ones(probe.shape[0] * probe.shape[1])],
        ((expected - mean_b) / std_b).reshape(-1, ORDERS),
        rcond=None,
    )[0]
    best_affine = probe @ best[:-1] + best[-1]
    assert error(found(probe)) < error(best_affine) < error(probe @ matrix.T + shift)


def test_radial_basis_functions_are_kernel_ridge_regression() -> None:
    """With every frame as a centre, against the dual form f = k (K + r)^-1 y, plus a constant."""
    rng = np.random.default_rng(0)
    recordings = rng.normal(size=(5, 100, 2))
    every = with_context(recordings, np.arange(500))
    assert every.shape == (500, 2 * len(CONTEXT))
    basis = radial_basis(recordings)
    assert sorted(map(tuple, basis.centres)) == sorted(map(tuple, every))
    squares = ((every[:, None] - every) ** 2).sum(-1)
    assert basis.width == pytest.approx(np.median(squares))
    h = basis(every)
    assert np.allclose(np.sort(h.ravel()), np.sort(np.exp(-squares / basis.width).ravel()))
    y = np.sin(every[:, :3]) + 5.0
    weights, constant = ridge_regression(h, y)
    centred = h - h.mean(0)
    penalty = 1e-3 * (centred**2).sum() / 500 / 500
    dual = np.linalg.solve(centred @ centred.T / 500 + penalty * np.eye(500), (y - y.mean(0)) / 500)
    assert np.allclose(h @ weights.T + constant, centred @ centred.T @ dual + y.mean(0), atol=1e-6)


def test_radial_basis_functions_of_fewer_frames_than_centres() -> None:
    basis = radial_basis(np.zeros((1, 3, 2)))
    weights, constant = ridge_regression(basis(np.zeros((4, 10))), np.ones((4, 2)))
    assert np.isfinite(weights).all() and np.allclose(constant + weights @ basis(np.zeros((1, 10)))[0], 1)
