"""Attributes: labels of samples, encoded as the vectors that networks are conditioned on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np

from transgan.api.samples import Sample
from transgan.errors import DataError, did_you_mean
from transgan.recipe.schema import Attribute
from transgan.text import listed

#: Each attribute's encoding, a row for each sample: (N, attribute.numbers).
EncodedLabels = Mapping[str, np.ndarray]


def is_value(label: Any, value: str) -> bool:
    """Return whether a label is a value of `values`, which has texts: a number, or true and false, as it is written."""
    if label is None:  # a sample without the label has none of the values
        return False
    if as_value(label) == value:
        return True
    if isinstance(label, (bool, np.bool_)):
        return as_value(label) == value.lower()
    try:
        return isinstance(label, Real) and float(value) == label
    except (ValueError, OverflowError):
        return False


def as_value(label: Any) -> str:
    """Return the value of `values` that a label is."""
    if isinstance(label, (bool, np.bool_)):
        return str(label).lower()
    if not isinstance(label, Real):
        return str(label)
    if isinstance(label, Integral):
        return str(int(label))
    return str(int(float(label))) if float(label).is_integer() else repr(float(label))


def encode(attribute: Attribute, value: Any) -> list[float]:
    """Encode a label: a number as one from -1 (`from`) to 1 (`to`), a category as a one-hot vector over `values`.

    Raises:
        ValueError: the value is not among `values`, not a number, or out of range; says what was expected.
    """
    if attribute.values is not None:
        encoded = [float(is_value(value, each)) for each in attribute.values]
        if sum(encoded) > 1:
            same = [each for each in attribute.values if is_value(value, each)]
            raise ValueError(
                f"found {value!r}, and its values {listed(map(repr, same))} are the same; remove all but one"
            )
        if not any(encoded):
            raise ValueError(f"found {value!r}. {did_you_mean(str(value), attribute.values)}")
        return encoded
    assert attribute.low is not None and attribute.high is not None
    expected = f"expected a number from {attribute.low:g} to {attribute.high:g}"
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"found {value!r}, {expected}") from None
    if not attribute.low <= number <= attribute.high:
        raise ValueError(f"found {number:g}, {expected}")
    return [2 * (number - attribute.low) / (attribute.high - attribute.low) - 1]


def encode_labels(attributes: Mapping[str, Attribute], samples: Sequence[Sample], domain: str) -> EncodedLabels:
    """Encode the labels of every sample of a domain.

    Raises:
        DataError: samples lack a label, or have a value that cannot be encoded; says how many.
    """
    encoded = {}
    for name, attribute in attributes.items():
        if without := [sample.key for sample in samples if sample.attributes.get(name) is None]:
            known = {label for sample in samples for label in sample.attributes}
            count = f"{len(without)} of the {len(samples)} samples of domain '{domain}' have no label '{name}'"
            hint = "" if name in known else f". {did_you_mean(name, known)}" if known else ". They have no labels."
            raise DataError(
                f"[attributes] {name}: {count}, such as {without[0]}{hint or '; label them, or select others'}"
            )
        rows, invalid = [], []
        for sample in samples:
            try:
                rows.append(encode(attribute, sample.attributes[name]))
            except ValueError as error:
                invalid.append(f"{sample.key}: {error}")
        if invalid:
            raise DataError(
                f"[attributes] {name}: invalid for {len(invalid)} of the {len(samples)} samples of domain '{domain}', "
                f"such as {invalid[0]}"
            )
        encoded[name] = np.array(rows, np.float32).reshape(len(samples), attribute.numbers)
    return encoded


def describe_attribute(attribute: Attribute) -> str:
    """Return the values of an attribute in words."""
    return ", ".join(attribute.values) if attribute.values else f"{attribute.low:g} to {attribute.high:g}"


def typical_label(attribute: Attribute, name: str, samples: Sequence[Sample]) -> float | str:
    """Return the mean of a label that is a number, or the most common one of the attribute's values."""
    labels = [sample.attributes[name] for sample in samples]
    if attribute.values is None:
        return float(f"{np.mean([float(label) for label in labels]):.6g}")
    counts = Counter(labels)
    return max(sorted(attribute.values), key=lambda value: sum(n for x, n in counts.items() if is_value(x, value)))
