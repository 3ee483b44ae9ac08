"""Near-duplicates: the same groups as comparing every pair finds."""

import numpy as np
import pytest

from transgan.data.similar import near_duplicates


def by_hand(values: list[int | None], most: int) -> list[list[int]]:
    """Compare every pair, and join what is connected."""
    group = list(range(len(values)))
    for i, a in enumerate(values):
        for j, b in enumerate(values[:i]):
            if a is not None and b is not None and (a ^ b).bit_count() <= most:
                group = [group[j] if each == group[i] else each for each in group]
    found = [[i for i, each in enumerate(group) if each == number] for number in dict.fromkeys(group)]
    return sorted(each for each in found if len(each) > 1)


@pytest.mark.parametrize("most", [0, 1, 3, 4, 7])
def test_groups_are_those_that_comparing_every_pair_finds(most: int) -> None:
    rng = np.random.default_rng(most)
    values: list[int | None] = [int(each) for each in rng.integers(0, 1 << 63, 60)]
    for i in range(0, 50, 2):  # changed by up to 9 bits, anywhere, the highest too
        flips = sum(1 << int(bit) for bit in rng.choice(64, i % 10, replace=False))
        values.append(int(values[i] or 0) ^ flips)
    values += [None, None, values[0], (1 << 64) - 1]
    found = near_duplicates(values, most)
    assert found == by_hand(values, most) and found


def test_no_items_and_items_that_are_like_no_other_are_in_no_group() -> None:
    assert near_duplicates([]) == near_duplicates([None, None]) == near_duplicates([5]) == []
    assert near_duplicates([5] * 3000 + [None]) == [list(range(3000))]
