"""Labels of samples: finding the samples that a selection means, and texts that stand for numbers."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from transgan.api.samples import Sample
from transgan.errors import UsageError, did_you_mean

_NUMBER = r"\s*(\d+(?:\.\d+)?)\s*"
_BAND = re.compile(rf"{_NUMBER}(?:-|\u2013|to){_NUMBER}")
_OPEN = re.compile(rf"(?:more than|over|less than|under){_NUMBER}|{_NUMBER}\+\s*", re.IGNORECASE)
#: More known values than this are not all listed.
_MANY = 20


class Band(str):
    """A text that stands for the numbers from `low` to `high`: `"20-29"`. As a number it is their middle, 24.5.

    An open one, `"more than 70"`, `"70+"` or `"under 3"`, stands for its limit.
    """

    low: float
    high: float

    def __new__(cls, text: str) -> "Band":
        """Raises ValueError where the text is no band."""
        band = super().__new__(cls, text)
        if match := _BAND.fullmatch(text):
            band.low, band.high = float(match[1]), float(match[2])
        elif match := _OPEN.fullmatch(text):
            band.low = band.high = float(match[1] or match[2])
        else:
            raise ValueError(f"{text!r} is not a band of numbers such as '20-29'")
        if band.low > band.high:
            raise ValueError(f"{text!r} ends before it begins")
        return band

    def __float__(self) -> float:
        return (self.low + self.high) / 2


def select(
    samples: Iterable[Sample], selection: Any, known: Mapping[str, Collection[Any]] | None = None
) -> list[Sample]:
    """The samples whose labels are as a selection wants them: `{ size = [20, 30], mood = ["calm", "glad"] }`.

    Two numbers are a range, both ends included, into which a band has to fall as a whole; anything else must be equal,
    or one of a list. A sample that lacks a label is not selected by it.

    Args:
        known: the labels that samples may have, and the values that are good even where no sample has them.

    Raises:
        UsageError: it is no selection, or of a label, or of a text, that there is not; says which there are.
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
    return [sample for sample in samples if all(_fits(sample, name, wanted) for name, wanted in selection.items())]


def is_range(wanted: Any) -> bool:
    """Whether a selection wants the numbers between two."""
    return isinstance(wanted, list) and len(wanted) == 2 and all(_is_number(end) for end in wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check(name: str, wanted: Any, values: Collection[Any]) -> None:
    """Whether a label with these values can be what is wanted."""
    texts = [value for value in values if isinstance(value, str)]
    if is_range(wanted):
        words = [text for text in texts if not isinstance(text, Band)]
        if words:
            raise UsageError(f"{name} is a text such as {words[0]!r}, and {wanted} a range of numbers")
        if wanted[0] > wanted[1]:
            raise UsageError(f"{name} = {wanted} ends before it begins")
        return
    for each in wanted if isinstance(wanted, list) else [wanted]:
        if texts and each not in texts:
            raise UsageError(f"there is no {name} {each!r}. {_hint(str(each), texts)}")
        if not texts and not isinstance(each, (int, float)):
            example = f" such as {next(iter(values))!r}" if values else ""
            raise UsageError(f"{name} is a number{example}, and {each!r} is none")


def _hint(word: str, texts: list[str]) -> str:
    hint = did_you_mean(word, texts)
    if hint.startswith("Known") and len(texts) > _MANY:
        return f"Known: {', '.join(sorted(texts)[:_MANY])}, and {len(texts) - _MANY} more."
    return hint


def _fits(sample: Sample, name: str, wanted: Any) -> bool:
    value = sample.attributes.get(name)
    if value is None:
        return False
    if is_range(wanted):
        low, high = (value.low, value.high) if isinstance(value, Band) else (value, value)
        return bool(wanted[0] <= low and high <= wanted[1])
    return bool(value in wanted if isinstance(wanted, list) else value == wanted)
