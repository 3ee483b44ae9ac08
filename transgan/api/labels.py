"""Labels of samples: selection of samples by their labels, and labels that are ranges of numbers."""

import re
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from unicodedata import normalize

from transgan.api.samples import Sample
from transgan.errors import DataWarning, UsageError, did_you_mean

_NUMBER = r"\s*(\d+(?:\.\d+)?)\s*"
_CLOSED = re.compile(rf"{_NUMBER}(?:-|\u2013|to){_NUMBER}")
_OPEN = re.compile(rf"(?:more than|over|less than|under){_NUMBER}|{_NUMBER}\+\s*", re.IGNORECASE)
#: Number of known values that an error message lists at most.
_MAX_LISTED = 20


class NumericRange(str):
    """A label that is a range of numbers, such as `"20-29"`. `float()` returns its middle, 24.5.

    An open range, such as `"more than 70"`, `"70+"` or `"under 3"`, counts as the number that bounds it.
    """

    low: float
    high: float

    def __new__(cls, text: str) -> "NumericRange":
        """Parse a range.

        Raises:
            ValueError: the text is not a range of numbers.
        """
        parsed = super().__new__(cls, text)
        if match := _CLOSED.fullmatch(text):
            parsed.low, parsed.high = float(match[1]), float(match[2])
        elif match := _OPEN.fullmatch(text):
            parsed.low = parsed.high = float(match[1] or match[2])
        else:
            raise ValueError(f"{text!r} is not a range of numbers such as '20-29'")
        if parsed.low > parsed.high:
            raise ValueError(f"{text!r} ends before it begins")
        return parsed

    def __float__(self) -> float:
        return (self.low + self.high) / 2


def select(
    samples: Iterable[Sample], selection: Any, known: Mapping[str, Collection[Any]] | None = None
) -> list[Sample]:
    """Return the samples whose labels match a selection such as `{ size = [20, 30], mood = ["calm", "glad"] }`.

    A list of two numbers is a range that includes both ends; a `NumericRange` matches it if it lies inside. Any other
    list matches each of its elements, and a single value only itself. A sample without one of the labels never matches.
    Labels that differ from a wanted one by capitals or spaces alone are reported (`DataWarning`).

    Args:
        samples: the samples to choose from.
        selection: the wanted values by label.
        known: further valid labels, each with its valid values, in addition to those that occur in `samples`.

    Raises:
        UsageError: the selection is not a table, is empty, or names an unknown label or value; lists the known ones.
    """
    if not isinstance(selection, Mapping) or not selection:
        raise UsageError(f"found {selection!r}; expected a selection by labels, such as {{ label = [20, 30] }}")
    samples = list(samples)
    values: dict[str, dict[Any, None]] = {name: dict.fromkeys(each) for name, each in (known or {}).items()}
    for sample in samples:
        for name, value in sample.attributes.items():
            values.setdefault(name, {})[value] = None
    for name, wanted in selection.items():
        if name not in values:
            raise UsageError(f"there is no label '{name}'. {did_you_mean(name, values)}")
        _check(name, wanted, values[name])
    for name, wanted in selection.items():
        _warn_of_spellings(name, wanted, samples)
    return [sample for sample in samples if all(_matches(sample, name, wanted) for name, wanted in selection.items())]


def is_range(wanted: Any) -> bool:
    """Return whether a selection's value is a range, `[low, high]`."""
    return isinstance(wanted, list) and len(wanted) == 2 and all(_is_number(end) for end in wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check(name: str, wanted: Any, values: Collection[Any]) -> None:
    """Raise UsageError where no label with these values can match."""
    strings = [value for value in values if isinstance(value, str)]
    if is_range(wanted):
        words = [each for each in strings if not isinstance(each, NumericRange)]
        if words:
            raise UsageError(f"{name} = {wanted}: found a range of numbers, expected strings such as {words[0]!r}")
        if wanted[0] > wanted[1]:
            raise UsageError(f"{name} = {wanted} ends before it begins")
        return
    if wanted == []:
        raise UsageError(f"{name} = []: an empty list selects nothing; expected a range such as [20, 30], or values")
    flags = bool(values) and {*values} <= {0, 1}  # which equal false and true
    for each in wanted if isinstance(wanted, list) else [wanted]:
        if strings and each not in strings:
            raise UsageError(f"there is no {name} {each!r}. {_hint(str(each), strings)}")
        if not strings and not (_is_number(each) or (flags and isinstance(each, bool))):
            example = f" such as {next(iter(values))!r}" if values else ""
            expected = "true or false" if flags else f"a number{example}"
            raise UsageError(f"{name} = {wanted!r}: found {each!r}, expected {expected}")


def _warn_of_spellings(name: str, wanted: Any, samples: Iterable[Sample]) -> None:
    """Warn of samples that a selection leaves out for the spelling of their label alone: other capitals or spaces."""
    words = [each for each in (wanted if isinstance(wanted, list) else [wanted]) if isinstance(each, str)]
    meant = {_spelt_plainly(each): each for each in words}
    values = Counter(sample.attributes.get(name) for sample in samples) if words else {}
    for value, count in values.items():
        if isinstance(value, str) and value not in words and (word := meant.get(_spelt_plainly(value))):
            have = "1 sample has" if count == 1 else f"{count:,} samples have"
            text = f"label {name}: {have} {value!r}, which {word!r} does not select; spell them alike, or select both"
            warnings.warn(DataWarning(f'{text}: {name} = ["{word}", "{value}"]'), stacklevel=3)


def _spelt_plainly(text: str) -> str:
    return re.sub(r"[\s_-]+", " ", normalize("NFKC", text).casefold()).strip()


def _hint(word: str, strings: list[str]) -> str:
    hint = did_you_mean(word, strings)
    if hint.startswith("Known") and len(strings) > _MAX_LISTED:
        return f"Known: {', '.join(sorted(strings)[:_MAX_LISTED])}, and {len(strings) - _MAX_LISTED} more."
    return hint


def _matches(sample: Sample, name: str, wanted: Any) -> bool:
    value = sample.attributes.get(name)
    if value is None:
        return False
    if is_range(wanted):
        low, high = (value.low, value.high) if isinstance(value, NumericRange) else (value, value)
        return bool(wanted[0] <= low and high <= wanted[1])
    return bool(value in wanted if isinstance(wanted, list) else value == wanted)
