"""Tests of cropping rotated squares and of blending changes back: position, bit-identical surroundings, no seams."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transgan_faces.pasting import Square, blend_mask, color_shift, crop, paste
from transgan_faces.synthetic import Person, render, sample_person

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


@pytest.mark.parametrize("levels", [False, True])
def test_beyond_the_edge_the_photograph_is_reflected_and_changes_there_are_dropped(levels: bool) -> None:
    x = photograph()
    given = ((x + 1) * 127.5).round().to(torch.uint8) if levels else x
    sample = crop(given, Square(0, 40, 40))
    assert torch.allclose(sample[:, :, 20:], x[:, 20:60, :20], atol=1e-4)
    assert torch.allclose(sample[:, :, :20], x[:, 20:60, :20].flip(2), atol=1e-4)
    corner = crop(given, Square(100, 80, 30))
    assert torch.allclose(corner[:, 15:, 15:], x[:, 65:, 85:].flip(1, 2), atol=1e-4)
    y = paste(given, [Square(0, 40, 40)], [torch.ones_like(sample)], match=False)
    assert (y.shape, y.dtype) == (given.shape, given.dtype)
    assert torch.equal(y[:, :, 20:], given[:, :, 20:]) and not torch.equal(y, given)


def test_a_change_does_not_fade_at_the_border_of_the_photograph() -> None:
    """Of a face that the border cuts in two, the visible half changes as if the rest were there."""
    x, square = torch.zeros(3, 100, 200), Square(100, 50, 80)
    change = torch.linspace(-0.5, 0.5, 80).expand(3, 80, 80)
    whole = paste(x, [square], [change], match=False)
    half = paste(x[:, :, 100:], [Square(0, 50, 80)], [change], match=False)
    assert torch.allclose(half, whole[:, :, 100:], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(SQUARES, SQUARES)
def test_levels_are_pasted_as_numbers_are(one: Square, other: Square) -> None:
    """In an image of levels, uint8; within the rounding of each square, and nothing else changes."""
    x = photograph()
    levels = ((x + 1) * 127.5).round().to(torch.uint8)
    rng = torch.Generator().manual_seed(1)
    changes = [torch.randn(crop(x, each).shape, generator=rng) / 4 for each in (one, other)]
    y, expected = paste(levels, [one, other], changes), paste(x, [one, other], changes)
    assert y.dtype == torch.uint8
    assert ((y / 127.5 - 1) - expected).abs().max() < 2.1 / 255 * 2
    assert torch.equal(y[:, (expected == x).all(0)], levels[:, (expected == x).all(0)])
    assert torch.equal(paste(levels, [one], [0 * changes[0]]), levels)


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


# Kind: a change of something that is no skin (hair, clothes, background, a neighbour, what is beyond the border) tints
# no face; a cast over everything is removed.

#: A cast, in levels of 8 bits.
CAST = torch.tensor([12.0, -8.0, 6.0])


def portrait(person: Person, age: float = 25, race: str = "White", size: int = 160) -> Tensor:
    return torch.from_numpy(render(person, age=age, race=race, size=size)).permute(2, 0, 1).float() / 127.5 - 1


def face_square(person: Person, size: int = 160) -> Square:
    """Return the square of a face in its portrait, with eyes and mouth where models expect them."""
    u, v = -math.sin(person.tilt) * 0.232, math.cos(person.tilt) * 0.232
    x, y = (person.shift[0] + person.scale * u, person.shift[1] + person.scale * v)
    return Square((x + 1) / 2 * size, (y + 1) / 2 * size, 0.55 * person.scale * size, person.tilt)


def tint(before: Tensor, after: Tensor, square: Square) -> Tensor:
    """Return the mean difference of two images in a face, in levels of 8 bits per channel: (C,)."""
    difference = crop(after, square) - crop(before, square)
    positions = (torch.arange(difference.shape[-1]) + 0.5) / difference.shape[-1] - 0.5
    return difference[:, blend_mask(positions[None], positions[:, None]) > 0.9].mean(1) * 127.5


def pasted(x: Tensor, target: Tensor, square: Square, **options: Any) -> Tensor:
    """Return photograph `x` with a face translated by a model whose output is a crop of `target`."""
    return paste(x, [square], [crop(target, square) - crop(x, square)], **options)


def with_cast(x: Tensor, cast: Tensor = CAST) -> Tensor:
    return (x + cast[:, None, None] / 127.5).clamp(-1, 1)


PEOPLE = [sample_person(0, index) for index in range(24)]


@pytest.mark.parametrize("index", range(24))
def test_hair_that_changes_its_color_does_not_tint_the_face(index: int) -> None:
    """Of every style, also where most of the corners are hair; darker, lighter, and grey with the rest of aging."""
    person = PEOPLE[index]
    square = face_square(person)
    dark, light = (portrait(replace(person, hair_shade=shade)) for shade in (1.0, 0.0))
    old = portrait(person, age=65)
    for x, target in ((dark, light), (light, dark), (portrait(person), old), (old, portrait(person))):
        difference = tint(pasted(x, target, square, match=False), pasted(x, target, square), square)
        assert difference.abs().max() <= 1


def test_casts_are_removed_from_faces_that_change_and_from_those_that_do_not() -> None:
    """In the mean of people; where only changing hair surrounds a face, a cast cannot be distinguished from it."""
    errors: dict[str, list[float]] = {"nothing": [], "hair": [], "age": []}
    for person in PEOPLE:
        x, square = portrait(replace(person, hair_shade=1.0)), face_square(person)
        targets = {
            "nothing": x,
            "hair": portrait(replace(person, hair_shade=0.0)),
            "age": portrait(replace(person, hair_shade=1.0), age=65),
        }
        for name, target in targets.items():
            ideal = pasted(x, target, square, match=False)
            tinted = pasted(x, with_cast(target), square)
            errors[name].append(float(tint(ideal, tinted, square).abs().max()))
    assert max(errors["nothing"]) < 3  # where the image is black or white, a cast is less
    assert np.median(errors["nothing"]) < 1 and np.median(errors["hair"]) < 1
    # Without `match` each is 12. Aging changes the skin, too: then surroundings of one material are no evidence.
    assert np.mean(errors["hair"]) < 4 and min(errors["age"]) < 0.2 and max(errors["age"]) <= 12


def test_complexion_is_translated() -> None:
    """The change of skin alone is what a model is for."""
    kept = []
    for person in PEOPLE:
        x, target, square = portrait(person), portrait(person, race="Black"), face_square(person)
        change = tint(x, pasted(x, target, square, match=False), square)
        kept.append(float((tint(x, pasted(x, target, square), square) / change).mean()))
    assert np.median(kept) > 0.99 and np.mean(kept) > 0.95 and min(kept) > 0.5


def synthetic_change(size: int, corners: float, hair: float, skin: float, cast: float) -> Tensor:
    """Return a change (3, size, size): a cast, plus that of skin in the ellipse, and of hair in a share of the rest.

    Args:
        corners: the share of what is outside of the ellipse that is hair, from above.
    """
    positions = (torch.arange(size) + 0.5) / size - 0.5
    outside = blend_mask(positions[None], positions[:, None]) == 0
    rank = outside.flatten().cumsum(0).reshape(size, size) / outside.sum()
    change = torch.where(outside, torch.where(rank <= corners, hair, 0.0), skin) + cast
    return change[None].expand(3, -1, -1) / 127.5


def surroundings(materials: int) -> Tensor:
    """Return a photograph of one material, or of a light and a dark one."""
    stripes = torch.arange(100) // 8 % 2 * 2 - 1
    return 0.1 * photograph() + (0.5 * stripes if materials == 2 else 0)


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("skin", [0, 5, -60])
@pytest.mark.parametrize("corners", [0.0, 0.3, 0.5, 0.75])
def test_a_share_of_hair_in_the_corners_does_not_matter(corners: float, skin: float, margin: float) -> None:
    """What is removed is the cast, as far as the skin has it; of skin that changed otherwise, too, where light and dark
    things have it."""
    for cast in (0, 10, -10):
        own = cast + skin
        expected = math.copysign(min(abs(cast), abs(own)), cast) if cast * own > 0 else 0
        for materials in (1, 2):
            change = synthetic_change(64, corners, 80, skin, cast)
            found = color_shift(surroundings(materials), Square(50, 40, 64), change, [], margin) * 127.5
            assert found == pytest.approx([expected if materials == 2 or abs(skin) < 6 else 0] * 3, abs=0.01)


@pytest.mark.parametrize("hair", [-30, -12, 5, 12, 30, 80])
def test_where_all_around_is_hair_that_changes_the_skin_keeps_its_color(hair: float) -> None:
    """Skin that stayed as it was: exactly. Skin that a model darkened: all of it, though the hair darkened too."""
    square = Square(50, 40, 64)
    for skin in (0, -60, -45, 45, 60):
        assert not color_shift(surroundings(1), square, synthetic_change(64, 1.0, hair, skin, 0), [], 0.0).any()


@pytest.mark.parametrize("skin", [3, 6, -20])
def test_where_all_corners_are_hair_no_more_is_removed_than_the_skin_changed(skin: float) -> None:
    for hair in (4, 8, 30, 80):
        shift = color_shift(0 * photograph(), Square(50, 40, 64), synthetic_change(64, 1.0, hair, skin, 0), [], 0.0)
        assert (shift * torch.sign(torch.tensor(skin)) >= 0).all() and (shift.abs() * 127.5 <= abs(skin) + 0.01).all()


@pytest.mark.parametrize("part", ["brows and forehead", "eyes", "mouth and chin", "temples"])
def test_only_cheeks_and_the_bridge_of_the_nose_are_skin(part: str) -> None:
    """What changes in the face's other parts is no change of skin: a cast over all of the rest is removed exactly."""
    positions = (torch.arange(64) + 0.5) / 64 - 0.5
    right, down = torch.broadcast_tensors(positions[None], positions[:, None])
    place = {
        "brows and forehead": (down < -0.28) & (down > -0.45),
        "eyes": torch.minimum((right - 0.167).abs(), (right + 0.167).abs()).lt(0.09) & ((down + 0.211).abs() < 0.08),
        "mouth and chin": down > 0.1,
        "temples": right.abs() > 0.29,
    }[part]
    change = torch.full((3, 64, 64), 10 / 127.5)
    change[:, place & (blend_mask(right, down) > 0)] = -60 / 127.5
    assert color_shift(surroundings(1), Square(50, 40, 64), change, [], 0.0) * 127.5 == pytest.approx([10] * 3)


