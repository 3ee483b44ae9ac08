"""Windows of frames: crops, and overlapping windows whose translations are cross-faded. Recordings of any length."""

import numpy as np
import torch

from transgan.api import Tensor


def reflect(numbers: np.ndarray, length: int) -> np.ndarray:
    """Return frame numbers outside of [0, length) reflected at the ends, as often as necessary."""
    period = max(1, 2 * (length - 1))
    folded = np.mod(numbers, period)
    reflected: np.ndarray = np.minimum(folded, period - folded) if length > 1 else np.zeros_like(numbers)
    return reflected


def crop_frames(length: int, size: int, start: int) -> np.ndarray:
    """Return the frame numbers of a crop; a recording shorter than the crop is continued by reflection."""
    return reflect(start + np.arange(size), length)


def window_starts(count: int, window: int) -> range:
    """Return the first frames of windows that overlap by half and have every frame in the inner half of one."""
    return range(-(window // 4), count - window // 4, max(1, window // 2))


def cut(x: Tensor, window: int) -> Tensor:
    """Return overlapping windows (N, K, C, window) of x (N, C, T), which continues at its ends by reflection."""
    count = x.shape[-1]
    numbers = np.array([reflect(start + np.arange(window), count) for start in window_starts(count, window)])
    return x[..., torch.from_numpy(numbers).to(x.device)].transpose(1, 2)


def cross_fade(y: Tensor, count: int) -> Tensor:
    """Join windows (N, K, C, window), as `cut` returns them, to (N, C, count)."""
    window = y.shape[-1]
    starts = window_starts(count, window)
    # The weight is zero in the outer eighths of a window, where the network has least context.
    distance = ((torch.arange(window, dtype=torch.float64) + 0.5) / window * 2 - 1).abs()
    weight = ((0.75 - distance) / 0.5).clamp(0, 1).to(y)
    lead, total = -starts[0], starts[-1] + window + window // 4
    joined, weights = y.new_zeros(len(y), y.shape[2], lead + total), y.new_zeros(lead + total)
    for each, start in zip(y.unbind(1), starts, strict=True):
        joined[..., lead + start : lead + start + window] += each * weight
        weights[lead + start : lead + start + window] += weight
    inner = slice(lead, lead + count)
    return joined[..., inner] / weights[inner].clamp_min(1e-6)
