"""Figures against their formulas, and the classifier on data of which the answer is known."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from transgan_images.classifier import ClassifierOptions
from transgan_images.metrics import TargetShare
from transgan_standard.metrics import CounterpartError, CycleError

from transgan.api import Domain, Media, Sample, Translation

THERE, BACK = Translation("age", "young", "old"), Translation("age", "old", "young")


def test_cycle_error_is_the_mean_over_all_samples_of_unequal_batches() -> None:
    metric = CycleError(None)
    x, y = torch.rand(5, 3, 4, 4) * 2 - 1, torch.rand(5, 3, 4, 4) * 2 - 1
    for _ in range(2):  # what was counted before is forgotten
        metric.reset()
        metric.update(THERE, x[:3], y[:3])
        metric.update(THERE, x[3:], y[3:])
        metric.update(BACK, x, x)
        figures = metric.compute()
    expected = np.abs(x.numpy() - y.numpy()).mean() / 2
    assert figures[THERE]["cycle_error"] == pytest.approx(float(expected), rel=1e-6)
    assert figures[BACK] == {"cycle_error": 0.0}
    metric.reset()
    metric.update(THERE, torch.ones(1, 3, 2, 2), -torch.ones(1, 3, 2, 2))
    assert metric.compute()[THERE]["cycle_error"] == 1.0


def test_counterpart_error_stands_beside_that_of_doing_nothing() -> None:
    metric = CounterpartError(None)
    metric.reset()
    source, fake, truth = (torch.rand(4, 3, 4, 4) * 2 - 1 for _ in range(3))
    metric.update(THERE, source[:1], fake[:1], truth[:1])
    metric.update(THERE, source[1:], fake[1:], truth[1:])
    figures = metric.compute()[THERE]
    for name, x in (("counterpart_error", fake), ("counterpart_error_of_source", source)):
        assert figures[name] == pytest.approx(float(np.abs(x.numpy() - truth.numpy()).mean()) / 2, rel=1e-6)


def pictures(bright: bool, count: int, seed: int) -> Tensor:
    """Noise with a square that is bright, or dark."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-0.3, 0.3, (count, 3, 16, 16))
    x[:, :, 4:12, 4:12] += 0.6 if bright else -0.6
    return torch.from_numpy(x).float()


def striped(x: Tensor, upright: bool) -> Tensor:
    """Something that another task tells apart."""
    stripes = torch.tensor([0.5, 0.5, -0.5, -0.5]).repeat(4)
    return x + (stripes if upright else stripes[:, None])


def domain(name: str, x: Tensor, held_out: Tensor) -> Domain:
    parts = {False: x, True: held_out}
    samples = {held: [Sample(f"{name}-{held}-{i}", None) for i in range(len(part))] for held, part in parts.items()}

    def batches(held: bool, size: int) -> Iterator[tuple[list[str], Tensor]]:
        for first in range(0, len(parts[held]), size):
            keys = [sample.key for sample in samples[held][first : first + size]]
            yield keys, parts[held][first : first + size]

    return Domain(name, samples[False], samples[True], batches, Media(None, 16))


@pytest.fixture(scope="module")
def share() -> TargetShare:
    """Dark squares are young and bright ones old; upright stripes are white and the others black."""
    metric = TargetShare(ClassifierOptions(epochs=1, width=8))
    domains = {
        "young": domain("young", pictures(False, 48, 0), pictures(False, 8, 1)),
        "old": domain("old", pictures(True, 96, 2), pictures(True, 8, 3)),
        "white": domain("white", striped(pictures(True, 48, 4), True), striped(pictures(False, 8, 5), True)),
        "black": domain("black", striped(pictures(False, 48, 6), False), striped(pictures(True, 8, 7), False)),
    }
    before = torch.random.get_rng_state()
    metric.prepare(domains, {"age": ["young", "old"], "race": ["white", "black"]}, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)  # a run's own numbers are not touched
    return metric


def test_a_perfect_translation_has_the_whole_share_and_none_has_nothing(share: TargetShare) -> None:
    share.reset()
    source, target = pictures(False, 8, 8), pictures(True, 8, 9)
    unknown = ["somebody"] * 8
    share.update(THERE, unknown, source, target)
    share.update(BACK, unknown, target, target)
    figures = share.compute()
    assert figures[THERE] == {"target_share": 1.0, "target_share_of_source": 0.0, "classifier_accuracy": 1.0}
    assert figures[BACK] == {"target_share": 0.0, "target_share_of_source": 0.0, "classifier_accuracy": 1.0}


def test_what_another_task_sees_is_counted_for_samples_that_it_knows(share: TargetShare) -> None:
    share.reset()
    upright = striped(pictures(False, 4, 10), True)
    spoilt = striped(pictures(True, 4, 11), False)
    keys = ["white-True-0", "white-True-1", "black-True-0", "somebody"]
    share.update(THERE, keys, upright, spoilt)
    figures = share.compute()[THERE]
    assert figures["kept_race_of_source"] == pytest.approx(2 / 3)
    assert figures["kept_race"] == pytest.approx(1 / 3)
    assert "kept_age" not in figures
