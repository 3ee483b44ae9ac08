"""Translating held-out samples and measuring how good that is: the nodes of training, made without training."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.protocols import Sample, Translation
from transgan.api.schedule import Clock
from transgan.data.batches import leaves_of
from transgan.data.domains import Domains
from transgan.data.draws import SampleDraws
from transgan.engine.networks import Networks
from transgan.graph import Key, Step, asks
from transgan.plan import Plan
from transgan.plan.directions import Direction, directions


def held_out(domains: Domains, name: str) -> bool:
    """Whether a domain has samples that are not trained on."""
    return bool(domains[name].held_out)


def batches(
    plan: Plan, domains: Domains, direction: Direction, batch: int, most: int, device: Any
) -> Iterator[tuple[list[Sample], dict[Key, Any]]]:
    """Held-out samples of a direction with the leaves that belong to them."""
    size = plan.stages[-1].size
    shown = direction.shown
    paired = plan.recipe.tasks[shown.task].paired
    targets = list(domains.batches(shown.target, held_out(domains, shown.target), size, batch, device, most))
    pool = torch.cat([x for _, x in targets])
    names = [sample.key for samples, _ in targets for sample in samples]
    seen = 0
    for samples, source in domains.batches(shown.source, held_out(domains, shown.source), size, batch, device, most):
        if paired:
            rows = [names.index(sample.key) for sample in samples]
        else:
            rows = [(seen + i) % len(pool) for i in range(len(samples))]
        index = np.arange(seen, seen + len(samples))
        ends = {
            f"{end}_domain": torch.full((len(source),), plan.domains.index(getattr(shown, end)), device=device)
            for end in ("source", "target")
        }
        values = {
            "source": source,
            "target": pool[rows],
            **ends,
            "draws": SampleDraws(("evaluate", str(shown)), np.zeros_like(index), index, device),
            "clock": Clock(step=plan.recipe.train.steps, run=1.0),
            "training": False,
        }
        seen += len(samples)
        yield samples, dict(leaves_of(plan, direction.made, values))


@torch.no_grad()
def make(
    plan: Plan, networks: Networks, translation: Translation, leaves: Mapping[Key, Any], names: list[str]
) -> dict[str, Tensor]:
    """The nodes of these names for one translation."""
    step = Step(plan.graph, networks, leaves)
    step.make([(translation, name) for name in names])
    return {name: step.values[translation, name] for name in names}


def possible(plan: Plan, translation: Translation, name: str) -> bool:
    """Whether a node can be made for a translation: there is no way back from a one-way task."""
    return name != "reconstruction" or "back" in plan.roles[translation] or translation.target == "*"


class Evaluation:
    """A plan's metrics on its held-out samples. What metrics learn from the real domains they learn once."""

    def __init__(self, plan: Plan, domains: Domains, device: Any = "cpu"):
        self.plan = plan
        self.domains = domains
        self.device = device
        self.prepared = False

    def _prepare(self) -> None:
        if not self.prepared:
            domains = self.domains.as_metrics_see(self.plan.stages[-1].size, self.device)
            tasks = {name: task.domains for name, task in self.plan.recipe.tasks.items()}
            for metric in self.plan.metrics.values():
                metric.prepare(domains, tasks, self.plan.recipe.train.seed)
            self.prepared = True

    def __call__(self, networks: Networks) -> dict[str, dict[str, float]]:
        """Figures by translation, rounded to six digits; those of all metrics together."""
        self._prepare()
        options = self.plan.recipe.evaluate
        for metric in self.plan.metrics.values():
            metric.reset()
        for direction in directions(self.plan):
            for samples, leaves in batches(
                self.plan, self.domains, direction, options.batch, options.samples, self.device
            ):
                self._update(direction, networks, samples, leaves)
        result: dict[str, dict[str, float]] = {}
        for metric in self.plan.metrics.values():
            for translation, figures in metric.compute().items():
                found = result.setdefault(str(translation), {})
                found.update({name: float(f"{value:.6g}") for name, value in figures.items()})
        return result

    def _update(self, direction: Direction, networks: Networks, samples: list[Sample], leaves: dict[Key, Any]) -> None:
        given: dict[str, Any] = {"keys": [sample.key for sample in samples], "translation": direction.shown}
        asked = {name: asks(metric.update) for name, metric in self.plan.metrics.items()}
        if any("counterpart" in names for names in asked.values()):
            given["counterpart"] = counterparts(
                self.domains, direction.shown, samples, self.plan.stages[-1].size, self.device
            )
        wanted = {name for names in asked.values() for name in names if name not in given}
        makable = [name for name in wanted - {"counterpart"} if possible(self.plan, direction.made, name)]
        given.update(make(self.plan, networks, direction.made, leaves, makable))
        for name, metric in self.plan.metrics.items():
            if all(given.get(each) is not None for each in asked[name]):
                metric.update(**{each: given[each] for each in asked[name]})


def counterparts(
    domains: Domains, translation: Translation, samples: list[Sample], size: int, device: Any
) -> Tensor | None:
    """The true translations, where the source knows them."""
    ends = domains.selections[translation.source], domains.selections[translation.target]
    found = [domains.source.counterpart(sample, *ends) for sample in samples]
    if any(each is None for each in found):
        return None
    media = domains.media_at(size)
    decoded = np.stack([media.decode(each.location) for each in found if each])
    return media.batch(torch.from_numpy(decoded).to(device), None)


def preview(plan: Plan, domains: Domains, networks: Networks, rows: int, device: Any) -> dict[str, list[Tensor]]:
    """Columns of a sheet: for each direction some held-out sources, their translations, and the truth if known."""
    columns: dict[str, list[Tensor]] = {}
    for direction in directions(plan):
        samples, leaves = next(batches(plan, domains, direction, rows, rows, device))
        shown, task = direction.shown, f"{direction.shown.task}: "
        fake = make(plan, networks, direction.made, leaves, ["fake"])["fake"]
        columns[f"{task}{shown.source}\n(given)"] = list(leaves[direction.made, "source"])
        columns[f"{task}-> {shown.target}\n(made)"] = list(fake)
        if plan.recipe.tasks[shown.task].paired:
            columns[f"{task}{shown.target}\n(truth)"] = list(leaves[direction.made, "target"])
        elif (truth := counterparts(domains, shown, samples, plan.stages[-1].size, device)) is not None:
            columns[f"{task}{shown.target}\n(truth)"] = list(truth)
    return columns
