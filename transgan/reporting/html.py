"""The report of a run: one HTML file with curves, samples and figures; it needs nothing but the samples folder."""

import math
import mimetypes
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape as escape_markup
from pathlib import Path
from typing import Any

from transgan.reporting.tables import rows
from transgan.storage import RunFolder, write_text
from transgan.text import printable

COLOURS = ("#3366cc", "#dc3912", "#ff9900", "#109618", "#990099", "#0099c6", "#dd4477", "#66aa00")
#: Curves that advice and the guardian evaluate; folded away.
FOLDED = ("diagnostics/", "guard")
WIDTH, HEIGHT, LEFT, BELOW = 560, 220, 52, 22
#: Most points of a line: two for each unit of WIDTH.
MAX_POINTS = 1000


def escape(text: object) -> str:
    """Return a text for a page: what is not printable as escape sequences, and markup as characters."""
    return escape_markup(printable(text))


def write_report(
    folder: RunFolder,
    name: str,
    records: Sequence[Mapping[str, Any]],
    result: Mapping[str, Any],
    of_steps: int | None = None,
) -> None:
    """Write `report.html` from the run's log, samples and result.

    Args:
        records: those of metrics.jsonl.
        result: the content of result.json.
        of_steps: the steps of the whole run, where it goes on and is not measured yet.

    Raises:
        DiskError: it cannot be written.
    """
    curves: dict[str, dict[str, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        for key, value in record.items():
            if key in ("step", "epoch", "time") or not isinstance(value, (int, float)) or not math.isfinite(value):
                continue  # a step that was skipped has no numbers
            first, _, rest = key.partition("/")
            group, line = (rest, first) if rest and ": " in first else (first, rest or first)
            curves[group][line].append((float(record["step"]), float(value)))
    parts = [
        f"<h1>{escape(name)}</h1><p>{_state(result, of_steps)}</p>",
        _list("<h2>Guardian</h2>", result.get("guard", [])),
        _list("<h2>Advice</h2><p>From the newest part of the run:</p>", result.get("advice", [])),
        _tasks(records),
        _table(result["translations"]),
        _conditions(result),
        *_samples(folder.samples),
        "<h2>Curves</h2><p>Losses are shown unweighted; their weights have curves of their own.</p>",
        _charts({group: lines for group, lines in curves.items() if not group.startswith(FOLDED)}),
        "<details><summary>Diagnostics and the guardian</summary>",
        _charts({group: lines for group, lines in curves.items() if group.startswith(FOLDED)}),
        "</details>",
    ]
    page = _PAGE.format(title=escape(name), body="\n".join(parts))
    write_text(folder.report, page)


def _state(result: Mapping[str, Any], of_steps: int | None) -> str:
    """Return how far the run is."""
    if of_steps is None:
        return f"{result['steps']} steps, seed {result['seed']}."
    return f"Step {result['steps']} of {of_steps}, seed {result['seed']}. The figures are measured at the end."


def _list(head: str, lines: Sequence[str]) -> str:
    """Return sentences below a heading; nothing where there are none."""
    items = "".join(f"<li>{escape(line)}.</li>" for line in lines)
    return f"{head}<ul>{items}</ul>" if lines else ""


def _tasks(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the state of the tasks at the end, where there are several."""
    with_lags = [record for record in records if any(key.startswith("lag/") for key in record)]
    last: Mapping[str, Any] = with_lags[-1] if with_lags else {}
    lines = [
        f"<tr><th>{escape(task)}</th><td>{last.get(f'share/{task}', 1.0):.1%}</td><td>{last[key]:.2f}</td></tr>"
        for key in last
        if (task := key.removeprefix("lag/")) != key
    ]
    head = "<h2>Tasks</h2><table><tr><th></th><th>share of steps</th><th>lag</th></tr>"
    return f"{head}{''.join(lines)}</table>" if lines else ""


def _samples(folder: Path) -> list[str]:
    """Return the newest samples: files whose names equal the last one's up to the first dot or second hyphen."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
    if not names:
        return []
    step = names[-1].partition(".")[0].split("-")[:2]
    parts = ["<h2>Samples</h2>"]
    newest = [name for name in names if name.partition(".")[0].split("-")[:2] == step]
    for name in sorted(newest, key=_by_number):
        kind = (mimetypes.guess_type(name)[0] or "").partition("/")[0]
        file, shown = f"samples/{escape(name)}", escape(name)
        if kind == "image":
            parts.append(f'<img src="{file}" alt="held-out samples">')
        elif kind in ("", "application", "text"):
            parts.append(f'<p><a href="{file}">{shown}</a></p>')
        else:  # audio and video have HTML elements of that name
            player = f'<{kind} controls preload="none" src="{file}"></{kind}>'
            parts.append(f"<figure><figcaption>{shown}</figcaption>{player}</figure>")
    return parts


def _by_number(name: str) -> list[tuple[int, str]]:
    """Return a sort key: numbers in names by value, and a name before its continuations."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name.partition(".")[0])
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _table(translations: Mapping[str, Mapping[str, float]]) -> str:
    if not translations:
        return ""
    head = "".join(f"<th>{escape(translation)}</th>" for translation in translations)
    lines = [
        f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, cells in rows(translations)
    ]
    return f"<h2>Figures on held-out samples</h2><table><tr><th></th>{head}</tr>{''.join(lines)}</table>"


def _conditions(result: Mapping[str, Any]) -> str:
    """Return how far outputs differ when only a condition does."""
    warnings = "".join(f"<p><strong>{escape(each)}.</strong></p>" for each in result.get("warnings", []))
    known: Mapping[str, Mapping[str, float]] = result.get("conditions", {})
    if not known:
        return warnings
    lines = [
        f"<tr><th>{escape(name)}</th><td>{each['difference']:.2%}</td><td>{each['of_change']:.2f}</td></tr>"
        for name, each in known.items()
    ]
    return (
        "<h2>Conditions</h2><p>The same inputs under two conditions: how far the outputs differ, as a share of the "
        "range of samples and of what a translation changes.</p>"
        "<table><tr><th></th><th>of the range</th><th>of the change</th></tr>"
        f"{''.join(lines)}</table>{warnings}"
    )


def _charts(groups: Mapping[str, Mapping[str, Sequence[tuple[float, float]]]]) -> str:
    charts = "".join(_chart(group, lines) for group, lines in sorted(groups.items()))
    return f'<div class="curves">{charts}</div>'


def _chart(title: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    points = [point for line in lines.values() for point in line]
    right = max(x for x, _ in points) or 1.0
    low, high = min(y for _, y in points), max(y for _, y in points)
    low, high = min(low, 0.0), high if high > low else low + 1.0

    def place(x: float, y: float) -> str:
        across = LEFT + (WIDTH - LEFT - 8) * x / right
        return f"{across:.1f},{8 + (HEIGHT - BELOW - 8) * (1 - (y - low) / (high - low)):.1f}"

    curves, legend = [], []
    for i, (name, line) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(place(x, y) for x, y in _thinned(line))
        curves.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.3"/>')
        legend.append(f'<span style="color:{colour}">{escape(name)}</span>')
    axis = (
        f'<line x1="{LEFT}" y1="{HEIGHT - BELOW}" x2="{WIDTH - 8}" y2="{HEIGHT - BELOW}" stroke="#999"/>'
        f'<text x="{LEFT - 4}" y="14" text-anchor="end">{high:.3g}</text>'
        f'<text x="{LEFT - 4}" y="{HEIGHT - BELOW}" text-anchor="end">{low:.3g}</text>'
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 6}" text-anchor="end">step {right:.0f}</text>'
    )
    svg = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{axis}{"".join(curves)}</svg>'
    return f"<figure><figcaption>{escape(title)}</figcaption>{svg}<p>{' '.join(legend)}</p></figure>"


def _thinned(line: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return the points of a line; of many, the lowest and the highest of each part, so that no peak is lost."""
    if len(line) <= MAX_POINTS:
        return line
    size = -(-len(line) // (MAX_POINTS // 2))
    parts = [line[first : first + size] for first in range(0, len(line), size)]
    return [point for part in parts for point in sorted({min(part, key=_height), max(part, key=_height)})]


def _height(point: tuple[float, float]) -> float:
    return point[1]


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; color: #222 }}
table {{ border-collapse: collapse }} th, td {{ padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: right }}
th:first-child {{ text-align: left }} img {{ max-width: 100%; image-rendering: pixelated }}
.curves {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 1em }}
figure {{ margin: 0 }} figcaption {{ font-weight: 600 }} figure p {{ margin: 0; font-size: 12px }}
text {{ font-size: 11px }} summary {{ cursor: pointer; margin: 1em 0 }}
</style>
<body>
{body}
</body></html>
"""
