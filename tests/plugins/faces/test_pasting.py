"""Tests of cropping rotated squares and of blending changes back: position, bit-identical surroundings, no seams."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transgan_faces.pasting import Square, blend_mask, color_shift, crop, paste

#: The narrowest band over which a change fades, as a fraction of the square's side.
FADE = (1 - 0.68) * 0.485

SQUARES = st.builds(
    Square,
    x=st.floats(-20, 120),
    y=st.floats(-20, 100),
    side=st.floats(10, 150),
    angle=st.floats(-math.pi, math.pi),
)


def photograph(height: int = 80, width: int = 100) -> Tensor:
    """Return random values of 8-bit images, (3, height, width) in [-1, 1]."""
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width), generator=rng) / 127.5 - 1


def smooth_image(height: int, width: int) -> Tensor:
    y, x = torch.arange(height)[:, None] / height, torch.arange(width)[None] / width
    return torch.stack([torch.sin(3 * x + y), torch.cos(2 * y - x), x * y - 0.5])


@settings(max_examples=40, deadline=None)
@given(SQUARES, SQUARES)
def test_zero_change_is_bit_identical(one: Square, other: Square) -> None:
    x = photograph()
    zeros = [torch.zeros_like(crop(x, square)) for square in (one, other)]
    assert torch.equal(paste(x, [one, other], zeros), x)


@settings(max_examples=40, deadline=None)
@given(SQUARES)
def test_pixels_outside_the_square_are_bit_identical(square: Square) -> None:
    x = photograph()
    change = torch.full_like(crop(x, square), 0.7)
    y = paste(x, [square], [change], match=False)
    rows, columns = torch.meshgrid(torch.arange(80) + 0.5, torch.arange(100) + 0.5, indexing="ij")
    outside = torch.hypot(columns - square.x, rows - square.y) >= 0.495 * square.side + 1e-3
    assert torch.equal(y[:, outside], x[:, outside])


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
def test_a_change_is_pasted_where_it_was_cropped(angle: float) -> None:
    """Pasting the cropped difference of two images gives the second one inside the ellipse."""
    x = smooth_image(200, 240)
    square = Square(130.3, 90.7, 101.0, angle)
    sample = crop(x, square)
    target = smooth_image(240, 200).transpose(1, 2)
    change = crop(target - x, square)  # of a model that translates x into target
    y = paste(x, [square], [change], match=False)
    middle = (slice(None), slice(76, 106), slice(116, 146))
    assert sample.shape == (3, 101, 101)
    assert (y - target)[middle].abs().max() < 5e-3
    assert (x - target)[middle].abs().max() > 0.1


def test_an_upright_square_on_the_pixel_grid_is_a_slice() -> None:
    x = photograph()
    assert torch.allclose(crop(x, Square(40, 30, 20)), x[:, 20:40, 30:50], atol=1e-5)


def test_a_rotated_square_is_cropped_upright() -> None:
    """After a quarter turn clockwise, the square's right is the photograph's bottom."""
    x = photograph()
    rotated = crop(x, Square(40, 30, 20, math.pi / 2))
    assert torch.allclose(rotated, x[:, 20:40, 30:50].rot90(1, (1, 2)), atol=1e-4)


def test_edge_pixels_are_repeated_beyond_the_edge_and_changes_there_are_dropped() -> None:
    x = photograph()
    square = Square(0, 0, 40)
    sample = crop(x, square)
    assert torch.allclose(sample[:, :19, :19], x[:, :1, :1].expand(-1, 19, 19), atol=1e-5)
    assert paste(x, [square], [torch.ones_like(sample)], match=False).shape == x.shape


def test_a_constant_change_fades_out_smoothly() -> None:
    """First and second differences of a pasted constant are bounded by the derivatives of smootherstep."""
    x = torch.zeros(3, 300, 300)
    square = Square(150, 150, 200, 0.3)
    y = paste(x, [square], [torch.full((3, 200, 200), 0.5)], match=False)
    assert y[0, 150, 150] == 0.5
    for axis in (1, 2):
        slope = y.diff(dim=axis)
        assert slope.abs().max() < 0.5 * 15 / 8 / (FADE * 200)
        assert slope.diff(dim=axis).abs().max() < 0.5 * 10 / math.sqrt(3) / (FADE * 200) ** 2


def test_match_removes_a_color_shift_of_the_whole_crop() -> None:
    x = photograph()
    square = Square(50, 40, 60)
    shift = torch.tensor([0.2, -0.1, 0.05])[:, None, None].expand(3, 60, 60)
    assert torch.allclose(color_shift(shift), shift[:, 0, 0])
    assert torch.equal(paste(x, [square], [shift]), x)
    positions = (torch.arange(60) + 0.5) / 60 - 0.5
    change = 0.5 * (blend_mask(positions[None], positions[:, None]) > 0.9) + shift
    assert torch.allclose(paste(0 * x, [square], [change])[:, 40, 50], torch.full((3,), 0.5))


def test_the_first_of_two_overlapping_squares_is_on_top() -> None:
    x = torch.zeros(1, 100, 160)
    squares = [Square(60, 50, 80), Square(90, 50, 60)]
    y = paste(x, squares, [torch.full((1, 80, 80), 0.5), torch.full((1, 60, 60), -0.5)], match=False)
    assert y[0, 50, 60] == 0.5
    assert y[0, 50, 110] < -0.2
    steepest = [15 / 8 / (FADE * side) for side in (80, 60)]
    assert y.diff(dim=2).abs().max() < 1.0 * steepest[0] + 0.5 * steepest[1]
    assert y.min() >= -0.5 - 1e-6
    assert y.max() <= 0.5 + 1e-6


def test_results_stay_in_range() -> None:
    x = photograph()
    y = paste(x, [Square(50, 40, 60)], [torch.full((3, 60, 60), 1.5)], match=False)
    assert y.min() >= -1
    assert y.max() <= 1
