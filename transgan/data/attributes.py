"""Attributes: labels of samples as the numbers that networks are told."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transgan.api.samples import Sample
from transgan.errors import DataError, did_you_mean
from transgan.recipe.schema import Attribute

#: Each attribute's numbers, a row a sample: (N, attribute.numbers).
Told = Mapping[str, np.ndarray]


def encode(attribute: Attribute, value: Any) -> list[float]:
    """What networks are told of a value.

    Of a number one, from -1 for `from` to 1 for `to`; of a text one for each of `values`, 1 or 0.

    Raises:
        ValueError: it is not among the values, no number, or outside; says what was expected.
    """
    if attribute.values is not None:
        if value not in attribute.values:
            raise ValueError(f"found {value!r}. {did_you_mean(str(value), attribute.values)}")
        return [float(value == each) for each in attribute.values]
    assert attribute.low is not None and attribute.high is not None
    wanted = f"expected a number from {attribute.low:g} to {attribute.high:g}"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"found {value!r}, {wanted}") from None
    if not attribute.low <= number <= attribute.high:
        raise ValueError(f"found {number:g}, {wanted}")
    return [2 * (number - attribute.low) / (attribute.high - attribute.low) - 1]


def encode_all(attributes: Mapping[str, Attribute], samples: Sequence[Sample], domain: str) -> Told:
    """The numbers of every sample of a domain.

    Raises:
        DataError: a sample lacks a label, or has a value of which networks cannot be told; says how many do.
    """
    told = {}
    for name, attribute in attributes.items():
        rows, wrong = [], []
        for sample in samples:
            try:
                if name not in sample.attributes:
                    raise ValueError(f"no such label. {did_you_mean(name, sample.attributes)}")
                rows.append(encode(attribute, sample.attributes[name]))
            except ValueError as error:
                wrong.append(f"{sample.key}: {error}")
        if wrong:
            raise DataError(
                f"[attributes] {name}: {len(wrong)} of the {len(samples)} samples of domain '{domain}' will not do, "
                f"such as {wrong[0]}"
            )
        told[name] = np.array(rows, np.float32).reshape(len(samples), attribute.numbers)
    return told


def described(attribute: Attribute) -> str:
    """What it can be, in words."""
    return ", ".join(attribute.values) if attribute.values else f"{attribute.low:g} to {attribute.high:g}"


def middle(name: str, samples: Sequence[Sample]) -> float | str:
    """The mean of a label that is a number, the commonest value of one that is a text."""
    values = [sample.attributes[name] for sample in samples]
    try:
        return float(f"{np.mean([float(value) for value in values]):.6g}")
    except ValueError:
        return str(Counter(sorted(values)).most_common(1)[0][0])
