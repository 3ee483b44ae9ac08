"""Figures by judges: what several judges say of sources and translations, how far each can be believed, and the metric
`apparent_label`."""

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Self

import numpy as np
from pydantic import Field, model_validator
from torch import Tensor

from transgan.api import Domain, Metric, Options, Translation, listed
from transgan_images.judges import (
    Judge,
    JudgeOptions,
    Question,
    check_judges,
    named_judges,
    question_about,
    real_answers,
    trained_judge,
)
from transgan_images.perturbations import PERTURBATIONS

AdversarialSource = Callable[[int], Tensor | None]
"""The metric argument `adversarial_source`."""

#: Number of sources, of each translation, that are changed to see what that changes for a judge.
CHANGED = 64
#: Largest number of held-out real samples of each domain by which the accuracy of a judge is measured.
MEASURED = 1000
#: Shares that differ by more than this are reported, and numbers by more than this part of the domains' distance.
FAR_SHARE, FAR_PART = 0.2, 1 / 3
#: A label that moves back, from one strength to the next, by less than this part of the domains' distance stays.
BACK_PART = 1 / 10


@dataclass
class Values:
    """What a judge says of the samples of a translation, a number for each: a hit or a miss, or a label."""

    fake: list[float] = field(default_factory=list)
    source: list[float] = field(default_factory=list)
    perturbed: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """The same of the first sources, by how they are changed."""
    adversarial: list[float] = field(default_factory=list)
    """The same of the first sources, changed for the discriminators."""
    at_strengths: list[list[float]] = field(default_factory=list)
    """The same of the translations at each strength, for each sample."""

    def add(
        self,
        value: Callable[[Tensor], np.ndarray],
        source: Tensor,
        fake: Tensor,
        changed: Mapping[str, Tensor],
        adversarial: Tensor | None,
    ) -> None:
        """Add a batch.

        Args:
            value: returns (N,) of images (N, C, H, W).
            source, fake: (N, C, H, W).
            changed: the first sources, changed in several ways; those of all batches before are changed too.
            adversarial: the first sources, changed for the discriminators, likewise.
        """
        self.fake += value(fake).tolist()
        self.source += value(source).tolist()
        for name, x in changed.items():
            self.perturbed[name] += value(x).tolist()
        if adversarial is not None:
            self.adversarial += value(adversarial).tolist()

    def _moved(self, changed: Sequence[float]) -> float:
        return float(np.mean(changed) - np.mean(self.source[: len(changed)]))

    @property
    def unsteady(self) -> tuple[float, str]:
        """The largest change of the mean over the first sources under a perturbation, and which one it is."""
        moved = {name: self._moved(each) for name, each in self.perturbed.items() if each}
        worst = max(moved, key=lambda name: abs(moved[name]), default="")
        return abs(moved.get(worst, math.nan)), worst

    @property
    def moved(self) -> float:
        """How far the mean moves over the sources that are changed for the discriminators."""
        return self._moved(self.adversarial)


