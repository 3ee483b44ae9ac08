"""Tests of synthetic faces: reproducible, of one composition at every size, and changed by their labels alone."""

from itertools import pairwise

import numpy as np
import pytest
from transgan_faces.synthetic import RACES, aging_factor, render, sample_person


def test_a_face_is_a_pure_function_of_its_arguments() -> None:
    first = render(sample_person(3, 7), age=25, race="White")
    again = render(sample_person(3, 7), age=25, race="White")
    assert sample_person(3, 7) == sample_person(3, 7)
    assert np.array_equal(first, again)


def test_people_differ_between_indices_and_seeds() -> None:
    people = [sample_person(seed, index) for seed in (0, 1) for index in range(20)]
    assert len(set(people)) == 40
    faces = [render(person, age=30, race="Asian", size=32).tobytes() for person in people]
    assert len(set(faces)) == 40


@pytest.mark.parametrize("size", [16, 33, 64, 200])
def test_a_face_is_a_square_rgb_image(size: int) -> None:
    for index, race in enumerate(RACES):
        face = render(sample_person(0, index), age=18 + 20 * index, race=race, size=size)
        assert face.shape == (size, size, 3)
        assert face.dtype == np.uint8
        assert face.std() > 15


def test_the_composition_is_the_same_at_every_size() -> None:
    for index in range(12):
        for age, race in ((25, "White"), (55, "Black")):
            small = render(sample_person(5, index), age=age, race=race, size=64).astype(float)
            large = render(sample_person(5, index), age=age, race=race, size=128).astype(float)
            halved = large.reshape(64, 2, 64, 2, 3).mean((1, 3))
            assert np.abs(small - halved).mean() < 2.5


def test_labels_do_not_change_the_background() -> None:
    for index in range(20):
        person = sample_person(2, index)
        faces = [render(person, age=age, race=race) for age in (25, 55) for race in ("White", "Black")]
        for face in faces[1:]:
            assert np.array_equal(face[:6, :6], faces[0][:6, :6])
            assert np.array_equal(face[:6, -6:], faces[0][:6, -6:])


def test_both_labels_change_the_face_visibly() -> None:
    for index in range(20):
        person = sample_person(4, index)
        young, old = (render(person, age=age, race="White").astype(float) for age in (25, 55))
        other = render(person, age=25, race="Black").astype(float)
        assert np.abs(young - old).mean() / 127.5 > 0.03
        assert np.abs(young - other).mean() / 127.5 > 0.06


def test_the_aging_factor_rises_strictly_and_most_between_30_and_50() -> None:
    factors = [aging_factor(age) for age in range(18, 81)]
    assert factors[0] == 0
    assert factors[-1] == pytest.approx(1)
    assert all(after > before for before, after in pairwise(factors))
    edges = aging_factor(30) - aging_factor(20) + aging_factor(60) - aging_factor(50)
    assert aging_factor(50) - aging_factor(30) > 3 * edges


def test_dark_hair_greys_with_age() -> None:
    people = (sample_person(0, index) for index in range(200))
    person = next(each for each in people if each.hair_style == "waves" and each.hair_shade > 0.7)
    row, middle = (int(32 * (1 + at)) for at in (person.shift[1] - 0.68 * person.scale, person.shift[0]))
    crown = slice(row - 2, row + 2), slice(middle - 5, middle + 5)
    levels = [render(person, age=age, race="Black")[crown].mean() for age in (20, 35, 40, 45, 55, 75)]
    assert levels == sorted(levels)
    assert levels[-1] > levels[0] + 40


def test_arguments_out_of_range_are_refused() -> None:
    person = sample_person(0, 0)
    with pytest.raises(ValueError, match="age"):
        render(person, age=17, race="White")
    with pytest.raises(ValueError, match="age"):
        render(person, age=float("nan"), race="White")
    with pytest.raises(ValueError, match="race"):
        render(person, age=30, race="white")
    with pytest.raises(ValueError, match="size"):
        render(person, age=30, race="White", size=8)
    with pytest.raises(ValueError, match="seed"):
        sample_person(-1, 0)
    with pytest.raises(ValueError, match="index"):
        sample_person(0, 2**64)
