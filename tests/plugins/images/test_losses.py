"""The loss `cycle_ssim` against a loop over windows in double precision."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transgan_images.losses import CycleSsim, CycleSsimOptions

from transgan.api import UsageError

pytest.importorskip("kornia")


def ssim_by_hand(x: np.ndarray, y: np.ndarray, window: int) -> float:
    """Return the mean SSIM of pictures (H, W) in 0..1, window by window (Wang et al., 2004, eq. 13)."""
    offsets = np.arange(window) - window // 2
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    weights = np.outer(line, line) / line.sum() ** 2
    x, y = (np.pad(each, window // 2, mode="reflect") for each in (x, y))
    values = []
    for row in range(x.shape[0] - window + 1):
        for column in range(x.shape[1] - window + 1):
            a, b = (each[row : row + window, column : column + window] for each in (x, y))
            ma, mb = (weights * a).sum(), (weights * b).sum()
            va, vb = (weights * (a - ma) ** 2).sum(), (weights * (b - mb) ** 2).sum()
            covariance = (weights * (a - ma) * (b - mb)).sum()
            c1, c2 = 0.01**2, 0.03**2
            values.append((2 * ma * mb + c1) * (2 * covariance + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return float(np.mean(values))


@pytest.mark.parametrize("window", [3, 11])
def test_it_is_one_minus_the_mean_over_windows(window: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((2, 3, 13, 16))
    y = np.clip(x + rng.normal(0, 0.2, x.shape), 0, 1)
    loss = CycleSsim(CycleSsimOptions(window=window))
    found = loss.for_generator(torch.from_numpy(2 * x - 1), torch.from_numpy(2 * y - 1))
    expected = np.mean([ssim_by_hand(x[i, c], y[i, c], window) for i in range(2) for c in range(3)])
    assert float(found) == pytest.approx(1 - expected, abs=1e-5)


def test_a_perfect_reconstruction_costs_nothing_and_the_negative_most() -> None:
    x = torch.rand(1, 3, 20, 20) * 2 - 1
    loss = CycleSsim(CycleSsimOptions())
    assert float(loss.for_generator(x, x)) == pytest.approx(0, abs=1e-5)
    assert 1 < float(loss.for_generator(x, -x)) <= 2


def test_even_windows_and_small_pictures_are_refused() -> None:
    with pytest.raises(ValidationError, match="odd"):
        CycleSsimOptions(window=10)
    with pytest.raises(UsageError, match="pictures of at least 6 x 6 pixels, and these are 5x5; lower its option"):
        CycleSsim(CycleSsimOptions()).for_generator(torch.zeros(1, 3, 5, 5), torch.zeros(1, 3, 5, 5))