class ChangedSources:
    """The first CHANGED sources of each translation, changed in ways that should change nothing for a judge."""

    def __init__(self) -> None:
        self.seen: dict[Translation, int] = defaultdict(int)

    def take(
        self, translation: Translation, source: Tensor, ask: AdversarialSource | None
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Return the first sources of a batch changed, by the name of the change, and for the discriminators."""
        first = source[: max(0, CHANGED - self.seen[translation])]
        self.seen[translation] += len(first)
        if not len(first):
            return {}, None
        attacked = None if ask is None else ask(len(first))
        return {name: change(first) for name, change in PERTURBATIONS.items()}, attacked


class JudgedShares:
    """Shares of translations for which judges give the wanted answer, as figures `<figure>_<judge>`."""

    def __init__(self) -> None:
        self.values: dict[Translation, dict[tuple[str, str], Values]] = defaultdict(lambda: defaultdict(Values))
        self.changed = ChangedSources()

    def add(
        self,
        translation: Translation,
        figure: str,
        judges: Mapping[str, Judge],
        wanted: Mapping[str, np.ndarray],
        source: Tensor,
        fake: Tensor,
        adversarial: AdversarialSource | None = None,
        tried: bool = True,
    ) -> None:
        """Add a batch.

        Args:
            figure: the name that the judge's is added to.
            judges: by name.
            wanted: of each judge the answer that counts, (N,) by index; nan where the sample is not counted.
            tried: whether the judge is tried on changed sources too.
        """
        changed, attacked = self.changed.take(translation, source, adversarial) if tried else ({}, None)
        for name, judge in judges.items():
            values, counted = self.values[translation][figure, name], ~np.isnan(wanted[name])
            rows = np.flatnonzero(counted)
            hits = partial(_hits, judge, wanted[name][rows])
            own = {change: x[rows[rows < len(x)]] for change, x in changed.items()}
            of_attacked = None if attacked is None else attacked[rows[rows < len(attacked)]]
            if len(rows):
                values.add(hits, source[rows], fake[rows], own, of_attacked)

    def figures(self) -> dict[Translation, dict[str, float]]:
        """Return the figures by translation and name."""
        result: dict[Translation, dict[str, float]] = {}
        for translation, found in self.values.items():
            figures = result[translation] = dict[str, float]()
            for (figure, judge), values in found.items():
                if values.fake:
                    name = f"{figure}_{judge}"
                    figures |= {name: float(np.mean(values.fake)), f"{name}_of_source": float(np.mean(values.source))}
                    if values.adversarial:
                        figures[f"{name}_of_adversarial"] = float(np.mean(values.adversarial))
                    if values.unsteady[1]:
                        figures[f"{name}_unsteady"] = values.unsteady[0]
        return result

    def warnings(self) -> list[str]:
        """Return which judges disagree, and which cannot be believed."""
        said = []
        for translation, found in self.values.items():
            shares: dict[str, dict[str, float]] = defaultdict(dict)
            for (figure, judge), values in found.items():
                if values.fake:
                    shares[figure][judge] = float(np.mean(values.fake))
                    said += doubts(f"{figure}_{judge}", translation, values, FAR_SHARE)
            for figure, by_judge in shares.items():
                said += disagreement(figure, translation, by_judge, FAR_SHARE)
        return said


def _hits(judge: Judge, wanted: np.ndarray, x: Tensor) -> np.ndarray:
    hits: np.ndarray = (judge(x) == wanted[: len(x)]).astype(float)
    return hits


def doubts(name: str, translation: Translation, values: Values, far: float) -> list[str]:
    """Return, a sentence each, why a judge's figure is not to be believed: what moves it by more than `far`."""
    said = []
    if values.unsteady[1] and values.unsteady[0] > far:
        moved, worst = values.unsteady
        said.append(f"{name} is unsteady: a {worst} moves it by {moved:.3g} for the sources of {translation}")
    if values.adversarial and abs(values.moved) > far:
        said.append(
            f"{name} follows the training's discriminators: changes of the sources by 2/255, made for them, move it by "
            f"{values.moved:.3g} for {translation}"
        )
    return said


def disagreement(figure: str, translation: Translation, by_judge: Mapping[str, float], far: float) -> list[str]:
    """Return a sentence where the figures of judges differ by more than `far`."""
    if len(by_judge) < 2 or max(by_judge.values()) - min(by_judge.values()) <= far:
        return []
    each = ", ".join(f"{value:.3g} ({judge})" for judge, value in by_judge.items())
    return [f"judges disagree on {figure} of {translation}: {each}; believe none of them before you have looked"]


def accuracy_of(judge: Judge, domains: Mapping[str, Domain], names: Sequence[str], question: Question) -> float:
    """Return the mean of the accuracies on held-out real samples of each answer; nan where there are none."""
    hits: dict[float, list[bool]] = defaultdict(list)
    for name in names:
        x, answers = real_answers(domains[name], name, question, held_out=True, most=MEASURED)
        true = np.array([judge.index(answer) for answer in answers])
        for answer, said in zip(true, judge(x), strict=True):
            if not math.isnan(answer):
                hits[answer].append(answer == said)
    return float(np.mean([np.mean(each) for each in hits.values()])) if hits else math.nan


def known_figures(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures that are known: those that are numbers."""
    return {name: value for name, value in figures.items() if not math.isnan(value)}


def untried(what: str, figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return a sentence where figures of held-out samples are not known, since there are none.

    Args:
        what: what the figures say something of.
        figures: by the task or domain whose samples they are of, and by name.
    """
    where = [place for place, each in figures.items() if each and not known_figures(each)]
    return [f"no held-out samples to try {what} on: {listed(where)}"] if where else []


PROTOCOL = {
    "_of_adversarial": f"the first {CHANGED} sources of a translation, changed by at most 2/255 for the training's "
    "discriminators, 10 steps",
    "_unsteady": f"largest change of the mean over the first {CHANGED} sources under {', '.join(PERTURBATIONS)}",
}


def protocol_of(judges: Mapping[str, JudgeOptions], figure: str) -> dict[str, str]:
    """Return how the figures of each judge come about, in words."""
    found = {f"{figure}_<judge>{suffix}": text for suffix, text in PROTOCOL.items()}
    for name, each in judges.items():
        on = f"samples of {each.judge_data}" if each.judge_data else "the run's real training samples"
        what = f"linear model on frozen features of {each.network}" if each.kind == "features" else "small CNN"
        found[f"{figure}_{name}"] = f"{what}, trained on {on}"
    return found


class ApparentLabelOptions(Options):
    """Options of the metric `apparent_label`."""

    label: str
    """The label of the samples, a number, such as an age."""
    judges: list[JudgeOptions] = Field(min_length=1)
    """The judges, a table each."""
    strengths: list[float] = []
    """Strengths of the change at which translations are measured too, two or more in ascending order. Then the metric
    is for models that can scale their change; each strength takes as long as the translations themselves."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if len(self.strengths) == 1 or any(low >= high for low, high in pairwise(self.strengths)):
            raise ValueError(f"strengths = {self.strengths}: expected two or more in ascending order")
        return self


class ApparentLabel(Metric[ApparentLabelOptions]):
    """How far translations move a label that is a number, as judges see it that are trained on real samples alone.

    For each judge, in the label's unit:

    - `apparent_<label>_<judge>`: mean difference between a translation and its source, with a 95% interval (1.96
      standard errors of the paired differences);
    - `..._between`: difference of the real domains' means by the same judge, on the samples that are measured; and
      `..._share`, the part of it that the translations reach, where the judge distinguishes the domains at all;
    - `..._error` and `..._correlation`: its mean absolute error, and its correlation with the true label, on held-out
      real samples of the task's domains;
    - `..._unsteady`: the largest change of its mean over the sources when these are compressed, blurred, given noise or
      shifted;
    - `..._of_adversarial`: the mean difference that changes of the sources by at most 2/255 make which are made for the
      training's discriminators; near 0 for a judge that can be believed. Not where discriminators are not there.

    With `strengths` also:

    - `..._at_<strength>`: mean difference between the translation at a strength and its source;
    - `..._monotone`: the share of samples whose label never moves against the direction of the translation, from one
      strength to the next, by more than a tenth of `between`; and `..._order`: the same of the means, without
      tolerance, 1 or 0. Both where the judge distinguishes the domains.

    Raises:
        UsageError: two judges have the same name, or a network, layer or size does not exist.
        DataError: weights are missing, cannot be read, or are those of another network.
        PluginError: timm is needed and not installed.
    """

    measures = ("pictures", 2)

    def __init__(self, options: ApparentLabelOptions):
        super().__init__(options)
        self.named = named_judges(options.judges)
        figures = [f"apparent_{options.label}_{name}" for name in self.named if options.strengths]
        ends = ("monotone", "order")
        self.direction = {f"{name}_{end}": "higher" for name in figures for end in ends}  # type: ignore[misc]

    @property
    def unused_inputs(self) -> Collection[str]:  # type: ignore[override]
        return () if self.options.strengths else ("at_strength",)

    def check_domains(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]]) -> None:
        """Refuse samples without the label, a label that is no number, and judges without samples to train on."""
        check_judges(domains, self._question(domains, tasks), self.named)

    def _question(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]]) -> Question:
        names = list(dict.fromkeys(name for each in tasks.values() for name in each))
        return question_about(self.options.label, domains, names, number=True)

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        """Train the judges on all domains whose samples have the label, and try them."""
        question = self._question(domains, tasks)
        self.judges = {name: trained_judge(domains, question, options, seed) for name, options in self.named.items()}
        real: dict[str, dict[str, np.ndarray]] = {name: {} for name in self.judges}
        true: dict[str, np.ndarray] = {}
        for each in question.domains:
            x, answers = real_answers(domains[each], each, question, held_out=True, most=MEASURED)
            true[each] = np.array(answers, dtype=float)
            for name, judge in self.judges.items():
                real[name][each] = judge(x)
        self.real, self.tasks = real, tasks
        self.quality = {
            (task, name): _quality(
                np.concatenate([real[name][each] for each in own if each in true] or [np.empty(0)]),
                np.concatenate([true[each] for each in own if each in true] or [np.empty(0)]),
            )
            for task, own in tasks.items()
            for name in self.judges
        }

    def reset(self) -> None:
        """Forget all updates."""
        self.values: dict[Translation, dict[str, Values]] = defaultdict(lambda: defaultdict(Values))
        self.changed = ChangedSources()

    def update(
        self,
        translation: Translation,
        source: Tensor,
        fake: Tensor,
        adversarial_source: AdversarialSource,
        at_strength: Callable[[float], Tensor] | None = None,
    ) -> None:
        """Add a batch: the sources and their translations, both (N, C, H, W), and the translations by strength."""
        changed, attacked = self.changed.take(translation, source, adversarial_source)
        at = [] if at_strength is None else [at_strength(strength) for strength in self.options.strengths]
        for name, judge in self.judges.items():
            values = self.values[translation][name]
            values.add(judge, source, fake, changed, attacked)
            if at:
                values.at_strengths += np.stack([judge(y) for y in at], 1).tolist()

    def _between(self, translation: Translation, judge: str) -> tuple[float, bool]:
        """Return the difference of the real domains' means by a judge, and whether it distinguishes them."""
        source, target = (self.real[judge].get(each, np.empty(0)) for each in (translation.source, translation.target))
        if min(len(source), len(target)) < 2:
            return math.nan, False
        between = float(target.mean() - source.mean())
        error = math.sqrt(source.var(ddof=1) / len(source) + target.var(ddof=1) / len(target))
        return between, abs(between) > 1.96 * error

    def _scale(self, judge: str) -> float:
        """Return what is large for a judge that does not distinguish a translation's domains.

        The largest distance of two that it distinguishes, or else the standard deviation of its answers about sources.
        """
        distances = [abs(value) for value, apart in (self._between(each, judge) for each in self.values) if apart]
        return (
            max(distances)
            if distances
            else float(np.concatenate([x[judge].source for x in self.values.values()]).std())
        )

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the figures by translation and name."""
        result: dict[Translation, dict[str, float]] = {}
        for translation, by_judge in self.values.items():
            figures = result[translation] = dict[str, float]()
            for judge, values in by_judge.items():
                name = f"apparent_{self.options.label}_{judge}"
                change = np.subtract(values.fake, values.source)
                figures[name] = float(change.mean())
                if len(change) > 1:
                    half = 1.96 * float(change.std(ddof=1)) / math.sqrt(len(change))
                    figures |= {f"{name}_low": figures[name] - half, f"{name}_high": figures[name] + half}
                between, apart = self._between(translation, judge)
                if not math.isnan(between):
                    figures[f"{name}_between"] = between
                if apart:
                    figures[f"{name}_share"] = figures[name] / between
                error, correlation = self.quality[translation.task, judge]
                if not math.isnan(error):
                    figures |= {f"{name}_error": error, f"{name}_correlation": correlation}
                figures[f"{name}_unsteady"] = values.unsteady[0]
                if values.adversarial:
                    figures[f"{name}_of_adversarial"] = values.moved
                if values.at_strengths:
                    at = np.array(values.at_strengths)
                    shifts = at.mean(0) - np.mean(values.source)
                    figures |= {
                        f"{name}_at_{s:g}": float(y) for s, y in zip(self.options.strengths, shifts, strict=True)
                    }
                    if apart:
                        steps = np.diff(at, axis=1) / between  # positive towards the target domain
                        figures[f"{name}_monotone"] = float((steps >= -BACK_PART).all(1).mean())
                        figures[f"{name}_order"] = float((np.diff(shifts) / between >= 0).all())
        return result

    def warnings(self) -> Sequence[str]:
        errors: dict[str, dict[str, float]] = defaultdict(dict)
        for (task, judge), (error, _) in self.quality.items():
            errors[f"task {task}"][judge] = error
        said, figure = untried("the judges", errors), f"apparent_{self.options.label}"
        for translation, by_judge in self.values.items():
            between = {judge: self._between(translation, judge) for judge in by_judge}
            distances = {judge: abs(value) for judge, (value, apart) in between.items() if apart}
            scales = distances or {judge: self._scale(judge) for judge in by_judge}
            far = FAR_PART * float(np.mean(list(scales.values())))
            for judge, values in by_judge.items():
                own = FAR_PART * scales[judge] if judge in scales else far
                said += doubts(f"{figure}_{judge}", translation, values, own)
            shifts = {judge: float(np.mean(v.fake) - np.mean(v.source)) for judge, v in by_judge.items()}
            said += disagreement(figure, translation, shifts, far)
        return said

    def protocol(self) -> Mapping[str, str]:
        return protocol_of(self.named, f"apparent_{self.options.label}")


def _quality(said: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """Return mean absolute error and correlation; nan where there are no samples, or of one value only."""
    if not len(true):
        return math.nan, math.nan
    varies = len(true) > 1 and said.std() > 0 and true.std() > 0
    return float(np.abs(said - true).mean()), float(np.corrcoef(said, true)[0, 1]) if varies else math.nan
