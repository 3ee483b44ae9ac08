"""Squares are cut out upright and put back: nothing moves, nothing outside changes, and no edge is seen."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor
from transgan_faces.pasting import Square, cast, cut, mask, paste

#: The narrowest stretch over which a change fades, as a share of the square's side.
FADE = (1 - 0.68) * 0.485

SQUARES = some.builds(
    Square,
    x=some.floats(-20, 120),
    y=some.floats(-20, 100),
    side=some.floats(10, 150),
    angle=some.floats(-math.pi, math.pi),
)


def photograph(height: int = 80, width: int = 100) -> Tensor:
    """Bytes, as they come from a file."""
    rng = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width), generator=rng) / 127.5 - 1


def smooth(height: int, width: int) -> Tensor:
    y, x = torch.arange(height)[:, None] / height, torch.arange(width)[None] / width
    return torch.stack([torch.sin(3 * x + y), torch.cos(2 * y - x), x * y - 0.5])


@settings(max_examples=40, deadline=None)
@given(SQUARES, SQUARES)
def test_no_change_is_no_change_to_the_bit(one: Square, other: Square) -> None:
    x = photograph()
    nothing = [torch.zeros_like(cut(x, square)) for square in (one, other)]
    assert torch.equal(paste(x, [one, other], nothing), x)


@settings(max_examples=40, deadline=None)
@given(SQUARES)
def test_pixels_outside_the_square_stay_to_the_bit(square: Square) -> None:
    x = photograph()
    change = torch.full_like(cut(x, square), 0.7)
    y = paste(x, [square], [change], match=False)
    rows, columns = torch.meshgrid(torch.arange(80) + 0.5, torch.arange(100) + 0.5, indexing="ij")
    outside = torch.hypot(columns - square.x, rows - square.y) >= 0.495 * square.side + 1e-3
    assert torch.equal(y[:, outside], x[:, outside])


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
def test_a_change_lands_where_it_was_cut_out(angle: float) -> None:
    """The whole way and back: a spot drawn on the cut-out is where that detail of the photograph is."""
    x = smooth(200, 240)
    square = Square(130.3, 90.7, 101.0, angle)
    sample = cut(x, square)
    target = smooth(240, 200).transpose(1, 2)
    change = cut(target - x, square)  # as if the model had made the other picture of it
    y = paste(x, [square], [change], match=False)
    middle = (slice(None), slice(76, 106), slice(116, 146))
    assert sample.shape == (3, 101, 101)
    assert (y - target)[middle].abs().max() < 5e-3
    assert (x - target)[middle].abs().max() > 0.1


def test_an_upright_square_on_the_grid_is_a_crop() -> None:
    x = photograph()
    assert torch.allclose(cut(x, Square(40, 30, 20)), x[:, 20:40, 30:50], atol=1e-5)


def test_a_turned_square_is_cut_upright() -> None:
    """A quarter turn, clockwise as seen: the square's right is the photograph's bottom."""
    x = photograph()
    turned = cut(x, Square(40, 30, 20, math.pi / 2))
    assert torch.allclose(turned, x[:, 20:40, 30:50].rot90(1, (1, 2)), atol=1e-4)


def test_what_lies_beyond_the_edge_is_filled_and_lost() -> None:
    x = photograph()
    square = Square(0, 0, 40)
    sample = cut(x, square)
    assert torch.allclose(sample[:, :19, :19], x[:, :1, :1].expand(-1, 19, 19), atol=1e-5)
    assert paste(x, [square], [torch.ones_like(sample)], match=False).shape == x.shape


def test_a_shift_of_colour_fades_without_a_step() -> None:
    """A change of 0.5 all over the cut-out reaches its height, with the slopes and bends of Perlin's curve."""
    x = torch.zeros(3, 300, 300)
    square = Square(150, 150, 200, 0.3)
    y = paste(x, [square], [torch.full((3, 200, 200), 0.5)], match=False)
    assert y[0, 150, 150] == 0.5
    for axis in (1, 2):
        slope = y.diff(dim=axis)
        assert slope.abs().max() < 0.5 * 15 / 8 / (FADE * 200)
        assert slope.diff(dim=axis).abs().max() < 0.5 * 10 / math.sqrt(3) / (FADE * 200) ** 2


def test_a_cast_over_the_whole_cut_out_is_left_out() -> None:
    x = photograph()
    square = Square(50, 40, 60)
    tint = torch.tensor([0.2, -0.1, 0.05])[:, None, None].expand(3, 60, 60)
    assert torch.allclose(cast(tint), tint[:, 0, 0])
    assert torch.equal(paste(x, [square], [tint]), x)
    along = (torch.arange(60) + 0.5) / 60 - 0.5
    face = 0.5 * (mask(along[None], along[:, None]) > 0.9) + tint
    assert torch.allclose(paste(0 * x, [square], [face])[:, 40, 50], torch.full((3,), 0.5))


def test_the_first_of_two_that_overlap_lies_on_top() -> None:
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
