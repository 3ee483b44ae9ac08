"""Flicker: of still and of moving clips, against numbers that follow from how these are made."""

import numpy as np
import pytest
import torch
from torch import Tensor
from transgan_video.metrics import Flicker, FlickerOptions

from transgan.api import Translation

TO_B = Translation("t", "a", "b")
#: Frames are compared in 8 bits.
LEVEL = 1 / 255


def moving(frames: int = 4, side: int = 64, speed: int = 2) -> Tensor:
    """Return a clip of smooth noise that moves to the right, (1, 3, frames, side, side) in [-1, 1]."""
    rng = np.random.default_rng(0)
    wide = torch.from_numpy(rng.random((1, 3, side // 4, side))).float()
    wide = torch.nn.functional.interpolate(wide, (side, 4 * side), mode="bicubic").clamp(0, 1) * 2 - 1
    starts = [side - speed * number for number in range(frames)]
    return torch.stack([wide[..., at : at + side] for at in starts], 2)


def measured(source: Tensor, fake: Tensor, truth: Tensor | None = None) -> dict[str, float]:
    metric = Flicker(FlickerOptions(truth=truth is not None))
    metric.reset()
    metric.update(TO_B, source, fake, truth)
    return metric.compute()[TO_B]


def test_frames_that_jump_as_a_whole_flicker_by_their_jumps() -> None:
    still = moving(speed=0)
    jumps = torch.tensor([0.0, 0.1, -0.2, 0.0]).view(1, 1, 4, 1, 1)
    found = measured(still, 0.5 * still + jumps, still)
    expected = {"flicker": (0.1 + 0.3 + 0.2) / 3 / 2, "flicker_of_source": 0.0, "flicker_of_truth": 0.0}
    assert found == pytest.approx(expected, abs=LEVEL)


def test_what_moves_with_the_source_flickers_little_and_what_stands_still_much() -> None:
    source = moving()
    with_it, standing = measured(source, -source), measured(source, source[:, :, :1].expand_as(source))
    assert with_it["flicker"] == pytest.approx(with_it["flicker_of_source"], rel=0.05)
    unmoved = float((source[:, :, 1:] - source[:, :, :-1]).abs().mean()) / 2
    assert with_it["flicker"] < 0.3 * unmoved < 0.6 * standing["flicker"]


def test_figures_are_means_over_clips_up_to_the_limit() -> None:
    still = 0.5 * moving(frames=2, speed=0)
    metric = Flicker(FlickerOptions(samples=3))
    metric.reset()
    for jump in (0.1, 0.2, 0.3, 0.9):
        fake = still.clone()
        fake[:, :, 1] += jump
        metric.update(TO_B, still, fake)
    assert metric.compute()[TO_B]["flicker"] == pytest.approx(0.1, abs=LEVEL)
