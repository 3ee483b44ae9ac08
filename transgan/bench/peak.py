"""What the device reaches at most: a product of matrices and a convolution, large ones, in one precision."""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from transgan.networks import DTYPES


def wait(device: torch.device) -> None:
    """Wait for what was given to a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak(device: torch.device, precision: str) -> float:
    """Return the most floating-point operations a second that were measured; a multiplication and addition are two.

    Args:
        precision: of `train.precision`: `fp32`, `bf16` or `fp16`.
    """
    dtype = DTYPES[precision] or torch.float32
    side = 8192 if device.type == "cuda" else 1024
    a = torch.randn(side, side, device=device).to(dtype)
    best = _most(lambda: a @ a, 2 * side**3, device)
    batch, channels, space = (32, 256, 128) if device.type == "cuda" else (4, 256, 32)
    x = torch.randn(batch, channels, space, space, device=device).to(dtype)
    kernel = torch.randn(channels, channels, 3, 3, device=device).to(dtype)
    flops = 2 * batch * channels * channels * 9 * space * space
    return max(best, _most(lambda: F.conv2d(x, kernel, padding=1), flops, device))


@torch.no_grad()
def _most(function: Callable[[], Any], flops: float, device: torch.device, rounds: int = 5) -> float:
    function()
    wait(device)
    seconds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        function()
        wait(device)
        seconds.append(time.perf_counter() - begin)
    return flops / min(seconds)
