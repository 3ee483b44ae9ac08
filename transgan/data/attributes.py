"""Attributes: labels of samples, encoded as the vectors that networks are conditioned on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from transgan.api.samples import Sample
from transgan.errors import DataError, did_you_mean
from transgan.recipe.schema import Attribute

#: Each attribute's encoding, a row for each sample: (N, attribute.numbers).
EncodedLabels = Mapping[str, np.ndarray]


def encode(attribute: Attribute, value: Any) -> list[float]:
    """Encode a label: a number as one from -1 (`from`) to 1 (`to`), a text as a one-hot vector over `values`.

    Raises:
        ValueError: the value is not among `values`, not a number, or out of range; says what was expected.
    """
    if attribute.values is not None:
        if value not in attribute.values:
            raise ValueError(f"found {value!r}. {did_you_mean(str(value), attribute.values)}")
        return [float(value == each) for each in attribute.values]
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
        rows, invalid = [], []
        for sample in samples:
            try:
                if name not in sample.attributes:
                    raise ValueError(f"no such label. {did_you_mean(name, sample.attributes)}")
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


def typical_label(name: str, samples: Sequence[Sample]) -> float | str:
    """Return the mean of a numeric label, or the most common value of a text label."""
    values = [sample.attributes[name] for sample in samples]
    try:
        return float(f"{np.mean([float(value) for value in values]):.6g}")
    except ValueError:
        return str(Counter(sorted(values)).most_common(1)[0][0])
