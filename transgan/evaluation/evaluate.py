"""Translating held-out samples and measuring the result: the nodes of training, computed without training."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from transgan.api.protocols import Metric, Translation
from transgan.api.samples import Column, Sample
from transgan.api.schedule import Clock
from transgan.data.attributes import encode_labels
from transgan.data.domains import Domains
from transgan.data.inputs import Side, as_tensors, assemble_inputs, domain_index
from transgan.graph import Key, argument_names, error_context
from transgan.networks import Networks
from transgan.plan import Direction, Plan
from transgan.plan.plan import METRIC_ARGUMENTS
from transgan.rng import CounterRng
from transgan.text import listed


def held_out_batches(
    plan: Plan, domains: Domains, direction: Direction, batch: int, most: int, device: Any, clock: Clock
) -> Iterator[tuple[list[Sample], dict[Key, Any]]]:
    """Yield held-out samples of a direction's source, at most `most`, with their batch inputs.

    The target attributes are those of the true translation where it is known, else of the target sample.
    """
    size = plan.stages[-1].size
    translation = direction.translation
    paired = plan.recipe.tasks[translation.task].paired
    has_held_out = {name: bool(domains[name].held_out) for name in (translation.source, translation.target)}
    targets = list(domains.batches(translation.target, has_held_out[translation.target], size, batch, device, most))
    pool = torch.cat([x for _, x in targets])
    partners = [sample for samples, _ in targets for sample in samples]
    names = [sample.key for sample in partners]
    seen = 0
    for samples, source in domains.batches(
        translation.source, has_held_out[translation.source], size, batch, device, most
    ):
        if paired:
            rows = [names.index(sample.key) for sample in samples]
        else:
            rows = [(seen + i) % len(pool) for i in range(len(samples))]
        index = np.arange(seen, seen + len(samples))
        labelled = [partners[row] for row in rows]
        if plan.recipe.attributes and not paired:
            true = true_translations(domains, translation, samples)
            labelled = [truth or partner for truth, partner in zip(true, labelled, strict=True)]

        def side(x: Tensor, name: str, of: list[Sample]) -> Side:
            labels = as_tensors(encode_labels(plan.recipe.attributes, of, name), device)
            return Side(x, domain_index(plan, name, len(x), device), labels)

        inputs = assemble_inputs(
            plan,
            direction.planned,
            side(source, translation.source, samples),
            side(pool[rows], translation.target, labelled),
            CounterRng(("evaluate", str(translation)), np.zeros_like(index), index, device),
            clock,
            training=False,
        )
        seen += len(samples)
        yield samples, inputs


#: Figures of fewer samples are reported.
FEW_SAMPLES = 10


class Evaluation:
    """A plan's metrics on its held-out samples. What a metric fits to the real domains it fits once.

    Args:
        failed: called with a metric's name and its error; the other metrics are computed. By default the error is
            raised.
    """

    def __init__(
        self,
        plan: Plan,
        domains: Domains,
        device: Any = "cpu",
        failed: Callable[[str, Exception], None] | None = None,
    ):
        self.plan = plan
        self.domains = domains
        self.device = device
        self.failed = failed
        self.prepared: set[str] = set()
        self.warnings: list[str] = []
        """What whoever reads the last figures should know: metrics without figures and why, too few samples."""
        self.counts: dict[Translation, int] = {}
        self.missing: dict[tuple[str, Translation], str] = {}

    @contextmanager
    def _dropping(self, metrics: dict[str, Metric], name: str) -> Iterator[None]:
        """Drop a metric that fails in the body from those of this evaluation."""
        try:
            yield
        except Exception as error:
            if self.failed is None:
                raise
            del metrics[name]
            self.failed(name, error)

    def _prepare(self, metrics: dict[str, Metric]) -> None:
        if new := [name for name in metrics if name not in self.prepared]:
            domains = self.domains.for_metrics(self.plan.stages[-1].size, self.device)
            tasks = {name: task.domains for name, task in self.plan.recipe.tasks.items()}
            for name in new:
                with self._dropping(metrics, name), error_context(f"preparing metric '{name}'", metrics[name]):
                    metrics[name].prepare(domains, tasks, self.plan.recipe.train.seed)
                    self.prepared.add(name)

    def __call__(self, networks: Networks, clock: Clock, only: Collection[str] = ()) -> dict[str, dict[str, float]]:
        """Return figures by translation, rounded to six digits: those of all metrics, or of `only` these.

        Args:
            clock: where the run is, for nodes with schedules.
        """
        metrics = {name: metric for name, metric in self.plan.metrics.items() if not only or name in only}
        self._prepare(metrics)
        options = self.plan.recipe.evaluate
        self.warnings, self.counts, self.missing = [], {}, {}
        for name in list(metrics):
            with self._dropping(metrics, name), error_context(f"resetting metric '{name}'", metrics[name]):
                metrics[name].reset()
        for direction in self.plan.directions:
            for samples, inputs in held_out_batches(
                self.plan, self.domains, direction, options.batch, options.samples, self.device, clock
            ):
                self._update(metrics, direction, networks, samples, inputs)
        result: dict[str, dict[str, float]] = {}
        for name in list(metrics):
            with self._dropping(metrics, name), error_context(f"computing metric '{name}'", metrics[name]):
                computed = metrics[name].compute()
                for translation, figures in computed.items():
                    rounded = {figure: float(f"{value:.6g}") for figure, value in figures.items()}
                    result.setdefault(str(translation), {}).update(rounded)
                self.warnings += self._missing(name, metrics[name], {t for t, each in computed.items() if each})
        few = [f"{translation} {count}" for translation, count in self.counts.items() if count < FEW_SAMPLES]
        if few and metrics:
            self.warnings.append(f"figures of fewer than {FEW_SAMPLES} samples say little: {listed(few)}")
        return result

    def _missing(self, name: str, metric: Metric, measured: Collection[Translation]) -> Iterator[str]:
        """Yield a metric's warnings, and why it has no figures for translations other than those measured."""
        warnings = metric.warnings()
        yield from (f"metric '{name}': {each}" for each in warnings)
        reasons: dict[str, list[Translation]] = {}
        for translation in (each for each in self.counts if each not in measured):
            why = self.missing.get((name, translation), "" if warnings else "it returned none")
            reasons.setdefault(why, []).append(translation)
        for why, translations in reasons.items():
            if why:
                yield f"metric '{name}' has no figures for {listed(translations)}: {why}"

    def _update(
        self,
        metrics: dict[str, Metric],
        direction: Direction,
        networks: Networks,
        samples: list[Sample],
        inputs: dict[Key, Any],
    ) -> None:
        translation = direction.translation
        values: dict[str, Any] = {
            "keys": [sample.key for sample in samples],
            "samples": samples,
            "true_samples": true_translations(self.domains, translation, samples),
            "translate": partial(self._translate, direction, networks, inputs),
            "translation": translation,
        }
        arguments = {name: argument_names(metric.update) for name, metric in metrics.items()}
        if any("counterpart" in names for names in arguments.values()):
            values["counterpart"] = counterparts(self.domains, direction, values["true_samples"], inputs, self.device)
        nodes = {name for names in arguments.values() for name in names if name not in values}
        nodes = {name for name in nodes - set(METRIC_ARGUMENTS) if networks.can_compute(direction.planned, name)}
        values.update(networks.compute(inputs, direction.planned, sorted(nodes)))
        self.counts[translation] = self.counts.get(translation, 0) + len(samples)
        for name, metric in list(metrics.items()):
            if absent := [each for each in arguments[name] if values.get(each) is None]:
                no_network = "this model has no network that computes it"
                why = "the true translations are not known" if absent[0] == "counterpart" else no_network
                self.missing[name, translation] = f"it needs '{absent[0]}', and {why}"
            else:
                with (
                    self._dropping(metrics, name),
                    error_context(f"updating metric '{name}' for {translation}", metric),
                ):
                    metric.update(**{each: values[each] for each in arguments[name]})

    def _translate(
        self, direction: Direction, networks: Networks, inputs: Mapping[Key, Any], x: Tensor, row: int
    ) -> Tensor:
        """Translate x (K, C, *space), chunks of one sample, as that sample of the batch is translated."""

        def repeat(value: Tensor) -> Tensor:
            return value[row : row + 1].expand(len(x), *value.shape[1:])

        def side(end: str, x: Tensor | None) -> Side:
            attributes = inputs[direction.planned, f"{end}_attributes"]
            domain = repeat(inputs[direction.planned, f"{end}_domain"])
            return Side(x, domain, {name: repeat(value) for name, value in attributes.items()})

        zero = np.zeros(len(x), dtype=np.uint64)
        repeated = assemble_inputs(
            self.plan,
            direction.planned,
            side("source", x.to(self.device)),
            side("target", None),
            CounterRng("evaluate", zero, zero, self.device),
            inputs[direction.planned, "clock"],
            training=False,
        )
        fake: Tensor = networks.compute(repeated, direction.planned, ["fake"])["fake"]
        return fake


