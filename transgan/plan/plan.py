"""What a recipe comes to: every name resolved, every term bound to what it is evaluated on. Runs nothing."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

from torch import Tensor

from transgan.api.protocols import Augmentation, Loss, Metric, Nodes, Spec, Translation
from transgan.api.schedule import Clock, Schedule
from transgan.graph import Graph, Key
from transgan.recipe.schema import Optimizers, Phase, Recipe
from transgan.recipe.slots import Adapt

#: What the discriminator phase and the generator phase know of the discriminator that judges.
JUDGED = ("real_output", "fake_output", "real_input", "fake_input", "discriminator")
#: What else the objective hands to a loss.
GIVEN = (
    *JUDGED,
    "other_discriminators",
    "source_outputs",
    "reconstruction_outputs",
    "fake_opinion",
    "memory",
)
#: What a metric is told of held-out samples, besides nodes.
TOLD = ("keys", "samples", "counterpart", "true_samples", "translate")


@dataclass(frozen=True)
class Judge:
    """A discriminator on one translation: what it is shown, and which of it is real."""

    name: str
    network: str
    real: str
    fake: str
    given: str | None
    history: int
    augment: tuple[tuple[str, Augmentation], ...] = ()
    adapt: Adapt | None = None


@dataclass(frozen=True)
class Term:
    """One loss, for one side, on one translation, before one judge if it asks for one."""

    loss: str
    side: str
    translation: Translation
    judge: Judge | None
    function: Callable[..., Tensor]
    asked: tuple[str, ...]


@dataclass(frozen=True)
class Stage:
    """A stretch of the run, from step `first` up to and without `last`."""

    first: int
    last: int
    size: int
    batch: int
    weights: Mapping[str, Schedule]
    optimizers: Optimizers


@dataclass(frozen=True)
class NetworkPlan:
    """How to build one network: its class, options and place, and the conditionings before it."""

    name: str
    kind: str
    side: str
    use: str
    cls: type[Any]
    options: Any
    spec: Spec
    conditionings: tuple[tuple[type[Any], Any], ...] | None


@dataclass
class Plan:
    """A checked recipe, ready to be built."""

    recipe: Recipe
    translations: list[Translation]
    networks: dict[str, NetworkPlan]
    roles: dict[Translation, dict[str, str]]
    judges: dict[Translation, list[Judge]]
    losses: dict[str, Loss]
    terms: list[Term]
    graph: Graph
    nodes: Nodes
    stages: list[Stage]
    metrics: dict[str, Metric]
    media: tuple[type[Any], Any]
    sources: tuple[type[Any], Any]
    plugins: dict[str, str] = field(default_factory=dict)
    """Packages of the plugins used, and their versions."""
    filled: dict[tuple[str, ...], Mapping[str, Any]] = field(default_factory=dict)
    """Every plugin's options with their defaults, by the place in the recipe."""

    def stage_at(self, step: int) -> Stage:
        """The stage in which a step falls."""
        return next((stage for stage in self.stages if step < stage.last), self.stages[-1])

    def weight(self, loss: str, clock: Clock) -> float:
        """A loss's weight at a moment."""
        return self.stage_at(clock.step).weights[loss].at_clock(clock)

    def trained(self, phase: Phase) -> list[str]:
        """The networks that a phase moves."""
        if phase.trains is None:
            return [name for name, network in self.networks.items() if network.side == phase.side]
        return [name for name in self.networks if any(fnmatch(name, pattern) for pattern in phase.trains)]

    def terms_of(self, phase: Phase, clock: Clock) -> list[tuple[Term, float]]:
        """The terms of a phase that count at this moment, with their weights."""
        found = []
        for term in self.terms:
            if (
                term.side == phase.side
                and matches_any(term.loss, phase.losses)
                and matches(term.translation, phase.translations)
                and (
                    weight := self.weight(term.loss, clock)
                    * self.recipe.tasks[term.translation.task].weight.at_clock(clock)
                )
            ):
                found.append((term, weight))
        return found

    def nodes_of(self, term: Term) -> list[Key]:
        """The nodes that a term asks for, itself or through what its judge is shown."""
        asked = [self.graph.resolve(name, term.loss) for name in term.asked if name not in GIVEN]
        if judge := term.judge:
            asked += [name for name in (judge.real, judge.fake, judge.given) if name]
        asked += [name for name in ("source", "reconstruction") if f"{name}_outputs" in term.asked]
        if "fake_opinion" in term.asked:
            shown = [(judge.fake, judge.given) for judge in self.giving_opinions(term.translation)]
            asked += [name for names in shown for name in names if name]
        return [(term.translation, name) for name in asked]

    def judges_of_source(self, translation: Translation) -> list[Judge]:
        """The discriminators that judge the way back: whether something is of the source domain."""
        back = Translation(translation.task, translation.target, translation.source)
        return [j for j in self.judges.get(back, []) if not j.given and (j.real, j.fake) == ("target", "fake")]

    def giving_opinions(self, translation: Translation) -> dict[Judge, Loss]:
        """The discriminators that learn to tell this translation's fakes from real samples, and by which loss."""
        found = {each: self.adversary(each.network) for each in self.judges[translation] if each.fake == "fake"}
        return {judge: loss for judge, loss in found.items() if loss}

    def adversary(self, network: str) -> Loss | None:
        """The loss by which a discriminator learns to tell real from fake, if that loss has a boundary between them."""
        losses = (self.losses[t.loss] for t in self.terms if t.judge and t.judge.network == network)
        return next((loss for loss in losses if loss.boundary is not None), None)

    @property
    def domains(self) -> list[str]:
        return list(self.recipe.domains)


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def matches(translation: Translation, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns means this translation: by task, by `source -> target`, or by both."""
    names = (str(translation), translation.task, f"{translation.source} -> {translation.target}")
    return any(matches_any(name, patterns) for name in names)
