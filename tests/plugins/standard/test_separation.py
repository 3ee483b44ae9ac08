"""Fresh discriminators: the AUC of samples that can or cannot be distinguished."""

import pytest
import torch
from torch import Tensor
from transgan_standard.metrics import DiscriminatorAuc, DiscriminatorAucOptions
from transgan_standard.separation import distinct, held_out_auc

from transgan.api import Translation


def rising(count: int, seed: int, space: tuple[int, ...], sign: int = 1) -> list[Tensor]:
    """Return noise around a ramp along the last axis, which goes up or down."""
    noise = torch.randn(count, 3, *space, generator=torch.Generator().manual_seed(seed))
    return list(noise + sign * torch.linspace(-1, 1, space[-1]))


@pytest.mark.parametrize("space", [(32,), (16, 16)])
def test_what_differs_is_distinguished_and_what_does_not_is_not(space: tuple[int, ...]) -> None:
    real, same, other = rising(24, 0, space), rising(24, 1, space), rising(24, 2, space, -1)
    before = torch.random.get_rng_state()
    found = [held_out_auc(real, each, steps=40, width=8) for each in (same, other)]
    assert torch.equal(torch.random.get_rng_state(), before)  # a run's random numbers stay what they were
    assert 0.2 < found[0] < 0.8 and found[1] > 0.97
    assert held_out_auc(real, other, steps=40, width=8) == found[1]


def test_nothing_is_learned_of_the_samples_that_are_evaluated() -> None:
    """Noise that differs only in which sample it is could be learned by heart, and is not distinguished."""
    real, fake = (list(torch.randn(12, 2, 16, generator=torch.Generator().manual_seed(seed))) for seed in (0, 1))
    assert abs(held_out_auc(real, fake, steps=60, width=8) - 0.5) < 0.35
    with pytest.raises(ValueError, match="expected at least 2"):
        held_out_auc(real, fake[:1])


def test_recordings_of_any_length_are_evaluated_by_crops() -> None:
    lengths = [5, 40, 33, 64, 20, 90]
    real, other = (
        [torch.randn(2, n, generator=torch.Generator().manual_seed(n)) + shift for n in lengths] for shift in (0, 2)
    )
    assert held_out_auc(real, other, size=16, steps=30, width=8) > 0.95


def test_figures_stand_beside_those_of_the_source_and_of_a_split() -> None:
    metric, there = DiscriminatorAuc(DiscriminatorAucOptions(steps=30, width=8, samples=16)), Translation("t", "a", "b")
    metric.reset()
    target, source = (torch.stack(rising(24, seed, (16, 16), sign)) for seed, sign in ((0, 1), (1, -1)))
    for rows in (slice(12), slice(12, 24)):
        metric.update(there, source[rows], target[rows] + 3.0, target[rows])
    figures = metric.compute()[there]
    assert figures["discriminator_auc"] > 0.95 and figures["discriminator_auc_of_source"] > 0.9
    assert 0.1 < figures["discriminator_auc_of_split"] < 0.9
    assert len(metric.samples[there]["fake"]) == 16


def test_samples_that_are_there_twice_are_no_evidence() -> None:
    """Of a domain with few samples some come again, and with an odd number of them in both folds."""
    fake, few = (list(torch.randn(count, 2, 16, generator=torch.Generator().manual_seed(count))) for count in (30, 7))
    target = [few[i % len(few)] for i in range(len(fake))]
    assert [id(x) for x in distinct(target)] == [id(x) for x in few] and len(distinct(fake)) == len(fake)
    metric, translation = DiscriminatorAuc(DiscriminatorAucOptions(steps=40)), Translation("t", "a", "b")
    metric.reset()
    metric.update(translation, torch.stack(fake), torch.stack(fake), torch.stack(target))
    figures = metric.compute()[translation]
    assert figures["discriminator_auc"] == held_out_auc(few, fake, steps=40)
    assert "discriminator_auc_of_split" not in figures  # halves of seven are fewer than four
