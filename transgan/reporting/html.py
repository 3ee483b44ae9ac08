"""Pages about runs: one file each, with previews, players, charts and code inside; it asks nothing of any server.

Everything from outside is escaped: texts by the templates, data for the charts as JSON without `<`. A policy in the
page allows no script and no style but the page's own, by their hashes, and no request.
"""

import hashlib
import json
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined  # torch requires it, so it is there
from markupsafe import Markup
from markupsafe import escape as escape_markup

from transgan.plan import Plan
from transgan.reporting.charts import Chart
from transgan.reporting.commands import State
from transgan.reporting.curves import Curves
from transgan.reporting.runs import RunReader, RunView
from transgan.storage import RunFolder, write_text
from transgan.text import printable

#: The elements that show a file, by the first half of its media type.
KINDS = {"image": "img", "audio": "audio", "video": "video"}
#: Events of other kinds are in the list, and not marked in the charts.
MARKED = ("hint", "fault", "back", "stop", "skipped")
#: Changes of learning rates and weights that are marked, at most.
MOST_MARKS = 12
#: Seconds between two questions of a live page.
EVERY = 3


def escape(text: object) -> str:
    """Return a text for a page: what is not printable as escape sequences, and markup as characters."""
    return str(escape_markup(printable(text)))


class Report:
    """Writes the page of a run, `report.html`, again and again while the run goes on.

    Args:
        plan: of the run's recipe, which explains losses and figures.
    """

    def __init__(self, folder: RunFolder, plan: Plan | None):
        self.folder = folder
        self.reader = RunReader(folder, plan, KINDS)

    def write(self, state: State = "running", why: str = "") -> None:
        """Write the page.

        Args:
            state: how the run is.
            why: it is so.

        Raises:
            DiskError: it cannot be written.
        """
        write_text(self.folder.report, render_run(self.reader.read(state, why)))


def render_run(view: RunView, version: str = "") -> str:
    """Return the page of a run.

    Args:
        version: of a page that asks its server for a newer one; empty for a page that stands alone.
    """
    data = {
        **_data_of(view.curves.steps, view.curves.size, view.charts),
        "events": [
            {"step": each.step, "kind": each.kind, "text": printable(each.text)}
            for each in view.events
            if each.step is not None and each.kind in MARKED
        ],
        "marks": schedule_marks(view.curves),
        "pairs": {printable(title): cells for title, cells in _pairs(view).items()},
    }
    return _render("run.html", version, data, view=view, sections=_sections(view.charts))


def render_comparison(
    views: Sequence[RunView],
    labels: Sequence[str],
    differences: Sequence[tuple[str, Sequence[str]]],
    charts: Sequence[Mapping[str, Any]],
) -> str:
    """Return a page with runs side by side.

    Args:
        labels: what each run is called there.
        differences: keys of the recipes with their values in each run.
        charts: as the page's script takes them: title, lines with their own steps.
    """
    data = {"charts": charts, "events": [], "marks": [], "pairs": {}, "size": max(view.curves.size for view in views)}
    names = [printable(each["title"]) for each in charts]
    return _render("compare.html", "", data, views=views, labels=labels, differences=differences, titles=names)


def _data_of(steps: Sequence[int], size: int, charts: Sequence[Chart]) -> dict[str, Any]:
    """Return the numbers of charts for the page's script: lines name buckets, which have steps."""
    return {
        "steps": steps,
        "size": size,
        "charts": [
            {
                "title": printable(chart.title),
                "lines": [
                    line_data(label, line.buckets, line, size, len(steps)) for label, line in chart.lines.items()
                ],
            }
            for chart in charts
        ],
    }


def line_data(label: str, places: Sequence[int], line: Any, size: int, whole: int = -1) -> dict[str, Any]:
    """Return a line for the page's script.

    Args:
        places: the buckets, or the steps, of its values; omitted where it has all `whole` buckets.
    """
    found: dict[str, Any] = {"name": printable(label), "y": [short(each) for each in line.means]}
    if len(places) != whole:
        found["at"] = list(places)
    if size > 1:
        found |= {"low": [short(each, 3) for each in line.lows], "high": [short(each, 3) for each in line.highs]}
    return found


def short(value: float, digits: int = 5) -> float | int:
    """Return a number with a few digits, which are more than a chart shows."""
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e6 else rounded


