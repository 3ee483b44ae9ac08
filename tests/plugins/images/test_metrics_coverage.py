"""Precision, recall, density and coverage against a double loop, and by what they must be for known sets."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transgan_images.metrics_coverage import Balls, Coverage, CoverageOptions

from transgan.api import Domain, Media, Sample, Translation, UsageError

FORWARD = Translation("age", "young", "old")
SQUEEZENET = Path(__file__).resolve().parents[4] / "shared/data/weights/squeezenet1_1_features_imagenet_caffe.npz"
FIGURES = ("precision", "recall", "density", "coverage")


def gaussian(count: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3)) * scale + shift


def by_hand(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    """Return the four figures from loops over pairs (Naeem et al., 2020, eq. 3 to 6)."""

    def radius(points: np.ndarray, i: int) -> float:
        return sorted(math.dist(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]

    real_radii = [radius(real, i) for i in range(len(real))]
    fake_radii = [radius(fake, j) for j in range(len(fake))]
    precise = recalled = dense = covered = 0
    for y in fake:
        balls = [math.dist(x, y) < r for x, r in zip(real, real_radii, strict=True)]
        precise += any(balls)
        dense += sum(balls)
    for x, r in zip(real, real_radii, strict=True):
        recalled += any(math.dist(x, y) < s for y, s in zip(fake, fake_radii, strict=True))
        covered += any(math.dist(x, y) < r for y in fake)
    return {
        "precision": precise / len(fake),
        "recall": recalled / len(real),
        "density": dense / (k * len(fake)),
        "coverage": covered / len(real),
    }


def measured(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    balls = Balls(real, k)
    inside = balls.inside(fake)
    return {name: getattr(balls, name)(fake if name == "recall" else inside) for name in FIGURES}


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.8, 0.5), (0.0, 2.0)])
def test_the_figures_agree_with_a_double_loop(k: int, shift: float, scale: float) -> None:
    real, fake = gaussian(40, 0), gaussian(31, 1, shift, scale)
    expected = by_hand(real, fake, k)
    assert measured(real, fake, k) == pytest.approx(expected, rel=1e-12)
    assert len(set(expected.values())) > 1 and 0 < expected["coverage"] < 1


@pytest.mark.parametrize("k", [1, 5])
def test_of_identical_sets_all_are_1_and_of_distant_ones_0(k: int) -> None:
    x = gaussian(30, 2)
    assert measured(x, x.copy(), k) == pytest.approx(dict.fromkeys(FIGURES, 1.0), rel=1e-12)
    assert measured(x, x + 1000, k) == dict.fromkeys(FIGURES, 0.0)


def test_an_outlier_among_translations_adds_recall_and_one_among_real_images_precision() -> None:
    """The weakness for which density and coverage were proposed (Naeem et al., 2020, figure 2)."""
    real, fake = gaussian(100, 3), gaussian(100, 4, shift=8.0)
    assert measured(real, fake, 5) == dict.fromkeys(FIGURES, 0.0)
    with_outlier = measured(np.concatenate([real, np.full((1, 3), 6.0)]), fake, 5)
    assert with_outlier["precision"] > 0.9 and with_outlier["density"] < 0.21 and with_outlier["coverage"] == 1 / 101
    assert measured(real, np.concatenate([fake, np.full((1, 3), 2.0)]), 5)["recall"] > 0.9


def test_the_mean_of_the_real_images_is_dense_and_covers_little() -> None:
    real = gaussian(200, 5)
    mush = gaussian(200, 6, scale=0.05)
    found = measured(real, mush, 5)
    assert found["precision"] == 1.0 and found["density"] > 0.9 and found["coverage"] < 0.15 and found["recall"] < 0.05


def domain(name: str, x: Tensor) -> Domain:
    def batches(held_out: bool, size: int) -> Iterator[tuple[list[str], Tensor]]:
        for first in range(0, 0 if held_out else len(x), size):
            yield [str(i) for i in range(first, first + size)], x[first : first + size]

    return Domain(name, [Sample(str(i), None) for i in range(len(x))], [], batches, Media(None, 32))


@pytest.fixture
def evaluate() -> Callable[..., tuple[Coverage, dict[str, float]]]:
    """`evaluate(options, source, fake, real)`: the metric and its figures, of images (N, 3, H, W)."""

    def figures(
        options: CoverageOptions, source: Tensor, fake: Tensor, real: Tensor
    ) -> tuple[Coverage, dict[str, float]]:
        metric = Coverage(options)
        metric.prepare({"young": domain("young", source), "old": domain("old", real)}, {"age": ["young", "old"]}, 0)
        metric.reset()
        for i in range(0, len(source), 8):
            metric.update(FORWARD, source[i : i + 8], fake[i : i + 8])
        return metric, metric.compute().get(FORWARD, {})

    return figures


def textures(count: int, seed: int, bright: float) -> Tensor:
    """Return smooth random images, (N, 3, 32, 32)."""
    rng = torch.Generator().manual_seed(seed)
    x = F.interpolate(torch.randn(count, 3, 5, 5, generator=rng), (32, 32), mode="bicubic")
    return (0.3 * x + bright).clamp(-1, 1)


def test_neither_copies_of_the_sources_nor_mush_look_good(
    evaluate: Callable[..., tuple[Coverage, dict[str, float]]],
) -> None:
    if not SQUEEZENET.exists():
        pytest.skip("the weights of SqueezeNet are not available")
    options = CoverageOptions(network="squeezenet", weights=str(SQUEEZENET), halves=20)
    source, real = textures(40, 0, -0.5), textures(100, 1, 0.5)
    mush = real.mean(0, keepdim=True) + 0.01 * textures(40, 2, 0.0)
    found = {
        name: evaluate(options, source, fake, real)[1]
        for name, fake in {"copies": source, "mush": mush, "good": textures(40, 3, 0.5)}.items()
    }
    coverage = {name: each["coverage_squeezenet_32px"] for name, each in found.items()}
    assert coverage["good"] > 3 * max(coverage["copies"], coverage["mush"])
    assert coverage["good"] == pytest.approx(found["good"]["coverage_squeezenet_32px_of_real"], abs=0.25)
    for each in found.values():
        assert {n: v for n, v in each.items() if "_of_source" in n} == {
            n: v for n, v in found["copies"].items() if "_of_source" in n
        }
        assert each["coverage_squeezenet_32px_of_source"] == coverage["copies"]
    expected = {
        f"{what}_squeezenet_32px{of}{end}"
        for what in FIGURES
        for of in ("", "_of_source", "_of_real")
        for end in (("", "_low", "_high") if what in ("precision", "density") else ("",))
    }
    assert set(found["good"]) == expected


def test_as_many_real_images_are_used_as_translations(
    evaluate: Callable[..., tuple[Coverage, dict[str, float]]],
) -> None:
    """Against fifty times as many real images, translations of the very distribution would cover few."""
    options = CoverageOptions(network="own", halves=0, k=3)
    x = textures(24, 4, 0.0)
    _, figures = evaluate(options, x, x, x.flip(3))
    assert not any("_of_real" in name for name in figures)  # there are no other real images
    assert set(figures) == {f"{what}_own_32px{of}" for what in FIGURES for of in ("", "_of_source")}
    _, more = evaluate(options, x[:8], x[:8], x.flip(3))
    assert "coverage_own_32px_of_real" in more


def test_fewer_images_than_neighbours_are_reported(evaluate: Callable[..., tuple[Coverage, dict[str, float]]]) -> None:
    x = textures(5, 5, 0.0)
    metric, figures = evaluate(CoverageOptions(halves=0), x, x, x)
    assert figures == {}
    assert metric.warnings() == [
        f"no figure for {FORWARD}: 5 translated and 5 real images, expected at least 6 of each"
    ]
    with pytest.raises(UsageError, match="there is no feature network 'vgg'"):
        Coverage(CoverageOptions(network="vgg", weights="w"))
