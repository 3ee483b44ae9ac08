"""What a page says about a run, read from its folder: how it is going, by its logs, figures and previews."""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from transgan.errors import DataError
from transgan.monitoring.advice import advise
from transgan.monitoring.diagnostics import loss_roles
from transgan.monitoring.faults import FAULTS_SAY, LossRoles
from transgan.plan import Plan
from transgan.reporting.charts import Chart, charts_of, figures_of, place_of
from transgan.reporting.commands import State, next_commands
from transgan.reporting.curves import Curves
from transgan.reporting.previews import Preview, Previews
from transgan.reporting.result import read_result
from transgan.reporting.tables import figure_text, rows
from transgan.storage import MetricsReader, RunFolder, read_log

Mood = Literal["good", "watch", "bad", "early"]
#: Before this many steps or records, nothing is said about how a run is going.
EARLY_STEPS, EARLY_RECORDS = 200, 20
#: Figures of what is not the translation, which stand beside those of the translation.
BASELINES = re.compile(r"(.+?)_(of_.+)")

_BEGIN = re.compile(r"begins at step (\d+) of (\d+) on (.+)")
_END = re.compile(r"(finished|stopped|interrupted|failed) at step (\d+)(?:: (.*))?")
_AT_STEP = re.compile(r"(?:(warning): )?step (\d+): (.*)")


@dataclass(frozen=True)
class Event:
    """Something that the log says."""

    step: int | None
    kind: str
    """`hint`, `warning`, `skipped`, `back`, `stop`, `checkpoint` or `note`."""
    text: str
    time: str


@dataclass(frozen=True)
class Figure:
    """A figure of one translation, beside that of a baseline."""

    text: str
    baselines: Sequence[tuple[str, str]] = ()
    better: bool | None = None
    """Whether it is better than the first baseline; None where nobody knows."""


@dataclass(frozen=True)
class FigureRow:
    """A figure of every translation."""

    name: str
    direction: str
    about: str
    cells: Sequence[Figure | None]


@dataclass
class RunView:
    """What a page says about a run. Texts are as they were found: whoever shows them has to escape them."""

    name: str
    path: Path
    state: State
    step: int
    steps: int
    seed: int | None
    why: str
    mood: Mood
    headline: str
    findings: list[tuple[str, str]]
    """What the headline is based on: a kind (`good`, `hint`, `warning`), and a sentence."""
    seconds: float
    left: float | None
    memory: str
    device: str
    environment: list[tuple[str, str]]
    events: list[Event]
    guard: list[str]
    advice: list[str]
    warnings: list[str]
    translations: list[str]
    figures: list[FigureRow]
    at_end: bool
    """Whether the figures were measured at the end of the run."""
    held_out: bool
    protocols: Mapping[str, str]
    conditions: Mapping[str, Mapping[str, float]]
    tasks: list[tuple[str, float, float]]
    """Task, share of the steps, lag."""
    previews: list[Preview]
    curves: Curves
    charts: list[Chart]
    recipe: list[str]
    places: Mapping[str, int]
    """The line of each loss in the recipe."""
    commands: list[tuple[str, str]]
    keys: Mapping[str, str] = field(default_factory=dict)
    """The recipe's values by key, for comparisons."""
    measured: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


