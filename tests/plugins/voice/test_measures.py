"""Measures of voices against manual computation and simple loops."""

import numpy as np
import pytest
from transgan_voice import measures


def test_distortion_computed_manually() -> None:
    a, b = np.zeros((2, 24)), np.zeros((2, 24))
    b[0, 0], b[0, 5] = 0.3, 0.4
    expected = 10 / np.log(10) * np.sqrt(2 * (0.3**2 + 0.4**2))
    assert measures.mel_cepstral_distortion(a, b) == pytest.approx([expected, 0.0])


@pytest.mark.parametrize("alpha", [0.0, 0.41, -0.3])
def test_mel_cepstra_of_one_pole_equal_its_power_series(alpha: float) -> None:
    """1 / (1 - a/z) over the warped axis is a ratio of first-order polynomials: c_m = (p^m - (-alpha)^m) / m."""
    w, m = np.linspace(0, np.pi, 513), np.arange(1, 25)
    power = 1 / np.abs(1 - 0.8 * np.exp(-1j * w)) ** 2
    pole = (0.8 - alpha) / (1 - 0.8 * alpha)
    assert measures.mel_cepstra(power[None], 24, alpha)[0] == pytest.approx((pole**m - (-alpha) ** m) / m, abs=1e-6)


def slow_alignment_cost(distance: np.ndarray) -> float:
    """Return the cost of the best DTW path, cell by cell."""
    n, m = distance.shape
    cost = np.full((n, m), np.inf)
    for i in range(n):
        for j in range(m):
            before = (
                0.0
                if i == j == 0
                else min(
                    cost[i - 1, j - 1] if i and j else np.inf,
                    cost[i - 1, j] if i else np.inf,
                    cost[i, j - 1] if j else np.inf,
                )
            )
            cost[i, j] = distance[i, j] + before
    return float(cost[-1, -1])


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 9), (7, 1), (12, 12), (23, 40), (31, 17)])
def test_dtw_cost_equals_that_of_a_loop_and_steps_are_of_one_frame(n: int, m: int) -> None:
    rng = np.random.default_rng(n * m)
    a, b = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    i, j = measures.dtw(a, b)
    distance = np.linalg.norm(a[:, None] - b[None], axis=2)
    assert distance[i, j].sum() == pytest.approx(slow_alignment_cost(distance))
    assert (i[0], j[0], i[-1], j[-1]) == (0, 0, n - 1, m - 1)
    steps = set(zip(np.diff(i).tolist(), np.diff(j).tolist(), strict=True))
    assert steps <= {(1, 1), (1, 0), (0, 1)}


def test_dtw_aligns_repeated_frames() -> None:
    a = np.random.default_rng(0).normal(size=(20, 4))
    held = np.repeat(a, [1 + i % 3 for i in range(20)], axis=0)
    i, j = measures.dtw(a, held)
    assert measures.mel_cepstral_distortion(a[i], held[j]).max() < 1e-6


def test_f0_errors_in_cents_and_voicing_errors() -> None:
    true = np.array([100.0, 200.0, 0.0, 150.0])
    converted = np.array([200.0, 200.0, 120.0, 0.0])
    cents, voicing_error = measures.f0_errors(converted, true)
    assert cents == pytest.approx(1200 / np.sqrt(2)) and voicing_error == 0.5
    assert np.isnan(measures.f0_errors(np.zeros(4), true)[0])


def test_over_smoothing_lowers_variance_and_modulation() -> None:
    rng = np.random.default_rng(0)
    real = [rng.normal(size=(200, 5)) for _ in range(3)]
    halved = [0.5 * x for x in real]
    assert measures.variance_ratio(halved, real) == pytest.approx(0.25)
    assert measures.modulation_distance(halved, real) == pytest.approx(10 * np.log10(4))
    assert measures.modulation_distance(real, real) == 0.0
    assert np.isnan(measures.modulation_distance([x[:10] for x in real], real))


def test_phones_and_speakers_are_classified() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(1, 4, 900)
    x = np.eye(4)[labels] * 8 + rng.normal(size=(900, 4))
    phones = measures.PhoneClassifier(x[:600], labels[:600])
    assert (phones(x[600:]) == labels[600:]).mean() > 0.99
    tilt = np.array([[3.0, 1.0], [0.0, 0.1]])
    voices = {"anna": rng.normal(size=(500, 2)) @ tilt, "bert": rng.normal(size=(500, 2)) @ tilt + [0.5, 0.5]}
    speakers = measures.SpeakerClassifier(voices)
    assert speakers(voices["anna"][:60]) == "anna" and speakers(voices["bert"][:60]) == "bert"


def test_the_bootstrap_interval_contains_the_mean_and_has_the_expected_width() -> None:
    values = np.random.default_rng(0).normal(5, 1, 400)
    low, high = measures.bootstrap_interval(values)
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.15) and low < values.mean() < high