def schedule_marks(curves: Curves) -> list[dict[str, Any]]:
    """Return the steps where a learning rate or a weight begins or ends to change, or jumps."""
    steps = curves.steps
    at: dict[tuple[int, str], list[str]] = {}
    for key, line in curves.lines().items():
        kind, _, name = key.partition("/")
        if kind not in ("lr", "weight"):
            continue
        what = f"{'learning rate of' if kind == 'lr' else 'weight of'} {name}"
        changes = [second != first for first, second in zip(line.means, line.means[1:], strict=False)]
        for i, changing in enumerate(changes):
            before = i > 0 and changes[i - 1]
            if changing and not before:
                rises = line.means[i + 1] > line.means[i]
                at.setdefault((steps[line.buckets[i]], "rises" if rises else "falls"), []).append(what)
            elif before and not changing:
                at.setdefault((steps[line.buckets[i]], "stays"), []).append(what)
    marks = [
        {"step": step, "text": printable(f"{', '.join(names)} {word if len(names) == 1 else word[:-1]} from here")}
        for (step, word), names in sorted(at.items())
    ]
    return marks if len(marks) <= MOST_MARKS else []  # a schedule of many jumps is seen in its own chart


def _pairs(view: RunView) -> Mapping[str, Any]:
    return {
        title: [[[round(x, 5) for x in each] for each in pair] for pair in pairs]
        for title, pairs in (view.previews[-1].pairs.items() if view.previews else ())
    }


def _sections(charts: Sequence[Chart]) -> list[tuple[str, str, list[tuple[int, Chart]]]]:
    """Return the sections of charts that there are: name, heading, and each chart with its number on the page."""
    heads = {
        "losses": "Losses",
        "figures": "Figures during the run",
        "tasks": "Tasks",
        "schedules": "Learning rates and weights",
        "diagnostics": "Diagnostics and the guardian",
    }
    numbered = list(enumerate(charts))
    found = [(name, head, [each for each in numbered if each[1].section == name]) for name, head in heads.items()]
    return [each for each in found if each[2]]


def _render(template: str, version: str, data: Mapping[str, Any], **values: Any) -> str:
    style, script = (Markup(text) for text in _assets())
    connect = "'self'" if version else "'none'"
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data:; media-src data:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
    text = json.dumps({**data, "version": version, "every": EVERY}, separators=(",", ":"), allow_nan=False)
    numbers = Markup(text.replace("<", "\\u003c"))
    page = _environment().get_template(template)
    return page.render(style=style, script=script, policy=policy, data=numbers, live=bool(version), **values)


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _assets() -> tuple[str, str]:
    """Return the style and the script of every page."""
    static, templates = files("transgan.reporting") / "static", files("transgan.reporting") / "templates"
    licence = (static / "uPlot.LICENSE.txt").read_text(encoding="utf-8")
    style = [static / "uPlot.min.css", templates / "page.css"]
    script = [static / "uPlot.iife.min.js", templates / "page.js"]
    texts = ["\n".join(each.read_text(encoding="utf-8") for each in part) for part in (style, script)]
    return f"\n{texts[0]}", f"\n/* uPlot:\n{licence}*/\n{texts[1]}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("transgan.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.filters |= {
        "duration": duration,
        "share": lambda value: f"{value:.0%}",
        "number": lambda value: f"{value:.4g}",
        "summary": _summary,
    }
    return environment


def _shown(value: object) -> object:
    """Return what a template shows of a value: the URL of an embedded file, which is long, as it is."""
    if isinstance(value, Markup) or (isinstance(value, str) and value.startswith("data:") and value.isascii()):
        return value
    return printable(value)


def duration(seconds: float | None) -> str:
    """Return a time as people say it: `2 h 05 min`, `40 s`."""
    if seconds is None or not math.isfinite(seconds):
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _summary(chart: Chart) -> str:
    """Return in words what a chart shows, for those who do not see it."""
    parts = []
    for label, line in list(chart.lines.items())[:8]:
        first, last = line.means[0], line.means[-1]
        parts.append(
            f"{label}: from {first:.4g} to {last:.4g}, lowest {min(line.lows):.4g}, highest {max(line.highs):.4g}"
        )
    return ". ".join(parts)