def true_translations(domains: Domains, translation: Translation, samples: list[Sample]) -> list[Sample | None]:
    """Return the true translation of each sample: its pair, or its counterpart where the source knows one, or None."""
    if domains.plan.recipe.tasks[translation.task].paired:
        pairs = {sample.key: sample for sample in domains[translation.target].evaluated}
        return [pairs.get(sample.key) for sample in samples]
    ends = domains.selections[translation.source], domains.selections[translation.target]
    return [domains.source.counterpart(sample, *ends) for sample in samples]


def counterparts(
    domains: Domains, direction: Direction, true: list[Sample | None], inputs: Mapping[Key, Any], device: Any
) -> Tensor | None:
    """Return the true translations of a batch, (N, C, *space), or None unless all are known.

    Args:
        true: what `true_translations` has returned.
        inputs: those of the batch, which in a paired task hold the true translations already.
    """
    if domains.plan.recipe.tasks[direction.translation.task].paired:
        target: Tensor = inputs[direction.planned, "target"]
        return target
    if any(each is None for each in true):
        return None
    name, size = direction.translation.target, domains.plan.stages[-1].size
    media = domains.media_at(name, size)
    with error_context(f"decoding true translations of {direction.translation}", media):
        decoded = [media.decode(each.location) for each in true if each]
    arrays = decoded if media.ragged else np.stack(decoded)
    return domains.tensors(arrays, None, [name] * len(decoded), size, device)


def preview_columns(
    plan: Plan, domains: Domains, networks: Networks, rows: int, device: Any, clock: Clock
) -> dict[str, Column]:
    """Return the columns of a preview: for each direction held-out sources, translations, and the truth if known."""
    columns: dict[str, Column] = {}
    for direction in plan.directions:
        samples, inputs = next(held_out_batches(plan, domains, direction, rows, rows, device, clock))
        translation, planned = direction.translation, direction.planned
        task = f"{translation.task}: "
        fake = networks.compute(inputs, planned, ["fake"])["fake"]
        columns[f"{task}{translation.source}\n(source)"] = Column(translation.source, list(inputs[planned, "source"]))
        columns[f"{task}-> {translation.target}\n(translated)"] = Column(translation.target, list(fake))
        truth = counterparts(domains, direction, true_translations(domains, translation, samples), inputs, device)
        if truth is not None:
            columns[f"{task}{translation.target}\n(ground truth)"] = Column(translation.target, list(truth))
    return columns
