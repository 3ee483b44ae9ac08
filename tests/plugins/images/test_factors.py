"""Reading factors of synthetic shapes from pictures, and metrics of them, against closed forms and known factors."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transgan_images.factors import circular_distance, read_factors
from transgan_images.metrics_factors import ContentKept, CoverageOptions, FactorCoverage, FactorError, ReferenceStyle
from transgan_images.shapes import FILLS, KINDS, Content, draw

from transgan.api import Domain, Media, Options, Translation, UsageError

FORWARD, BACKWARD = Translation("paint", "sketch", "painting"), Translation("paint", "painting", "sketch")


def pictures(hues: Any, fill: str = "filled", size: int = 32, first: int = 0) -> Tensor:
    """Return pictures of consecutive contents, one for each hue, (N, 3, H, W); None is grey."""
    drawn = [draw(Content.of(3, first + i), fill, None if hue is None else hue, size) for i, hue in enumerate(hues)]
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).float() / 127.5 - 1


def distances(a: Any, b: Any) -> np.ndarray:
    """Return distances on a circle of length 1."""
    gap = np.abs(np.asarray(a) - np.asarray(b)) % 1
    return np.minimum(gap, 1 - gap)


# Reading


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("size", [32, 64, 128])
def test_factors_are_read_as_exactly_as_documented(fill: str, size: int) -> None:
    hues = np.linspace(0, 1, 48, endpoint=False)
    factors = read_factors(pictures(hues, fill, size))
    assert distances(factors.hue, hues).max() < 0.001
    assert (factors.saturation - 1).abs().max() < 0.005
    exact = read_factors(pictures(hues, fill, 256))
    assert (factors.area / exact.area - 1).abs().max() < 0.05
    assert (factors.centroid - exact.centroid).abs().max() < 0.01
    grey = read_factors(pictures([None] * 48, fill, size))
    assert grey.hue.isnan().all()
    assert grey.saturation.abs().max() < 0.005
    assert (grey.mask - factors.mask).abs().max() < 0.02  # the mask does not depend on the colour


def test_area_and_centroid_of_filled_shapes_are_those_of_their_content() -> None:
    contents = [Content.of(3, i) for i in range(48)]
    factors = read_factors(pictures([0.1] * 48, size=64))
    for i, content in enumerate(contents):
        assert factors.centroid[i].tolist() == pytest.approx(content.centre, abs=0.003)
        if KINDS[content.kind] is None:
            assert 4 * float(factors.area[i]) == pytest.approx(math.pi * content.radius**2, rel=0.01)


def test_hues_are_read_from_noisy_and_from_two_coloured_pictures() -> None:
    hues = np.linspace(0, 1, 40, endpoint=False)
    x = pictures(hues, "outline", 64)
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, x.shape)).float()
    assert distances(read_factors(x + noise).hue, hues).max() < 0.01
    red, yellow = pictures([0.0]), pictures([1 / 6])
    half = torch.arange(32)[:, None] < round(16 * (1 + Content.of(3, 0).centre[1]))
    assert 0.05 < float(read_factors(torch.where(half, red, yellow)).hue) < 0.12


def test_pictures_without_a_shape_have_no_hue_and_no_place() -> None:
    ramp = torch.linspace(0.3, 0.8, 32).expand(1, 3, 32, 32)
    factors = read_factors(torch.cat([ramp, torch.ones(1, 3, 32, 32), -torch.ones(1, 3, 32, 32)]))
    assert factors.hue.isnan().all()
    assert factors.area.tolist() == factors.saturation.tolist() == [0, 0, 0]
    assert factors.centroid.isnan().all()


def test_pictures_of_one_channel_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^hues are read from pictures of 3 channels, and these have 1; leave"):
        read_factors(torch.zeros(2, 1, 32, 32))


def test_the_distance_of_hues_is_that_on_the_circle() -> None:
    a, b = torch.tensor([0.1, 0.95, 0.0, 0.2, float("nan")]), torch.tensor([0.4, 0.05, 0.5, 0.2, 0.3])
    assert circular_distance(a, b).tolist()[:4] == pytest.approx([0.3, 0.1, 0.5, 0.0], abs=1e-6)
    assert circular_distance(a, b)[4].isnan()


# Metrics


def test_factor_error_is_the_mean_distance_of_hues() -> None:
    metric = FactorError(Options())
    rng = np.random.default_rng(1)
    true, fake = rng.random(10), rng.random(10)
    for _ in range(2):  # the second evaluation must not contain the first one
        metric.reset()
        metric.update(FORWARD, pictures(fake[:6]), pictures(true[:6]))
        metric.update(FORWARD, pictures(fake[6:]), pictures(true[6:]))
        figures = metric.compute()
    others = [*np.roll(true[:6], 1), *np.roll(true[6:], 1)]
    assert figures[FORWARD]["factor_error"] == pytest.approx(distances(fake, true).mean(), abs=0.001)
    assert figures[FORWARD]["factor_error_of_others"] == pytest.approx(distances(fake, others).mean(), abs=0.001)
    assert not metric.warnings()


def test_a_grey_translation_counts_as_a_random_hue_and_a_grey_truth_not_at_all() -> None:
    metric = FactorError(Options())
    metric.reset()
    metric.update(FORWARD, pictures([0.2, None, 0.4]), pictures([0.3, 0.5, None]))
    metric.update(BACKWARD, pictures([0.2, 0.4]), pictures([None, None]))
    figures = metric.compute()
    assert figures[FORWARD]["factor_error"] == pytest.approx((0.1 + 0.25) / 2, abs=0.001)
    assert figures[BACKWARD] == {}
    assert metric.warnings() == ["no figures for paint: painting -> sketch: the true translations have no hue"]


def test_reference_style_compares_with_the_reference_and_with_others() -> None:
    metric = ReferenceStyle(Options())
    metric.reset()
    references = np.linspace(0, 1, 8, endpoint=False)
    metric.update(FORWARD, pictures(references, first=20), pictures(references + 0.05, "dotted"))
    figures = metric.compute()[FORWARD]
    assert figures["reference_style"] == pytest.approx(0.05, abs=0.002)
    expected = distances(references + 0.05, np.roll(references, 1)).mean()
    assert figures["reference_style_of_others"] == pytest.approx(expected, abs=0.002)
    metric.reset()
    metric.update(FORWARD, pictures([0.1]), pictures([0.1]))  # there are no others
    assert metric.compute()[FORWARD].keys() == {"reference_style"}


def test_content_kept_is_intersection_over_union_and_ignores_hues() -> None:
    metric = ContentKept(Options())
    metric.reset()
    metric.update(FORWARD, pictures([0.1] * 12, size=64), pictures([None] * 12, size=64))
    figures = metric.compute()[FORWARD]
    assert figures["content_kept"] > 0.98
    assert figures["content_kept_of_others"] < 0.7
    fake, true = pictures([0.3] * 12, size=64), pictures([0.3] * 12, "outline", 64)
    metric.reset()
    metric.update(FORWARD, fake, true)
    filled, outline = (read_factors(each).area.numpy() for each in (fake, true))
    assert metric.compute()[FORWARD]["content_kept"] == pytest.approx((outline / filled).mean(), abs=0.01)
    metric.reset()
    metric.update(FORWARD, torch.ones(2, 3, 32, 32), pictures([0.3] * 2))
    assert metric.compute()[FORWARD]["content_kept"] == 0


def coverage(real: Any, samples: int = 5, bins: int = 6) -> FactorCoverage:
    """Return a prepared metric with real hues of the target domain; those of the source are grey."""

    def batches(held_out: bool, size: int) -> Iterator[tuple[list[str], Tensor]]:
        assert not held_out
        for begin in range(0, len(real), size):
            hues = real[begin : begin + size]
            yield [f"{begin + i}" for i in range(len(hues))], pictures(hues, first=begin)

    def grey(held_out: bool, size: int) -> Iterator[tuple[list[str], Tensor]]:
        yield ["0", "1"], pictures([None, None])

    metric = FactorCoverage(CoverageOptions(samples=samples, bins=bins))
    domains = {"painting": batches, "sketch": grey}
    metric.prepare({n: Domain(n, [], [], each, Media(None, 32)) for n, each in domains.items()}, {}, 0)
    metric.reset()
    return metric


def by_code(hues: np.ndarray) -> Callable[[int], Tensor]:
    """Return translations by number of the code; hues are (sources, codes)."""
    return lambda k: pictures(hues[:, k])


def test_coverage_is_that_of_a_hand_written_loop() -> None:
    rng = np.random.default_rng(2)
    real, hues = rng.random(300) * 0.6, rng.random((7, 5))
    metric = coverage(real)
    metric.update(FORWARD, by_code(hues[:4]))
    metric.update(FORWARD, by_code(hues[4:]))

    def part(hue: float) -> int:
        return math.floor(hue * 6 + 0.5) % 6

    occupied = {part(hue) for hue in real}
    drawn = rng.choice(real, (20_000, 5))
    expected = np.mean([len({part(hue) for hue in row}) for row in drawn])  # what 5 real samples reach on average
    reached = np.mean([len({part(hue) for hue in row} & occupied) for row in hues])
    figures = metric.compute()[FORWARD]
    assert figures["factor_coverage"] == pytest.approx(reached / expected, rel=0.01)

    def spread(row: np.ndarray) -> float:
        return float(np.mean([distances(row[i], row[j]) for i in range(len(row)) for j in range(len(row)) if i != j]))

    assert figures["factor_spread"] == pytest.approx(np.mean([spread(row) for row in hues]) / spread(real), rel=0.01)


def test_coverage_is_1_for_translations_as_varied_as_real_ones_and_low_for_one_that_ignores_its_code() -> None:
    rng = np.random.default_rng(3)
    metric = coverage(rng.random(400), samples=10, bins=12)
    metric.update(FORWARD, by_code(rng.random((100, 10))))
    varied = metric.compute()[FORWARD]
    assert varied["factor_coverage"] == pytest.approx(1, abs=0.05)
    assert varied["factor_spread"] == pytest.approx(1, abs=0.05)
    metric.reset()
    metric.update(FORWARD, by_code(rng.random((20, 1)).repeat(10, 1)))
    constant = metric.compute()[FORWARD]
    assert constant["factor_coverage"] == pytest.approx(1 / (12 * (1 - (11 / 12) ** 10)), rel=0.05)
    assert constant["factor_spread"] == 0
    metric.reset()
    metric.update(FORWARD, lambda k: pictures([None] * 3))
    assert metric.compute()[FORWARD] == {"factor_coverage": 0, "factor_spread": 0}


def test_a_domain_of_one_hue_has_no_spread_and_a_grey_one_no_figures() -> None:
    metric = coverage([0.0] * 20)
    metric.update(FORWARD, by_code(np.zeros((3, 5))))
    metric.update(BACKWARD, by_code(np.zeros((3, 5))))
    figures = metric.compute()
    assert figures == {FORWARD: {"factor_coverage": 1}, BACKWARD: {}}
    assert metric.warnings() == ["no figures for paint: painting -> sketch: the real target samples have no hue"]


RECIPE = """
[data]
source = { use = "synthetic_shapes", count = 60 }
size = 32
held_out = 0.3
[domains]
sketch = { fill = "outline", part = [0.0, 0.5] }
painting = { hue = [0.0, 1.0], free = true, part = [0.5, 1.0] }
[tasks]
paint = { between = ["sketch", "painting"] }
[train]
steps = 1
batch = 2
[generators]
g = { use = "resnet", per = "translation", width = 4, blocks = 1 }
[discriminators]
d = { use = "patch", per = "domain", width = 2, layers = 1 }
[losses]
lsgan = 1.0
[metrics]
factor_coverage = { samples = 2 }
content_kept = true
factor_error = true
"""


def test_a_run_on_synthetic_shapes_measures_factors(recipe_file: Any, trained: Any, tmp_path: Path) -> None:
    trained(recipe_file(RECIPE), tmp_path / "run")
    found = json.loads((tmp_path / "run" / "result.json").read_text())["translations"]
    there, back = found["paint: sketch -> painting"], found["paint: painting -> sketch"]
    assert {"factor_coverage", "factor_spread", "content_kept", "factor_error"} <= there.keys()
    assert back.keys() == {"content_kept", "content_kept_of_others"}
    assert there["factor_spread"] == 0
