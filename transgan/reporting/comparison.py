"""Several runs side by side: where their recipes differ, their figures, their curves."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from transgan.recipe.written import written_keys
from transgan.reporting.charts import place_of
from transgan.reporting.curves import Line
from transgan.reporting.html import line_data, render_comparison
from transgan.reporting.runs import RunView
from transgan.text import cut

#: The most runs in one comparison: there are as many colours.
MOST = 8
#: Charts of these sections are overlaid.
OVERLAID = ("losses", "figures", "schedules")


def compare_runs(views: Sequence[RunView]) -> str:
    """Return a page with runs side by side."""
    written, defaults = differences(views)
    return render_comparison(views, labels(views), [*written, *defaults], overlaid(views))


Row = tuple[str, list[str]]
"""A key, and its value in each run; empty where a run lacks the key."""


def differences(views: Sequence[RunView]) -> tuple[list[Row], list[Row]]:
    """Return the keys in which recipes differ: those that a recipe or a setting says, and those that are defaults."""
    keys = dict.fromkeys(key for view in views for key in view.keys)
    table = [(key, [view.keys.get(key, "") for view in views]) for key in keys]
    differing = [(key, values) for key, values in table if len(set(values)) > 1]
    written = {key for view in views for key in written_keys("\n".join(view.recipe))}
    return [row for row in differing if row[0] in written], [row for row in differing if row[0] not in written]


def labels(views: Sequence[RunView]) -> list[str]:
    """Return what runs are called beside each other: the ends of their paths, from where these differ."""
    parts = [view.path.parts for view in views]
    depths = range(1, max(map(len, parts)) + 1)
    depth = next((d for d in depths if len({each[-d:] for each in parts}) == len(set(parts))), 1)
    return ["/".join(each[-depth:]) for each in parts]


def overlaid(views: Sequence[RunView]) -> list[dict[str, Any]]:
    """Return charts with a line for each run: of figures of translations, the mean over those that a run has."""
    charts: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for view, label in zip(views, labels(views), strict=True):
        steps, size = view.curves.steps, view.curves.size
        groups: dict[tuple[str, str], list[Line]] = {}
        for key, line in view.curves.lines().items():
            section, title, name = place_of(key)
            if section in OVERLAID and not title.endswith(("_low", "_high")):
                groups.setdefault((section, title if ": " in name else f"{title}: {name}"), []).append(line)
        for place, lines in groups.items():
            joined = mean_line(lines)
            at = [steps[bucket] for bucket in joined.buckets]
            charts.setdefault(place, []).append(line_data(label, at, joined, size))
    return [
        {"title": title, "lines": lines}
        for section in OVERLAID
        for (of, title), lines in charts.items()
        if of == section and (section != "schedules" or _differ(lines))
    ]


def mean_line(lines: Sequence[Line]) -> Line:
    """Return the mean of lines in each bucket, over those that have it, and their lowest and highest value."""
    values: dict[int, list[tuple[float, float, float]]] = {}
    for line in lines:
        for bucket, *each in zip(line.buckets, line.means, line.lows, line.highs, strict=True):
            values.setdefault(bucket, []).append((each[0], each[1], each[2]))
    buckets = sorted(values)
    return Line(
        buckets,
        [fmean(mean for mean, _, _ in values[bucket]) for bucket in buckets],
        [min(low for _, low, _ in values[bucket]) for bucket in buckets],
        [max(high for _, _, high in values[bucket]) for bucket in buckets],
    )


def _differ(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether lines that show a schedule differ from each other, or change."""
    return len({value for line in lines for value in line["y"]}) > 1


def short_table(views: Sequence[RunView], width: int) -> Iterator[str]:
    """Yield the lines of a table for a terminal: differing keys, state, time, and figures, mean over translations."""
    rows: list[Row] = [("", labels(views))]
    written, defaults = differences(views)
    rows += written or defaults
    if written and defaults:
        rows.append((f"and {len(defaults)} default{'s'[: len(defaults) != 1]} (see the page)", [""] * len(views)))
    rows.append(("state", [view.state for view in views]))
    rows.append(("steps", [f"{view.step}/{view.steps}" for view in views]))
    rows.append(("minutes", [f"{view.seconds / 60:.1f}" for view in views]))
    names = dict.fromkeys(name for view in views for each in view.measured.values() for name in each)
    for name in names:
        if not name.endswith(("_low", "_high")):
            values = [[each[name] for each in view.measured.values() if name in each] for view in views]
            rows.append((name, [f"{fmean(each):.4g}" if each else "" for each in values]))
    first = min(max(len(name) for name, _ in rows), 40)
    column = max(12, min((width - first) // len(views) - 2, 24))
    for name, cells in rows:
        line = "  ".join(_fitting(text, column).rjust(column) for text in cells)
        yield f"{_fitting(name, first).ljust(first)}  {line}"


def _fitting(text: str, width: int) -> str:
    short = cut(text, width)
    return short if len(short) <= width and short != "..." else f"{text[: width - 3]}..."
