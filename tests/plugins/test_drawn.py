"""Tests of the drawn faces."""

from itertools import pairwise

import numpy as np
import pytest
from transgan_faces.drawn import RACES, agedness, draw, person


def test_a_face_is_a_pure_function_of_its_arguments() -> None:
    first = draw(person(3, 7), age=25, race="White")
    again = draw(person(3, 7), age=25, race="White")
    assert person(3, 7) == person(3, 7)
    assert np.array_equal(first, again)


def test_other_indices_and_other_seeds_are_other_people() -> None:
    people = [person(0, index) for index in range(20)] + [person(1, index) for index in range(20)]
    assert len(set(people)) == 40
    faces = [draw(who, age=30, race="Asian", size=32).tobytes() for who in people]
    assert len(set(faces)) == 40


@pytest.mark.parametrize("size", [16, 33, 64, 200])
def test_a_face_is_a_square_of_rgb_bytes(size: int) -> None:
    for index, race in enumerate(RACES):
        face = draw(person(0, index), age=18 + 20 * index, race=race, size=size)
        assert face.shape == (size, size, 3)
        assert face.dtype == np.uint8
        assert face.std() > 15


def test_the_composition_is_the_same_at_every_size() -> None:
    for index in range(12):
        for age, race in ((25, "White"), (55, "Black")):
            small = draw(person(5, index), age=age, race=race, size=64).astype(float)
            large = draw(person(5, index), age=age, race=race, size=128).astype(float)
            halved = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
            assert np.abs(small - halved).mean() < 2.5


def test_a_label_leaves_the_background_as_it_is() -> None:
    for index in range(20):
        who = person(2, index)
        faces = [draw(who, age=age, race=race) for age in (25, 55) for race in ("White", "Black")]
        for face in faces[1:]:
            assert np.array_equal(face[:6, :6], faces[0][:6, :6])
            assert np.array_equal(face[:6, -6:], faces[0][:6, -6:])


def test_both_labels_are_plain_to_see() -> None:
    for index in range(20):
        who = person(4, index)
        young, old = (draw(who, age=age, race="White").astype(float) for age in (25, 55))
        other = draw(who, age=25, race="Black").astype(float)
        assert np.abs(young - old).mean() / 127.5 > 0.03
        assert np.abs(young - other).mean() / 127.5 > 0.06


def test_people_age_steadily_and_most_between_30_and_50() -> None:
    course = [agedness(age) for age in range(18, 81)]
    assert course[0] == 0
    assert course[-1] == pytest.approx(1)
    assert all(after > before for before, after in pairwise(course))
    assert agedness(50) - agedness(30) > 3 * (agedness(30) - agedness(20) + agedness(60) - agedness(50))


def test_dark_hair_greys_with_age() -> None:
    who = next(p for p in (person(0, index) for index in range(200)) if p.cut == "waves" and p.shade > 0.7)
    row, middle = (int(32 * (1 + at)) for at in (who.shift[1] - 0.68 * who.scale, who.shift[0]))
    crown = slice(row - 2, row + 2), slice(middle - 5, middle + 5)
    levels = [draw(who, age=age, race="Black")[crown].mean() for age in (20, 35, 40, 45, 55, 75)]
    assert levels == sorted(levels)
    assert levels[-1] > levels[0] + 40


def test_bad_arguments_are_refused() -> None:
    who = person(0, 0)
    with pytest.raises(ValueError, match="age"):
        draw(who, age=17, race="White")
    with pytest.raises(ValueError, match="age"):
        draw(who, age=float("nan"), race="White")
    with pytest.raises(ValueError, match="race"):
        draw(who, age=30, race="white")
    with pytest.raises(ValueError, match="size"):
        draw(who, age=30, race="White", size=8)
    with pytest.raises(ValueError, match="seed"):
        person(-1, 0)
    with pytest.raises(ValueError, match="index"):
        person(0, 2**64)