class RunReader:
    """Reads a run again and again: what was read of its metrics and previews is not read twice.

    Args:
        plan: of its recipe; explains losses and figures. None where a plugin of the recipe is missing.
        kinds: of files that a page can show: see `Previews`.
    """

    def __init__(self, folder: RunFolder, plan: Plan | None, kinds: Mapping[str, str]):
        self.folder = folder
        self.plan = plan
        self.previews = Previews(folder.samples, kinds)
        self._metrics = MetricsReader(folder.metrics)
        self._curves = Curves()

    def read(self, state: State | None = None, why: str = "") -> RunView:
        """Return what the folder holds now.

        Args:
            state: of a run in this process; by default what log.txt says.
        """
        anew, records = self._metrics.read()
        if anew:
            self._curves = Curves()
        curves, folder = self._curves, self.folder
        log = read_log(folder.log)
        curves.begins = [datetime.fromisoformat(time).timestamp() for time, text in log if _BEGIN.fullmatch(text)]
        curves.update(records)
        recipe = _recipe(folder)
        table = _parsed(recipe)
        damaged: list[str] = []
        result: Mapping[str, Any] = {}
        try:
            result = read_result(folder.result) or {}
        except DataError as error:  # which costs the figures, and not the page
            damaged.append(str(error))
        events = _events(log)
        found, step, steps, device, said = _state_of(log, folder)
        state, why = state or found, why or said
        steps = int(table.get("train", {}).get("steps", steps) or steps)
        ended = state in ("finished", "stopped")
        if result.get("steps") is not None and ended:
            step = int(result["steps"])
        step = max(step, 0 if ended else curves.step)
        if not ended and result.get("steps") != step:
            result = {}  # that of an earlier end
        measured = result.get("translations") or _newest_figures(curves)
        advice = list(result.get("advice", self._advice()))
        guard = list(result.get("guard", [each.text for each in events if each.kind in ("back", "fault")]))
        warnings = _unique(result.get("warnings", [each.text for each in events if each.kind == "warning"]))
        rate = curves.seconds_per_step
        view = RunView(
            name=str(table.get("name", folder.path.name)),
            path=folder.path,
            state=state,
            step=step,
            steps=steps,
            seed=result.get("seed", table.get("train", {}).get("seed")),
            why=why,
            mood="early",
            headline="",
            findings=[],
            seconds=curves.seconds,
            left=rate * max(0, steps - step) if rate and state == "running" else None,
            memory=next((text.removeprefix("peak memory ") for _, text in log[::-1] if text.startswith("peak ")), ""),
            device=device,
            environment=_flat(_read_json(folder.environment)),
            events=events,
            guard=guard,
            advice=advice,
            warnings=[*damaged, *(each for each in warnings if each not in guard)],
            translations=list(measured),
            figures=_figure_rows(measured, self.plan),
            at_end=bool(result.get("translations")),
            held_out=bool(result.get("held_out", True)),
            protocols=result.get("protocols", {}),
            conditions=result.get("conditions") or _newest_conditions(curves),
            tasks=_tasks(curves),
            previews=self.previews.read(self.plan),
            curves=curves,
            charts=charts_of(curves.lines(), self.plan),
            recipe=recipe,
            places=_places(recipe),
            commands=[],
            keys=dict(_flat(table)),
            measured=measured,
        )
        view.mood, view.headline, view.findings = _verdict(view)
        view.commands = next_commands(folder, view.state, view.steps, table)
        return view

    def _advice(self) -> list[str]:
        if self.plan is None:
            return [str(each) for each in advise(self._curves.recent)]
        roles = LossRoles(**loss_roles(self.plan))
        return [str(each) for each in advise(self._curves.recent, roles, self.plan.recipe.guard)]


def _recipe(folder: RunFolder) -> list[str]:
    """Return the lines of the recipe that the run goes by."""
    for path in (folder.fallback, folder.recipe):
        try:
            return path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
    return []


