"""Translating held-out samples and measuring the result: the nodes of training, computed without training."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from transgan.api.names import METRIC_ARGUMENTS
from transgan.api.protocols import Metric, Translation
from transgan.api.samples import Column, Sample
from transgan.data.attributes import encode_labels
from transgan.data.cache import check_decoded
from transgan.data.domains import Domains
from transgan.data.inputs import Side, as_tensors, assemble_inputs, domain_index, further_inputs
from transgan.data.real_samples import real_domains
from transgan.evaluation.adversarial import adversarial_source, adversaries
from transgan.evaluation.figures import figures_of, protocol_of, warnings_of
from transgan.evaluation.unmeasured import UNKNOWN, check_metric, true_translations
from transgan.graph import Key, error_context, used_arguments
from transgan.networks import Networks
from transgan.plan import Direction, Plan
from transgan.rng import CounterRng, ScopedRng
from transgan.schedule import Clock
from transgan.text import listed
from transgan.tree import changed_in_place, versions


def held_out_batches(
    plan: Plan, domains: Domains, direction: Direction, batch: int, most: int, device: Any, clock: Clock
) -> Iterator[tuple[list[Sample], dict[Key, Any]]]:
    """Yield held-out samples of a direction's source, at most `most`, with their batch inputs.

    Known pairs come first, in batches of their own. The target attributes are those of the true translation where it is
    known, else of the target sample.
    """
    translation = direction.translation
    source, target = translation.source, translation.target
    used = plan.used_inputs(direction.planned, training=False)
    pairs = domains.pairs.held_out(source, target) if plan.recipe.tasks[translation.task].paired else []
    known = {source: [i for i, _ in pairs], target: [i for _, i in pairs]}
    rest = {name: sorted({*range(len(domains[name].evaluated))} - {*each}) for name, each in known.items()}

    def read(name: str, end: str, order: list[int]) -> Iterator[_Samples]:
        held_out, size = bool(domains[name].held_out), plan.stages[-1].size
        further = [each for each in plan.recipe.inputs if {f"{end}_{each}", f"other_{end}_{each}"} & used]
        further = [each for each in further if f"{name}.{each}" in domains.further]
        parts = [
            domains.batches(own, held_out, size, batch, device, order=order)
            for own in (name, *(f"{name}.{each}" for each in further))
        ]
        for (samples, x), *inputs in zip(*parts, strict=True):
            yield _Samples(samples, x, {each: y for each, (_, y) in zip(further, inputs, strict=True)})

    def side(of: _Samples, name: str, labelled: list[Sample], other: _Samples | None) -> Side:
        labels = as_tensors(encode_labels(plan.recipe.attributes, labelled, name), device)
        index = domain_index(plan, name, len(of.x), device)
        return Side(of.x, index, labels, of.inputs, Side(other.x, index, {}, other.inputs) if other else None)

    def sources() -> Iterator[_Samples]:
        yield from read(source, "source", known[source][:most])
        yield from read(source, "source", rest[source][: max(0, most - len(pairs))])

    pool = _Samples.joined(read(target, "target", [*known[target], *rest[target]][:most]))
    other_source, other_target = (any(n.startswith(f"other_{end}") for n in used) for end in ("source", "target"))
    of_sources = _Samples.joined(sources()) if other_source else None
    of_targets = pool if other_target else None

    def others(of: _Samples | None, index: np.ndarray) -> _Samples | None:
        return of and of.rows(index + max(1, len(of.x) // 2))

    seen = 0
    for each in sources():
        index = np.arange(seen, seen + len(each.samples))
        partners = pool.rows(index)
        labelled = partners.samples
        if plan.recipe.attributes and seen >= len(pairs):
            true = true_translations(domains, translation, each.samples)
            labelled = [truth or partner for truth, partner in zip(true, labelled, strict=True)]
        inputs = assemble_inputs(
            plan,
            direction.planned,
            side(each, source, each.samples, others(of_sources, index)),
            side(partners, target, labelled, others(of_targets, index)),
            CounterRng(("evaluate", str(translation)), np.zeros_like(index), index, device),
            clock,
            training=False,
        )
        seen += len(each.samples)
        yield each.samples, inputs


@dataclass(frozen=True)
class _Samples:
    """Samples, (N, C, *space), and further inputs of theirs."""

    samples: list[Sample]
    x: Tensor
    inputs: Mapping[str, Tensor]

    @staticmethod
    def joined(parts: Iterable["_Samples"]) -> "_Samples":
        parts = list(parts)
        inputs = {name: torch.cat([each.inputs[name] for each in parts]) for name in parts[0].inputs}
        return _Samples([s for each in parts for s in each.samples], torch.cat([each.x for each in parts]), inputs)

    def rows(self, index: np.ndarray) -> "_Samples":
        """Return the samples of these rows; behind the last one they begin again."""
        rows = (index % len(self.x)).tolist()
        return _Samples([self.samples[i] for i in rows], self.x[rows], {n: x[rows] for n, x in self.inputs.items()})


T = TypeVar("T")

#: Figures of fewer samples are reported.
FEW_SAMPLES = 10


class Evaluation:
    """A plan's metrics on its held-out samples. What a metric fits to the real domains it fits once.

    Args:
        failed: called with a metric's name and its error; the other metrics are computed. By default the error is
            raised.
        seen: called after each sample of each translation; `count` says how many there are.
    """

    def __init__(
        self,
        plan: Plan,
        domains: Domains,
        device: Any = "cpu",
        failed: Callable[[str, Exception], None] | None = None,
        seen: Callable[[], object] = lambda: None,
    ):
        self.plan = plan
        self.domains = domains
        self.device = device
        self.failed = failed
        self.seen = seen
        self.between: Callable[[], object] = lambda: None
        """Called between batches, of samples that are translated and of those that metrics are prepared with. Where it
        raises what is no `Exception`, the evaluation ends."""
        self.discriminators: Callable[[], Networks | None] = lambda: None
        """Returns the networks of the training, for metrics that ask what its discriminators take for the target."""
        self.prepared: set[str] = set()
        self.warnings: list[str] = []
        """What whoever reads the last figures should know: metrics without figures and why, too few samples."""
        self.counts: dict[Translation, int] = {}
        self.missing: dict[tuple[str, Translation], str] = {}
        self.broken: dict[Translation, int] = {}
        """Of how many samples a translation is not finite. It gets no figures, many of which would be perfect."""

    @property
    def count(self) -> int:
        """Number of translated samples, over all translations."""
        most = self.plan.recipe.evaluate.samples
        return sum(min(len(self.domains[each.translation.source].evaluated), most) for each in self.plan.directions)

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
            domains = real_domains(self.domains, self.plan.stages[-1].size, self.device)
            domains = {name: replace(each, batches=self._interruptible(each.batches)) for name, each in domains.items()}
            tasks = {name: task.domains for name, task in self.plan.recipe.tasks.items()}
            for name in new:
                with self._dropping(metrics, name):
                    check_metric(self.plan, self.domains, name)  # a run that goes on was not stopped by it
                    with error_context(f"preparing metric '{name}'", metrics[name]):
                        metrics[name].prepare(domains, tasks, self.plan.recipe.train.seed)
                    self.prepared.add(name)

    def _interruptible(self, batches: Callable[..., Iterable[T]]) -> Callable[..., Iterator[T]]:
        """Return the same batches, with a call of `between` before each."""

        def checked(*arguments: Any, **options: Any) -> Iterator[T]:
            for each in batches(*arguments, **options):
                self.between()
                yield each

        return checked

    def __call__(self, networks: Networks, clock: Clock, only: Collection[str] = ()) -> dict[str, dict[str, float]]:
        """Return figures by translation, rounded to six digits: those of all metrics, or of `only` these.

        Args:
            clock: where the run is, for nodes with schedules.
        """
        metrics = {name: metric for name, metric in self.plan.metrics.items() if not only or name in only}
        self._prepare(metrics)
        options = self.plan.recipe.evaluate
        self.warnings, self.counts, self.missing, self.broken = [], {}, {}, {}
        for name in list(metrics):
            with self._dropping(metrics, name), error_context(f"resetting metric '{name}'", metrics[name]):
                metrics[name].reset()
        for direction in self.plan.directions:
            for samples, inputs in self._interruptible(held_out_batches)(
                self.plan, self.domains, direction, options.batch, options.samples, self.device, clock
            ):
                self._update(metrics, direction, networks, samples, inputs)
                for _ in samples:
                    self.seen()
        result: dict[str, dict[str, float]] = {}
        for name in list(metrics):
            self.between()
            with self._dropping(metrics, name), error_context(f"computing metric '{name}'", metrics[name]):
                computed = figures_of(metrics[name], self.counts)
                protocol_of(metrics[name])  # figures whose definition cannot be stated are omitted as well
                warnings = warnings_of(metrics[name])
                for translation, rounded in computed.items():
                    if translation in self.broken:
                        continue
                    own = result.setdefault(str(translation), {})
                    if taken := sorted(own.keys() & rounded.keys()):
                        raise ValueError(f"another metric has a figure '{taken[0]}' too; rename one of them")
                    finite = {figure: value for figure, value in rounded.items() if math.isfinite(value)}
                    own.update(finite)
                    if lost := sorted(rounded.keys() - finite.keys()):
                        why = f"{listed(lost)} of {translation}: not a finite number; omitted"
                        self.warnings.append(f"metric '{name}': {why}")
                self.warnings += self._missing(name, warnings, {t for t, each in computed.items() if each})
        for translation, count in self.broken.items() if metrics else ():
            what = f"{count} of {self.counts[translation]} translations are not finite (NaN or infinity)"
            self.warnings.append(f"{translation} has no figures: {what}")
        few = [f"{translation} {count}" for translation, count in self.counts.items() if count < FEW_SAMPLES]
        if few and metrics:
            self.warnings.append(f"figures of fewer than {FEW_SAMPLES} samples say little: {listed(few)}")
        return result

    def _missing(self, name: str, warnings: Sequence[str], measured: Collection[Translation]) -> Iterator[str]:
        """Yield a metric's warnings, and why it has no figures for translations other than those measured."""
        yield from (f"metric '{name}': {each}" for each in warnings)
        reasons: dict[str, list[Translation]] = {}
        for translation in (each for each in self.counts if each not in measured and each not in self.broken):
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
            "resample": partial(resampled, networks, inputs, direction.planned),
            "adversarial_source": cache(partial(self._adversarial_source, direction.planned, networks, inputs)),
            "translation": translation,
        }
        arguments = {name: used_arguments(metric, metric.update) for name, metric in metrics.items()}
        if any("counterpart" in names for names in arguments.values()):
            values["counterpart"] = counterparts(self.domains, direction, values["true_samples"], inputs, self.device)
        if any("reference_fake" in names for names in arguments.values()) and self.plan.varies_by("reference"):
            values["reference"], values["reference_fake"] = referenced(networks, inputs, direction.planned)
        if self.plan.varies_by("strength"):
            values["at_strength"] = partial(at_strength, networks, inputs, direction.planned)
        nodes = {name for names in arguments.values() for name in names if name not in values}
        nodes = {name for name in nodes - set(METRIC_ARGUMENTS) if networks.can_compute(direction.planned, name)}
        given = {*self.plan.graph.functions, *(name for each, name in inputs if each == direction.planned)}
        nodes = {name for name in nodes if given.issuperset(self.plan.graph.closure([name]))}
        computed = networks.compute(inputs, direction.planned, sorted(nodes))
        values.update(computed)
        self.counts[translation] = self.counts.get(translation, 0) + len(samples)
        if broken := _not_finite(computed.values(), len(samples)):
            self.broken[translation] = self.broken.get(translation, 0) + broken
            return
        for name, metric in list(metrics.items()):
            if absent := [each for each in arguments[name] if values.get(each) is None]:
                not_given = "these samples have no such input" if absent[0] not in given else ""
                no_network = not_given or "this model has no network that computes it"
                why = UNKNOWN.get(absent[0], no_network)
                self.missing[name, translation] = f"it needs '{absent[0]}', and {why}"
            else:
                with (
                    self._dropping(metrics, name),
                    error_context(f"updating metric '{name}' for {translation}", metric),
                ):
                    own = {each: values[each] for each in arguments[name]}
                    before = versions(own)
                    metric.update(**own)
                    if wrong := changed_in_place(own, before):
                        raise ValueError(wrong)

    def _adversarial_source(
        self, translation: Translation, networks: Networks, inputs: Mapping[Key, Any], most: int
    ) -> Tensor | None:
        for known in (self.discriminators(), networks):
            if known is not None and (uses := adversaries(known, translation)):
                with known.evaluating():
                    return adversarial_source(known, inputs, translation, uses, most)
        return None

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
        further = further_inputs(self.plan, inputs, direction.planned)
        repeated = {(direction.planned, name): repeat(value) for name, value in further.items()} | assemble_inputs(
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


def _not_finite(values: Iterable[Any], count: int) -> int:
    """Return of how many of `count` samples a number is not finite, in any of the tensors with a row for each."""
    finite = torch.ones(count, dtype=torch.bool)
    for x in values:
        if isinstance(x, Tensor) and x.is_floating_point() and x.shape[:1] == (count,):
            finite &= torch.isfinite(x).flatten(1).all(1).cpu()
    return int((~finite).sum())


def counterparts(
    domains: Domains, direction: Direction, true: list[Sample | None], inputs: Mapping[Key, Any], device: Any
) -> Tensor | None:
    """Return the true translations of a batch, (N, C, *space), or None unless all are known.

    Args:
        true: what `true_translations` has returned.
        inputs: those of the batch, which in a paired task hold the true translations already.
    """
    if any(each is None for each in true):
        return None
    if domains.plan.recipe.tasks[direction.translation.task].paired:
        target: Tensor = inputs[direction.planned, "target"]
        return target
    name, size = direction.translation.target, domains.plan.stages[-1].size
    media = domains.media_at(name, size)
    with error_context(f"decoding true translations of {direction.translation}", media):
        decoded = [media.decode(each.location) for each in true if each]
        for array in decoded:
            check_decoded(array, media)
    arrays = decoded if media.ragged else np.stack(decoded)
    return domains.tensors(arrays, None, [name] * len(decoded), size, device)


def resampled(networks: Networks, inputs: Mapping[Key, Any], translation: Translation, number: int) -> Tensor:
    """Return the translations of a batch with other latent codes, (N, C, *space); number 0 has those of the batch."""
    rng: CounterRng = inputs[translation, "rng"]
    codes = ScopedRng(rng.other(number), "latents")
    fake: Tensor = networks.compute({**inputs, (translation, "latents"): codes}, translation, ["fake"])["fake"]
    return fake


def referenced(networks: Networks, inputs: Mapping[Key, Any], translation: Translation) -> tuple[Tensor, Tensor]:
    """Return a reference for each sample of a batch, and the translations in their styles, (N, C, *space) both.

    References are target samples, each that of the row before: of a pair the target would give its content away.
    """
    reference = inputs[translation, "target"].roll(1, 0)
    with_reference = {**inputs, (translation, "reference"): reference}
    fake: Tensor = networks.compute(with_reference, translation, ["fake"])["fake"]
    return reference, fake


def at_strength(networks: Networks, inputs: Mapping[Key, Any], translation: Translation, strength: float) -> Tensor:
    """Return the translations of a batch at a strength, (N, C, *space)."""
    with_strength = {**inputs, (translation, "strength"): strength}
    fake: Tensor = networks.compute(with_strength, translation, ["fake"])["fake"]
    return fake


def like(x: Tensor, samples: Tensor) -> Tensor:
    """Return x (N, 1 or C, *axes) in the form of samples (N, C, *space): enlarged or reduced, its channel repeated."""
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[samples.dim() - 2]
    return F.interpolate(x.float(), samples.shape[2:], mode=mode).expand(-1, samples.shape[1], *samples.shape[2:])


#: Translations of a sample that a preview shows, where a model gives several.
PREVIEWED = 3


def preview_columns(
    plan: Plan, domains: Domains, networks: Networks, rows: int, device: Any, clock: Clock
) -> dict[str, Column]:
    """Return the columns of a preview: for each direction held-out sources, translations, nodes that are to be shown,
    and the truth if known.

    A column is named after its target, where several sources are translated to that target also after its source.
    """
    columns: dict[str, Column] = {}
    targets = Counter((each.translation.task, each.translation.target) for each in plan.directions)
    for direction in plan.directions:
        samples, inputs = next(held_out_batches(plan, domains, direction, rows, rows, device, clock))
        translation, planned = direction.translation, direction.planned
        task = f"{translation.task}: "
        to, target = f"{task}-> {translation.target}", f"{task}{translation.target}"
        if targets[translation.task, translation.target] > 1:
            short = task if len(plan.recipe.tasks) > 1 else ""  # the columns are narrow
            to, target = f"{short}{translation.source} -> {translation.target}", f"{target} for {translation.source}"
        shown = [name for name in plan.nodes.shown if networks.can_compute(planned, name)]
        values = networks.compute(inputs, planned, ["fake", *shown])
        fake = values["fake"]
        columns[f"{task}{translation.source}\n(source)"] = Column(translation.source, list(inputs[planned, "source"]))
        columns[f"{to}\n(translated)"] = Column(translation.target, list(fake))
        for name in shown:
            columns[f"{to}\n({name.replace('_', ' ')})"] = Column(translation.target, list(like(values[name], fake)))
        if plan.varies_by("latents"):
            for number in range(1, PREVIEWED):
                other = resampled(networks, inputs, planned, number)
                columns[f"{to}\n(code {number + 1})"] = Column(translation.target, list(other))
        if plan.varies_by("reference"):
            reference, styled = referenced(networks, inputs, planned)
            columns[f"{target}\n(reference)"] = Column(translation.target, list(reference))
            columns[f"{to}\n(its style)"] = Column(translation.target, list(styled))
        truth = counterparts(domains, direction, true_translations(domains, translation, samples), inputs, device)
        if truth is not None:
            columns[f"{target}\n(ground truth)"] = Column(translation.target, list(truth))
    return columns
