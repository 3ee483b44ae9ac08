"""Figures of several measurements: medians with their spread, ratios of pairs."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Measured:
    """What was measured of one case: in each round the seconds of a unit, and figures of all rounds."""

    label: str
    seconds: list[float] = field(default_factory=list)
    parts: dict[str, float] = field(default_factory=dict)
    """Shares of the time by part, 0 to 1."""
    figures: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it in the types of JSON."""
        return {"case": self.label, "seconds": spread(self.seconds), "shares": self.parts, **self.figures}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median, the least and the greatest of values."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio(first: Measured, second: Measured) -> dict[str, float]:
    """Return how many times as long the first takes as the second: of the pairs of each round."""
    return spread([a / b for a, b in zip(first.seconds, second.seconds, strict=True)])


def as_json(title: Mapping[str, Any], found: Sequence[Measured]) -> dict[str, Any]:
    """Return all that was measured in the types of JSON."""
    both = {"ratio": ratio(*found)} if len(found) == 2 else {}
    return {**title, "cases": [each.as_json() for each in found], **both}


def lines(title: str, unit: str, found: Sequence[Measured]) -> Iterator[str]:
    """Yield what was measured as lines for people."""
    yield title
    for each in found:
        if len(found) > 1:
            yield f"{each.label}:"
        yield f"{unit:<14} {_line(spread(each.seconds))}"
        median = spread(each.seconds)["median"]
        for name, share in each.parts.items():
            yield f"  {name:<12} {share * median * 1000:10.1f} ms  {share:6.1%}"
        yield from (f"{name:<14} {_figure(value, name)}" for name, value in each.figures.items())
    if len(found) == 2:
        both = ratio(*found)
        times = f"{both['median']:.2f} times as long ({both['min']:.2f} to {both['max']:.2f})"
        yield f"ratio          {found[0].label} takes {times} as {found[1].label}"


def _line(values: Mapping[str, float]) -> str:
    low, middle, high = (1000 * values[name] for name in ("min", "median", "max"))
    return f"{middle:10.1f} ms  ({low:.1f} to {high:.1f})"


def _figure(value: float, name: str) -> str:
    if "share" in name:
        return f"{value:10.1%}"
    for factor, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= factor:
            return f"{value / factor:10.2f} {letter}"
    return f"{value:10.2f}"