def _parsed(lines: Sequence[str]) -> dict[str, Any]:
    try:
        return tomllib.loads("\n".join(lines))
    except (ValueError, RecursionError):
        return {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError, RecursionError):
        return {}


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Return the values of nested tables, by dotted key, as text."""
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, dict) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, default=str)))
    return found


def _places(lines: Sequence[str]) -> dict[str, int]:
    """Return the line of each loss in a recipe: `[losses.cycle]`."""
    found = ((number, re.fullmatch(r"\[losses\.(?:\"(.*)\"|([\w-]+))\]", line)) for number, line in enumerate(lines, 1))
    return {match[1] or match[2]: number for number, match in found if match}


def _events(log: Sequence[tuple[str, str]]) -> list[Event]:
    """Return what a log says besides where the run began and ended; what is said twice once."""
    found: dict[tuple[int | None, str], Event] = {}
    for time, text in log:
        if match := _AT_STEP.fullmatch(text):
            step, said = int(match[2]), match[3]
            kind = next(
                (
                    kind
                    for kind, begin in (
                        ("checkpoint", "checkpoint "), ("hint", "hint: "), ("hint", "warning: "),
                        ("skipped", "skipped, "), ("stop", "stopped by "),
                    )
                    if said.startswith(begin)
                ),
                "back" if ". Back at step " in said else "warning" if match[1] else "note",
            )  # fmt: skip
            if kind == "warning" and any(each in said for each in FAULTS_SAY):
                kind = "fault"
            found.setdefault((step, said), Event(step, kind, said, time))
        elif text.startswith("warning: "):
            said = text.removeprefix("warning: ")
            found.setdefault((None, said), Event(None, "warning", said, time))
    return list(found.values())


def _state_of(log: Sequence[tuple[str, str]], folder: RunFolder) -> tuple[State, int, int, str, str]:
    """Return by its log a run's state, the steps that are done and that it has, its device, and why it ended."""
    state: State = "empty"
    step, steps, device, why = 0, 0, "", ""
    for _, text in log:
        if match := _BEGIN.fullmatch(text):
            state, step, steps, device, why = "running", int(match[1]), int(match[2]), match[3], ""
        elif match := _END.fullmatch(text):
            state, step, why = match[1], int(match[2]), match[3] or ""  # type: ignore[assignment]
        elif match := _AT_STEP.fullmatch(text):
            step = max(step, int(match[2])) if ". Back at step " not in text else 0
            if match[3].startswith("stopped by a plugin: "):
                why = match[3].removeprefix("stopped by a plugin: ")
    if state == "running" and folder.in_use is False:
        state = "gone"
    return state, step, steps, device, why


def _newest_figures(curves: Curves) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for key, value in curves.newest.items():
        section, name, translation = place_of(key)
        if section == "figures" and ": " in translation and not key.startswith("condition/"):
            found.setdefault(translation, {})[name] = value
    return found


def _newest_conditions(curves: Curves) -> dict[str, dict[str, float]]:
    keys = (key for key in curves.newest if key.startswith("condition/"))
    return {key.removeprefix("condition/"): {"of_change": curves.newest[key]} for key in keys}


def _tasks(curves: Curves) -> list[tuple[str, float, float]]:
    tasks = [key.removeprefix("lag/") for key in curves.newest if key.startswith("lag/")]
    return [(task, curves.newest.get(f"share/{task}", 1.0), curves.newest[f"lag/{task}"]) for task in tasks]


def directions_of(plan: Plan | None) -> dict[str, str]:
    """Return for each figure whether `lower` or `higher` is better, as far as the metrics say it."""
    return {} if plan is None else {k: v for each in plan.metrics.values() for k, v in each.direction.items()}


def _figure_rows(measured: Mapping[str, Mapping[str, float]], plan: Plan | None) -> list[FigureRow]:
    """Return a table of figures, those of baselines in the cells of the figures that are compared with them."""
    names = [name for name, _ in rows(measured)]
    baselines: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        if (match := BASELINES.fullmatch(name)) and match[1] in names:
            baselines.setdefault(match[1], []).append((name, match[2].replace("_", " ")))
            baselines[match[1]].sort(key=lambda each: each[1] != "of source")  # that first
    beside = {name for each in baselines.values() for name, _ in each}
    directions = directions_of(plan)
    about = {} if plan is None else figures_of(plan)
    found = []
    for name in names:
        if name in beside:
            continue
        cells: list[Figure | None] = []
        for figures in measured.values():
            if name not in figures:
                cells.append(None)
                continue
            others = [(title, figure_text(figures, key)) for key, title in baselines.get(name, []) if key in figures]
            better = None
            first = next((figures[key] for key, _ in baselines.get(name, []) if key in figures), None)
            if first is not None and name in directions and first != figures[name]:
                better = (figures[name] > first) == (directions[name] == "higher")
            cells.append(Figure(figure_text(figures, name), others, better))
        found.append(FigureRow(name, directions.get(name, ""), about.get(name, ""), cells))
    return found