def test_match_removes_a_color_shift_of_the_whole_crop() -> None:
    x = 0.9 * photograph()
    square = Square(50, 40, 60)
    shift = torch.tensor([0.2, -0.1, 0.05])[:, None, None].expand(3, 60, 60)
    assert torch.allclose(color_shift(x, square, shift, [], 0.0), shift[:, 0, 0])
    assert torch.allclose(paste(x, [square], [shift]), x, atol=1e-6)


@pytest.mark.parametrize("corner", [(0, 0), (100, 0), (50, 80), (100, 80), (-15, 40)])
def test_what_lies_beyond_the_border_is_no_evidence(corner: tuple[int, int]) -> None:
    """There the crop is a reflection, of which a model makes anything."""
    x, square = 0.5 * photograph(), Square(*corner, 60)
    change = torch.full((3, 60, 60), 0.1)
    positions = (torch.arange(60) + 0.5) / 60 - 0.5
    at_x, at_y = square.to_image(positions[None], positions[:, None])
    beyond = (at_x < 0) | (at_x > 100) | (at_y < 0) | (at_y > 80)
    change[:, beyond] = -0.2
    shift = color_shift(x, square, change, [], 0.0)
    assert torch.allclose(shift, torch.full((3,), 0.1), atol=0.02) or (corner[0] < 0 and not shift.any())
    assert torch.equal(paste(x, [Square(400, 40, 60)], [change]), x)  # nothing of it is in the photograph


def test_a_neighbouring_face_is_no_evidence() -> None:
    x, square, other = 0.5 * photograph(120, 160), Square(60, 60, 80), Square(110, 60, 80)
    positions = (torch.arange(80) + 0.5) / 80 - 0.5
    at = square.to_image(positions[None], positions[:, None])
    change = torch.full((3, 80, 80), 0.1)
    change[:, blend_mask(*other.from_image(*at)) > 0] = 0.05
    change[:, 20:60, 20:60] = 0.1
    assert torch.allclose(color_shift(x, square, change, [other], 0.0), torch.full((3,), 0.1), atol=0.01)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grey_photograph_stays_grey(channels: int) -> None:
    person = PEOPLE[0]
    grey = portrait(person).mean(0, keepdim=True).expand(channels, -1, -1)
    target = portrait(person, age=65)[:channels] if channels == 3 else portrait(person, age=65).mean(0, keepdim=True)
    square = face_square(person)
    y = pasted(grey, target, square)
    assert y.shape == grey.shape and not torch.equal(y, grey)
    assert (y - y[:1]).abs().max() < 1e-6
    if channels == 3:  # as the model has it where the option is off
        assert (pasted(grey, target, square, match=False).diff(dim=0)).abs().max() > 0.1


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
