"""Translating held-out samples and measuring how good that is: the nodes of training, made without training."""

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.protocols import Metric, Translation
from transgan.api.samples import Column, Sample
from transgan.api.schedule import Clock
from transgan.data.attributes import encode_all
from transgan.data.batches import as_tensors, leaves_of
from transgan.data.domains import Domains
from transgan.data.draws import SampleDraws
from transgan.engine.networks import Networks
from transgan.graph import Key, Step, asks
from transgan.plan import Plan
from transgan.plan.directions import Direction, directions
from transgan.plan.plan import TOLD


def held_out(domains: Domains, name: str) -> bool:
    """Whether a domain has samples that are not trained on."""
    return bool(domains[name].held_out)


def batches(
    plan: Plan, domains: Domains, direction: Direction, batch: int, most: int, device: Any
) -> Iterator[tuple[list[Sample], dict[Key, Any]]]:
    """Held-out samples of a direction with the leaves that belong to them.

    Networks are told the attributes of the target sample, or, where it can be known, of the true translation.
    """
    size = plan.stages[-1].size
    shown = direction.shown
    paired = plan.recipe.tasks[shown.task].paired
    targets = list(domains.batches(shown.target, held_out(domains, shown.target), size, batch, device, most))
    pool = torch.cat([x for _, x in targets])
    partners = [sample for samples, _ in targets for sample in samples]
    names = [sample.key for sample in partners]
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
        wanted = [partners[row] for row in rows]
        if plan.recipe.attributes and not paired:
            true = true_translations(domains, shown, samples)
            wanted = [truth or partner for truth, partner in zip(true, wanted, strict=True)]
        told = {
            f"{end}_attributes": as_tensors(encode_all(plan.recipe.attributes, each, getattr(shown, end)), device)
            for end, each in (("source", samples), ("target", wanted))
        }
        values = {
            "source": source,
            "target": pool[rows],
            **ends,
            **told,
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
        self.prepared: set[str] = set()

    def _prepare(self, metrics: Mapping[str, Metric]) -> None:
        if new := [name for name in metrics if name not in self.prepared]:
            domains = self.domains.as_metrics_see(self.plan.stages[-1].size, self.device)
            tasks = {name: task.domains for name, task in self.plan.recipe.tasks.items()}
            for name in new:
                metrics[name].prepare(domains, tasks, self.plan.recipe.train.seed)
            self.prepared.update(new)

    def __call__(self, networks: Networks, only: Collection[str] = ()) -> dict[str, dict[str, float]]:
        """Figures by translation, rounded to six digits; those of all metrics together, or of `only` these."""
        metrics = {name: metric for name, metric in self.plan.metrics.items() if not only or name in only}
        self._prepare(metrics)
        options = self.plan.recipe.evaluate
        for metric in metrics.values():
            metric.reset()
        for direction in directions(self.plan):
            for samples, leaves in batches(
                self.plan, self.domains, direction, options.batch, options.samples, self.device
            ):
                self._update(metrics, direction, networks, samples, leaves)
        result: dict[str, dict[str, float]] = {}
        for metric in metrics.values():
            for translation, figures in metric.compute().items():
                found = result.setdefault(str(translation), {})
                found.update({name: float(f"{value:.6g}") for name, value in figures.items()})
        return result

    def _update(
        self,
        metrics: Mapping[str, Metric],
        direction: Direction,
        networks: Networks,
        samples: list[Sample],
        leaves: dict[Key, Any],
    ) -> None:
        given: dict[str, Any] = {
            "keys": [sample.key for sample in samples],
            "samples": samples,
            "true_samples": true_translations(self.domains, direction.shown, samples),
            "translate": partial(self._translate, direction, networks, leaves),
            "translation": direction.shown,
        }
        asked = {name: asks(metric.update) for name, metric in metrics.items()}
        if any("counterpart" in names for names in asked.values()):
            given["counterpart"] = counterparts(
                self.domains, direction.shown, samples, self.plan.stages[-1].size, self.device
            )
        wanted = {name for names in asked.values() for name in names if name not in given}
        makable = [name for name in wanted - set(TOLD) if possible(self.plan, direction.made, name)]
        given.update(make(self.plan, networks, direction.made, leaves, makable))
        for name, metric in metrics.items():
            if all(given.get(each) is not None for each in asked[name]):
                metric.update(**{each: given[each] for each in asked[name]})

    def _translate(
        self, direction: Direction, networks: Networks, leaves: Mapping[Key, Any], x: Tensor, row: int
    ) -> Tensor:
        """Parts (K, C, *space) of one sample, translated as that sample of the batch is."""

        def repeated(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value[row : row + 1].expand(len(x), *value.shape[1:])
            return {name: repeated(each) for name, each in value.items()}

        ends = ("source_domain", "target_domain", "source_attributes", "target_attributes")
        zero = np.zeros(len(x), dtype=np.uint64)
        values = {
            "source": x.to(self.device),
            **{name: repeated(leaves[direction.made, name]) for name in ends},
            "draws": SampleDraws("evaluate", zero, zero, self.device),
            "clock": leaves[direction.made, "clock"],
            "training": False,
        }
        here = leaves_of(self.plan, direction.made, values)
        return make(self.plan, networks, direction.made, here, ["fake"])["fake"]


def true_translations(domains: Domains, translation: Translation, samples: list[Sample]) -> list[Sample | None]:
    """The counterpart of each sample in the target domain: its pair, or what the source knows."""
    if domains.plan.recipe.tasks[translation.task].paired:
        pairs = {sample.key: sample for sample in domains[translation.target].measured}
        return [pairs.get(sample.key) for sample in samples]
    ends = domains.selections[translation.source], domains.selections[translation.target]
    return [domains.source.counterpart(sample, *ends) for sample in samples]


def counterparts(
    domains: Domains, translation: Translation, samples: list[Sample], size: int, device: Any
) -> Tensor | None:
    """The true translations, where all are known."""
    found = true_translations(domains, translation, samples)
    if any(each is None for each in found):
        return None
    media = domains.media_at(size)
    decoded = [media.decode(each.location) for each in found if each]
    given = decoded if media.ragged else np.stack(decoded)
    return domains.tensors(given, None, [translation.target] * len(decoded), size, device)


def preview(plan: Plan, domains: Domains, networks: Networks, rows: int, device: Any) -> dict[str, Column]:
    """Columns of a sheet: for each direction some held-out sources, their translations, and the truth if known."""
    columns: dict[str, Column] = {}
    for direction in directions(plan):
        samples, leaves = next(batches(plan, domains, direction, rows, rows, device))
        shown, task = direction.shown, f"{direction.shown.task}: "
        fake = make(plan, networks, direction.made, leaves, ["fake"])["fake"]
        columns[f"{task}{shown.source}\n(given)"] = Column(shown.source, list(leaves[direction.made, "source"]))
        columns[f"{task}-> {shown.target}\n(made)"] = Column(shown.target, list(fake))
        if plan.recipe.tasks[shown.task].paired:
            truth: Tensor | None = leaves[direction.made, "target"]
        else:
            truth = counterparts(domains, shown, samples, plan.stages[-1].size, device)
        if truth is not None:
            columns[f"{task}{shown.target}\n(truth)"] = Column(shown.target, list(truth))
    return columns
