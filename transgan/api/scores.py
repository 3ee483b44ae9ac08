"""Comparing the scores of two groups of samples."""

import torch
from torch import Tensor


def area_under_curve(higher: Tensor, lower: Tensor) -> float:
    """Return how often a score of `higher` (N,) is above one of `lower` (M,), ties by half: the area under the ROC
    curve.

    Where both have one distribution, its standard deviation is sqrt((N + M + 1) / (12 N M)) (Mann and Whitney, 1947).
    """
    return float(0.5 + 0.5 * torch.sign(higher[:, None] - lower).mean())