def _verdict(view: RunView) -> tuple[Mood, str, list[tuple[str, str]]]:
    """Return how a run is going: a mood, a sentence, and what it is based on."""
    findings: list[tuple[str, str]] = []
    if view.why and view.state in ("failed", "stopped"):
        findings.append(("warning" if view.state == "failed" else "hint", view.why))
    for each in view.advice:
        severity, _, text = each.partition(": ")
        findings.append((severity if severity in ("hint", "warning") else "hint", text or each))
    if view.guard:
        findings.append(("hint", f"The guardian has reported {_count(len(view.guard), 'event')}: see below"))
    skipped = view.curves.newest.get("guard/not_finite", 0)
    if skipped:
        findings.append(("hint", f"{skipped:.0f} of the newest 1000 steps were skipped, as they were not finite"))
    if view.warnings:
        findings.append(
            ("hint", f"{_count(len(view.warnings), 'warning')} about data, metrics or conditions: see below")
        )
    for row in view.figures:
        compared = [each for each in row.cells if row.direction and each is not None and each.baselines]
        if compared:
            others, better = _article(compared[0].baselines[0][0]), sum(each.better is True for each in compared)
            kind = "good" if better == len(compared) else "hint"
            findings.append(
                (
                    kind,
                    f"{row.name} is better than that of {others} in {better} of {len(compared)} translations",
                )
            )
    enough = view.step >= EARLY_STEPS or view.curves.records >= EARLY_RECORDS
    if not any(kind != "good" for kind, _ in findings) and enough:
        findings.insert(0, ("good", "No fault was found in the losses, gradients and diagnostics"))
    worst = Counter(kind for kind, _ in findings)
    mood: Mood = "bad" if worst["warning"] else "watch" if worst["hint"] else "good"
    at = f"step {view.step} of {view.steps}"
    if view.state == "running":
        if mood == "good" and not enough:
            return "early", f"Just begun: {at}. It is too early to say how it is going", findings
        how = {"good": "It is going well", "watch": "It is going on; some figures are worth a look"}
        return mood, f"{how.get(mood, 'Something is wrong')}: {at}", findings
    if view.state == "finished":
        how = {"good": "with no fault found", "watch": "; some figures are worth a look"}
        return mood, _joined(f"Finished: {view.step} steps", how.get(mood, "; but something is wrong")), findings
    if view.state == "stopped":
        return mood, f"Stopped at {at}, as a plugin or a user asked for it", findings
    if view.state == "interrupted":
        return ("watch" if mood == "good" else mood), f"Interrupted at {at}; it can be resumed", findings
    if view.state == "failed":
        return "bad", f"Failed at {at}", findings
    if view.state == "gone":
        text = "Its process is gone: it was killed, or the machine was switched off. The newest checkpoint is kept"
        return "bad", f"Ended without a word at {at}", [("warning", text), *findings]
    return "early", "Nothing has been logged yet", findings


def _article(baseline: str) -> str:
    """Return what a baseline is of, as a sentence says it: `the source` for `of source`."""
    name = baseline.removeprefix("of ")
    return name if name == "others" else f"the {name}"


def _joined(first: str, second: str) -> str:
    return f"{first}{second}" if second.startswith(";") else f"{first}, {second}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def _unique(texts: Sequence[str]) -> list[str]:
    """Return texts without those that others repeat, with or without the step before them."""
    found: dict[str, str] = {}
    for text in texts:
        found.setdefault(re.sub(r"^step \d+: ", "", text), text)
    return list(found.values())
