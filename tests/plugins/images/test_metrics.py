"""Metrics against their formulas, and the classifier on data with known results."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from transgan_images.metrics import TargetShare
from transgan_standard.metrics import CounterpartError, CycleError

from transgan.api import Domain, Media, Sample, Translation

FORWARD, BACKWARD = Translation("age", "young", "old"), Translation("age", "old", "young")


def test_cycle_error_is_the_mean_over_samples_of_batches_of_different_size() -> None:
    metric = CycleError(None)
    x, y = torch.rand(5, 3, 4, 4) * 2 - 1, torch.rand(5, 3, 4, 4) * 2 - 1
    for _ in range(2):  # the second evaluation must not contain the first one
        metric.reset()
        metric.update(FORWARD, x[:3], y[:3])
        metric.update(FORWARD, x[3:], y[3:])
        metric.update(BACKWARD, x, x)
        figures = metric.compute()
    expected = np.abs(x.numpy() - y.numpy()).mean() / 2
    assert figures[FORWARD]["cycle_error"] == pytest.approx(float(expected), rel=1e-6)
    assert figures[BACKWARD] == {"cycle_error": 0.0}
    metric.reset()
    metric.update(FORWARD, torch.ones(1, 3, 2, 2), -torch.ones(1, 3, 2, 2))
    assert metric.compute()[FORWARD]["cycle_error"] == 1.0


def test_counterpart_error_comes_with_that_of_the_untranslated_source() -> None:
    metric = CounterpartError(None)
    metric.reset()
    source, fake, counterpart = (torch.rand(4, 3, 4, 4) * 2 - 1 for _ in range(3))
    metric.update(FORWARD, source[:1], fake[:1], counterpart[:1])
    metric.update(FORWARD, source[1:], fake[1:], counterpart[1:])
    figures = metric.compute()[FORWARD]
    for name, x in (("counterpart_error", fake), ("counterpart_error_of_source", source)):
        assert figures[name] == pytest.approx(float(np.abs(x.numpy() - counterpart.numpy()).mean()) / 2, rel=1e-6)


def images(bright: bool, count: int, seed: int) -> Tensor:
    """Return images of noise with a bright or a dark square."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-0.3, 0.3, (count, 3, 16, 16))
    x[:, :, 4:12, 4:12] += 0.6 if bright else -0.6
    return torch.from_numpy(x).float()


def striped(x: Tensor, upright: bool) -> Tensor:
    """Add upright or horizontal stripes, the domains of another task."""
    stripes = torch.tensor([0.5, 0.5, -0.5, -0.5]).repeat(4)
    return x + (stripes if upright else stripes[:, None])


def domain(name: str, x: Tensor, held_out: Tensor) -> Domain:
    splits = {False: x, True: held_out}
    samples = {held: [Sample(f"{name}-{held}-{i}", None) for i in range(len(each))] for held, each in splits.items()}

    def batches(held: bool, size: int) -> Iterator[tuple[list[str], Tensor]]:
        for first in range(0, len(splits[held]), size):
            keys = [sample.key for sample in samples[held][first : first + size]]
            yield keys, splits[held][first : first + size]

    return Domain(name, samples[False], samples[True], batches, Media(None, 16))


@pytest.fixture(scope="module")
def share() -> TargetShare:
    """A prepared metric: dark squares are young, bright ones old; upright stripes are white, horizontal ones black."""
    metric = TargetShare(TargetShare.Options(epochs=1, width=8))
    domains = {
        "young": domain("young", images(False, 48, 0), images(False, 8, 1)),
        "old": domain("old", images(True, 96, 2), images(True, 8, 3)),
        "white": domain("white", striped(images(True, 48, 4), True), striped(images(False, 8, 5), True)),
        "black": domain("black", striped(images(False, 48, 6), False), striped(images(True, 8, 7), False)),
    }
    before = torch.random.get_rng_state()
    metric.prepare(domains, {"age": ["young", "old"], "race": ["white", "black"]}, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)  # the run uses it
    return metric


def test_target_share_is_1_for_perfect_translations_and_0_for_copies(share: TargetShare) -> None:
    share.reset()
    source, target = images(False, 8, 8), images(True, 8, 9)
    unknown = ["somebody"] * 8
    share.update(FORWARD, unknown, source, target)
    share.update(BACKWARD, unknown, target, target)
    figures = share.compute()
    assert figures[FORWARD] == {"target_share": 1.0, "target_share_of_source": 0.0, "classifier_accuracy": 1.0}
    assert figures[BACKWARD] == {"target_share": 0.0, "target_share_of_source": 0.0, "classifier_accuracy": 1.0}


def test_kept_shares_count_the_samples_of_the_other_task(share: TargetShare) -> None:
    share.reset()
    upright = striped(images(False, 4, 10), True)
    horizontal = striped(images(True, 4, 11), False)
    keys = ["white-True-0", "white-True-1", "black-True-0", "somebody"]
    share.update(FORWARD, keys, upright, horizontal)
    figures = share.compute()[FORWARD]
    assert figures["kept_race_of_source"] == pytest.approx(2 / 3)
    assert figures["kept_race"] == pytest.approx(1 / 3)
    assert "kept_age" not in figures
