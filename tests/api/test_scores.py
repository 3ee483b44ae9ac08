"""The area under the ROC curve, against its definitions."""

import numpy as np
import pytest
import torch

from transgan.api import area_under_curve


def test_it_is_the_area_under_the_curve_of_all_thresholds() -> None:
    rng = np.random.default_rng(0)
    higher, lower = rng.integers(0, 9, 40) + 2.0, rng.integers(0, 9, 70).astype(float)
    thresholds = np.arange(12, -2, -1)
    hits, alarms = ([(x >= t).mean() for t in thresholds] for x in (higher, lower))
    found = area_under_curve(torch.from_numpy(higher), torch.from_numpy(lower))
    assert found == pytest.approx(np.trapezoid(hits, alarms))


def test_it_counts_pairs_and_ties_by_half() -> None:
    real, fake = torch.tensor([0.1, 0.5, 0.5, 2.0]), torch.tensor([0.5, -1.0, 0.2])
    pairs = [(a > b) + 0.5 * (a == b) for a in real.tolist() for b in fake.tolist()]
    assert area_under_curve(real, fake) == pytest.approx(sum(pairs) / 12)
    assert area_under_curve(real, real) == 0.5 and area_under_curve(fake + 20, fake) == 1.0
