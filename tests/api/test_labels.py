"""Selections match samples by their labels, also by labels that are ranges of numbers."""

import warnings
from typing import Any

import pytest

from transgan.api import DataWarning, NumericRange, Sample, UsageError, select

SAMPLES = [
    Sample("a", None, {"weight": 20, "material": "wood", "span": NumericRange("3-9"), "lit": True}),
    Sample("b", None, {"weight": 30.5, "material": "steel", "span": NumericRange("20-29"), "lit": False}),
    Sample("c", None, {"weight": 41, "material": "wood", "span": NumericRange("more than 70"), "lit": True}),
    Sample("d", None, {"weight": 20}),
]


def keys(selection: Any) -> str:
    return "".join(sample.key for sample in select(SAMPLES, selection))


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        ({"weight": [20, 30.5]}, "abd"),
        ({"weight": [20.1, 41]}, "bc"),
        ({"weight": 20}, "ad"),
        ({"weight": 21}, ""),
        ({"weight": [20, 41, 3]}, "acd"),
        ({"material": "wood"}, "ac"),
        ({"material": ["wood", "steel"]}, "abc"),
        ({"material": "wood", "weight": [40, 50]}, "c"),
        ({"span": [3, 29]}, "ab"),
        ({"span": [3, 28]}, "a"),
        ({"span": [60, 100]}, "c"),
        ({"span": "20-29"}, "b"),
        ({"span": ["3-9", "more than 70"]}, "ac"),
        ({"lit": True}, "ac"),
        ({"lit": False}, "b"),
    ],
)
def test_a_selection_matches_labels(selection: Any, found: str) -> None:
    assert keys(selection) == found


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ({"weihgt": 1}, "there is no label 'weihgt'. Did you mean 'weight'?"),
        ({"material": "wod"}, "there is no material 'wod'. Did you mean 'wood'?"),
        ({"material": ["wood", "glass"]}, "there is no material 'glass'. Known: steel, wood."),
        ({"material": [1, 2]}, "material = [1, 2]: found a range of numbers, expected strings such as 'wood'"),
        ({"weight": "heavy"}, "weight = 'heavy': found 'heavy', expected a number such as 20"),
        ({"weight": [30, 20]}, "weight = [30, 20] ends before it begins"),
        ({"span": 25}, "there is no span 25. Known: 20-29, 3-9, more than 70."),
        ({}, "found {}; expected a selection by labels, such as { label = [20, 30] }"),
        ("wood", "found 'wood'; expected a selection by labels, such as { label = [20, 30] }"),
    ],
)
def test_an_invalid_selection_is_reported(selection: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        select(SAMPLES, selection)
    assert str(error.value) == message


@pytest.mark.parametrize("value", ["Light wood", "LIGHT_WOOD", " light-wood", "light\u00a0wood"])
def test_a_label_that_is_spelt_differently_is_reported(value: str) -> None:
    samples = [*SAMPLES, Sample("e", None, {"material": "light wood"}), Sample("f", None, {"material": value})]
    with pytest.warns(DataWarning, match="1 sample has .*, which 'light wood' does not select") as warned:
        assert [each.key for each in select(samples, {"material": "light wood"})] == ["e"]
    assert len(warned) == 1
    with warnings.catch_warnings():  # not where both are selected, and not of words that differ
        warnings.simplefilter("error")
        assert len(select(samples, {"material": ["light wood", value]})) == 2
        assert len(select(samples, {"material": "wood"})) == 2


def test_known_values_need_not_occur() -> None:
    assert select(SAMPLES, {"material": "glass"}, {"material": ("glass",)}) == []
    assert select(SAMPLES, {"smell": 3}, {"smell": ()}) == []


def test_of_many_values_only_some_are_listed() -> None:
    samples = [Sample(str(i), None, {"name": f"name{i:03}"}) for i in range(300)]
    with pytest.raises(UsageError, match=r"name000, .*name019, and 280 more"):
        select(samples, {"name": "zzz"})


@pytest.mark.parametrize(
    ("text", "low", "high", "middle"),
    [
        ("20-29", 20, 29, 24.5),
        ("0 - 2", 0, 2, 1),
        ("1.5\u20132.5", 1.5, 2.5, 2),
        ("3 to 9", 3, 9, 6),
        ("more than 70", 70, 70, 70),
        ("Under 3", 3, 3, 3),
        ("70+", 70, 70, 70),
    ],
)
def test_a_range_and_its_middle(text: str, low: float, high: float, middle: float) -> None:
    label = NumericRange(text)
    assert (label.low, label.high, float(label)) == (low, high, middle)
    assert label == text


@pytest.mark.parametrize("text", ["", "young", "20", "29-20", "20-", "1-2-3", "a-b"])
def test_any_other_text_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a range|ends before"):
        NumericRange(text)
