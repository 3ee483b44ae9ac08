"""Distances against closed forms, scipy and plain loops."""

from itertools import combinations

import numpy as np
import pytest
from transgan_images import distances


def gaussian(count: int, dims: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, dims)) @ rng.standard_normal((dims, dims)) + shift


def test_frechet_distance_in_one_dimension() -> None:
    x, y = gaussian(50, 1, 0), gaussian(80, 1, 1, shift=3.0)
    expected = (x.mean() - y.mean()) ** 2 + (x.std(ddof=1) - y.std(ddof=1)) ** 2
    assert distances.frechet(x, y) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_of_diagonal_gaussians_is_a_sum_over_axes() -> None:
    m1, m2, s1, s2 = np.array([0.0, 1, 2]), np.array([1.0, 1, 0]), np.array([1.0, 2, 3]), np.array([2.0, 2, 1])
    distance = distances.frechet_between((m1, np.diag(s1)), (m2, np.diag(s2)))
    assert distance == pytest.approx(((m1 - m2) ** 2 + (s1 - s2) ** 2).sum(), rel=1e-12)


@pytest.mark.parametrize("count", [7, 400])  # with fewer samples than dimensions covariances are singular
def test_frechet_distance_agrees_with_the_matrix_square_root(count: int) -> None:
    linalg = pytest.importorskip("scipy.linalg", reason="scipy is not installed")
    x, y = gaussian(count, 16, 2), gaussian(count + 5, 16, 3, shift=0.5)
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(c1 @ c2 if count > 16 else (c1 + 1e-10 * np.eye(16)) @ (c2 + 1e-10 * np.eye(16)))
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c1 + c2 - 2 * root.real)
    assert distances.frechet(x, y) == pytest.approx(expected, rel=1e-10 if count > 16 else 1e-3)


def test_frechet_distance_of_equal_and_of_shifted_sets() -> None:
    x = gaussian(30, 12, 4)
    assert distances.frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert distances.frechet(x, x + 2.0) == pytest.approx(12 * 4.0, rel=1e-9)


def test_kernel_distance_agrees_with_a_double_loop() -> None:
    x, y = gaussian(6, 5, 5), gaussian(9, 5, 6, shift=0.3)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((sum(p * q for p, q in zip(a, b, strict=True)) / 5 + 1) ** 3)

    within = [np.mean([k(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]) for s in (x, y)]
    expected = within[0] + within[1] - 2 * np.mean([k(a, b) for a in x for b in y])
    assert distances.kernel(x, y) == pytest.approx(expected, rel=1e-10)
    assert distances.kernel(x, y, distances.within(y)) == distances.kernel(x, y)


def test_kernel_distance_of_equal_distributions_is_0_on_average() -> None:
    large = np.random.default_rng(1000).standard_normal((2000, 4))
    within = distances.within(large)
    values = [distances.kernel(np.random.default_rng(i).standard_normal((10, 4)), large, within) for i in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20 and min(values) < 0


def test_inception_score_lies_between_1_and_the_number_of_classes() -> None:
    assert distances.inception_score(1000 * np.tile(np.eye(5), (3, 1))) == pytest.approx(5)
    assert distances.inception_score(np.zeros((7, 5))) == pytest.approx(1)
    assert distances.inception_score(np.tile([50.0, 0, 0], (4, 1))) == pytest.approx(1)
    p = np.array([[0.9, 0.1], [0.3, 0.7]])
    marginal = p.mean(0)
    kl = [(row * np.log(row / marginal)).sum() for row in p]
    assert distances.inception_score(np.log(p) + 3) == pytest.approx(np.exp(np.mean(kl)), rel=1e-12)


def test_diversity_is_0_for_copies_and_2_for_opposites() -> None:
    assert distances.diversity(np.tile([3.0, 4.0], (5, 1))) == pytest.approx(0, abs=1e-7)
    assert distances.diversity(np.array([[1.0, 0], [-5.0, 0]])) == pytest.approx(2)
    x = gaussian(6, 3, 7)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    pairs = [np.linalg.norm(a - b) for a, b in combinations(unit, 2)]
    assert distances.diversity(x) == pytest.approx(np.mean(pairs), rel=1e-10)


def test_content_compares_sources_with_their_own_and_with_other_translations() -> None:
    x, y = gaussian(5, 3, 8), gaussian(5, 3, 9)
    assert distances.content(x, 7 * x) == pytest.approx(0, abs=1e-7)
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (x, y)]
    pairwise = np.array([[np.linalg.norm(a - b) for b in unit[1]] for a in unit[0]])
    assert distances.content(x, y) == pytest.approx(np.trace(pairwise) / 5, rel=1e-10)
    assert distances.content_of_others(x, y) == pytest.approx((pairwise.sum() - np.trace(pairwise)) / 20, rel=1e-10)


@pytest.mark.parametrize("count", [30, 31])
def test_standard_error_of_a_mean_and_coverage_of_its_interval(count: int) -> None:
    covered, errors = 0, []
    for seed in range(200):
        x = np.random.default_rng(seed).standard_normal(count) + 5
        error = distances.standard_error(lambda rows, x=x: float(x[rows].mean()), count, 100, seed)
        covered += abs(x.mean() - 5) < 1.96 * error
        errors.append(error)
    assert np.mean(errors) == pytest.approx(1 / np.sqrt(count), rel=0.06)
    assert 0.88 <= covered / 200 <= 0.99


def test_standard_error_follows_from_the_seed_and_is_nan_for_few_samples() -> None:
    x = gaussian(12, 2, 10)

    def figure(rows: np.ndarray) -> float:
        return float(x[rows].sum())

    assert distances.standard_error(figure, 12, 20, 1) == distances.standard_error(figure, 12, 20, 1)
    assert distances.standard_error(figure, 12, 20, 1) != distances.standard_error(figure, 12, 20, 2)
    assert np.isnan(distances.standard_error(figure, 3, 20, 1)) and np.isnan(distances.standard_error(figure, 12, 0, 1))


@pytest.mark.parametrize("function", [distances.mean_and_root, distances.within, distances.diversity])
def test_fewer_than_two_samples_are_refused(function: object) -> None:
    with pytest.raises(ValueError, match="two samples"):
        function(np.zeros((1, 3)))  # type: ignore[operator]
