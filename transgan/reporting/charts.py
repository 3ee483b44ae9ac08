"""The charts of a run: which figures of metrics.jsonl go together, and what each of them means."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field

from transgan.plan import Plan
from transgan.reporting.curves import Line

#: What the figures of a training step are, as `transgan.monitoring.diagnostics` computes them.
DIAGNOSTICS = {
    "change": "How far a translation is from its source: mean absolute difference, as a share of the range.",
    "distance": "How far an unrelated sample of the target is from a source: what `change` is compared with.",
    "reconstruction": "How far a translation there and back is from its source.",
    "spread": "Standard deviation of the translations of a batch: near 0, all look alike.",
    "spread_of_target": "Standard deviation of real samples of the target: what `spread` is compared with.",
    "spread_of_level": "Standard deviation of the mean of real samples of the target: what `drift` is compared with.",
    "recognised": "How often a discriminator ranks a real sample above a translation: 0.5 if it cannot tell, 1 always.",
    "gap": "Mean output of the discriminators on real samples, less that on translations.",
    "cycle": "The cycle losses times their weights.",
    "adversarial": "The generator's adversarial losses times their weights.",
    "drift": "Mean of the translations, less that of real samples of the target.",
    "between": "Mean of the sources, less that of real samples of the target.",
}
#: Groups of keys that are no figures of one translation: section and title.
GROUPS = {
    "lr": ("schedules", "learning rates"),
    "weight": ("schedules", "weights of losses"),
    "augment": ("schedules", "probability of augmentation"),
    "share": ("tasks", "share of steps"),
    "lag": ("tasks", "lag"),
    "condition": ("figures", "effect of conditions, of the change"),
    "guard": ("diagnostics", "guardian"),
}
SIDES = {"loss_G": "generator", "loss_D": "discriminator"}


@dataclass
class Chart:
    """Lines that are shown together."""

    section: str
    """`losses`, `figures`, `schedules`, `tasks`, `diagnostics`."""
    title: str
    about: str = ""
    loss: str = ""
    """The loss that it shows, by its name in the recipe."""
    lines: dict[str, Line] = field(default_factory=dict)


def charts_of(lines: Mapping[str, Line], plan: Plan | None) -> list[Chart]:
    """Return the charts of a run, those of the losses first.

    Args:
        lines: by key of metrics.jsonl.
        plan: explains losses and figures, where it is known.
    """
    about = {} if plan is None else {name: first_paragraph(type(loss)) for name, loss in plan.losses.items()}
    of_metrics = {} if plan is None else figures_of(plan)
    charts: dict[tuple[str, str], Chart] = {}
    for key, line in lines.items():
        section, title, label = place_of(key)
        if section == "figures" and title.endswith(("_low", "_high")):
            continue  # the limits of an interval, which the table of figures shows
        chart = charts.setdefault((section, title), Chart(section, title))
        if section == "losses":
            chart.loss = title.partition(",")[0]
            chart.about = about.get(chart.loss, "")
        elif section == "diagnostics":
            chart.about = DIAGNOSTICS.get(title.partition(".")[0], "")
        elif section == "figures":
            chart.about = of_metrics.get(title, "")
        chart.lines[label] = line
    order = ("losses", "figures", "tasks", "schedules", "diagnostics")
    return sorted(charts.values(), key=lambda chart: order.index(chart.section))


def place_of(key: str) -> tuple[str, str, str]:
    """Return the section, the title and the line of a key of metrics.jsonl."""
    first, _, rest = key.partition("/")
    if ": " in first:  # a translation
        kind, _, name = rest.partition("/")
        if kind == "diagnostics":
            return "diagnostics", name, first
        if name:
            return "losses", f"{name}, {SIDES.get(kind, kind)}", first
        return "figures", rest, first
    section, title = GROUPS.get(first, ("diagnostics", first))
    if first == "guard":
        fault, _, where = rest.partition("/")
        return section, f"{title}: {fault}", where or fault
    return section, title, rest or first


def figures_of(plan: Plan) -> dict[str, str]:
    """Return what the figures of a plan's metrics mean, as far as the metrics name them."""
    return {name: first_paragraph(type(metric)) for metric in plan.metrics.values() for name in metric.direction}


def first_paragraph(cls: type) -> str:
    """Return the first paragraph of a class's own docstring, on one line."""
    return " ".join(inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].split())
