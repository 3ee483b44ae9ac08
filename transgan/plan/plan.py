"""A checked recipe: every name resolved, every loss bound to what it is evaluated on. Runs nothing."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

from torch import Tensor, nn

from transgan.api.names import LOSS_ARGUMENTS
from transgan.api.protocols import Augmentation, Hooks, Loss, Metric, NetworkSpec, Nodes, Translation
from transgan.api.samples import Media
from transgan.errors import PluginFault
from transgan.graph import Graph, Key, argument_names, used_arguments
from transgan.options import Options, Size
from transgan.plugin_objects import make
from transgan.recipe.diagnostics import Problems
from transgan.recipe.schema import Optimizers, Phase, Recipe
from transgan.recipe.slots import Adapt
from transgan.schedule import Clock, Schedule
from transgan.text import listed

#: The batch inputs that are samples; a further input of theirs is called `source_mask`, `pair_target_mask`, ...
ROLES = ("source", "target", "other_source", "other_target", "pair_source", "pair_target")


@dataclass(frozen=True)
class DiscriminatorUse:
    """A discriminator on one translation: which nodes are its real and its fake input, and how they are prepared."""

    name: str
    """The slot in `[discriminators]`."""
    network: str
    """The network: one of the slot's copies."""
    real: str
    fake: str
    given: tuple[str, ...]
    """Nodes that are concatenated to either along the channels."""
    history: int
    """Size of the image pool; 0 for none."""
    augment: tuple[tuple[str, Augmentation], ...] = ()
    adapt: Adapt | None = None
    keep: tuple[str, ...] = ()
    """The labels that translations keep."""


@dataclass(frozen=True)
class Term:
    """One loss, for one side, on one translation, with one discriminator where its arguments name one."""

    loss: str
    side: str
    translation: Translation
    discriminator: DiscriminatorUse | None
    function: Callable[..., Tensor]
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Direction:
    """A translation between two named domains, and the plan's translation that covers it."""

    translation: Translation
    planned: Translation
    """The same, or one with `*` for several domains."""


@dataclass(frozen=True)
class MediaPlan:
    """The media of a domain: the plugin's name, its class and options."""

    use: str
    cls: type[Media[Options]]
    options: Options

    def at(self, size: Size) -> Media[Options]:
        """Return the media for a size of training samples."""
        return make(self.cls, self.options, size)


@dataclass(frozen=True)
class Stage:
    """A stage of the run, from step `first` up to, but without, `last`."""

    first: int
    last: int
    size: Size
    batch: int
    weights: Mapping[str, Schedule]
    optimizers: Optimizers
    phases: list[Phase]
    freeze: tuple[str, ...] = ()
    """Patterns of what is not trained, for `is_frozen`: those of `train.freeze` and of the stage."""
    conditions: Mapping[str, Any] = field(default_factory=dict)
    """Conditions of networks, by the names of their arguments."""


@dataclass(frozen=True)
class NetworkPlan:
    """How to build one network: its class, options and spec, and the conditionings before it."""

    name: str
    kind: str
    side: str
    use: str
    cls: Callable[[Any, NetworkSpec], nn.Module]
    options: Any
    spec: NetworkSpec
    conditionings: tuple[tuple[type[Any], Any], ...] | None
    """None for a loss's own network, which the loss builds."""
    conditioning_names: tuple[str, ...] = ()
    """Their names in the recipe."""

    def takes(self, condition: str) -> bool:
        """Return whether the network, or a conditioning before it, takes a condition."""
        conditionings = self.conditionings or ()
        unused = self.cls.unused_conditions(self.options) if hasattr(self.cls, "unused_conditions") else ()
        if isinstance(unused, str) or not isinstance(unused, Collection):
            what = f"unused_conditions returned {unused!r}, expected a list of names"
            raise PluginFault(self.cls, what)
        classes = [*([] if condition in unused else [self.cls]), *(cls for cls, _ in conditionings)]
        return any(getattr(options, "of", None) == condition for _, options in conditionings) or any(
            condition in argument_names(forward) for cls in classes if (forward := getattr(cls, "forward", None))
        )


@dataclass
class Plan:
    """A checked recipe, ready to be built."""

    recipe: Recipe
    translations: list[Translation]
    networks: dict[str, NetworkPlan]
    roles: dict[Translation, dict[str, str]]
    """For each translation the network in each role: `generator`, `back`, an encoder's name."""
    discriminators: dict[Translation, list[DiscriminatorUse]]
    losses: dict[str, Loss]
    terms: list[Term]
    graph: Graph
    nodes: Nodes
    stages: list[Stage]
    metrics: dict[str, Metric]
    hooks: dict[str, Hooks]
    media: dict[str, MediaPlan]
    """The media of each domain."""
    input_media: dict[str, MediaPlan]
    """The media of further inputs, by `domain.input`."""
    sources: tuple[type[Any], Any]
    plugins: dict[str, str] = field(default_factory=dict)
    """Packages of the plugins used, and their versions."""
    filled: dict[tuple[str, ...], Mapping[str, Any]] = field(default_factory=dict)
    """Every plugin's options with their defaults, by the place in the recipe."""
    adversarial_losses: str = ""
    """For messages: what is an adversarial loss with a decision logit, and which installed ones are."""
    problems: Problems = field(default_factory=lambda: Problems("the recipe"))
    """Where the recipe's values come from, for messages about those that do not fit the data."""
    fallback: "Plan | None" = None
    """The plan after the guardian's fallback, where some fault can cause one."""

    @property
    def domains(self) -> list[str]:
        return list(self.recipe.domains)

    @property
    def generator_side(self) -> list[str]:
        """The networks that a model holds: generators and encoders. Losses, and hence their networks, stay behind."""
        return [name for name, network in self.networks.items() if network.kind in ("generators", "encoders")]

    @property
    def directions(self) -> list[Direction]:
        """Every translation between two named domains; one with random targets is split into its directions."""
        found = []
        for translation in self.translations:
            if translation.target != "*":
                found.append(Direction(translation, translation))
            else:
                names = self.recipe.tasks[translation.task].domains
                pairs = [(a, b) for a in names for b in names if a != b]
                found += [Direction(Translation(translation.task, a, b), translation) for a, b in pairs]
        return found

    def varies_by(self, name: str) -> bool:
        """Return whether translations depend on a batch input: `latents`, `reference`, `strength` or `passes`."""
        return name in self.graph.closure(["fake"])

    def used_inputs(self, translation: Translation, *, training: bool) -> set[str]:
        """Return the batch inputs that the losses of a translation depend on, or its fake and the metrics."""
        if training:
            names = {name for term in self.terms if term.translation == translation for _, name in self.nodes_of(term)}
        else:
            names = {name for metric in self.metrics.values() for name in used_arguments(metric, metric.update)}
            names |= {"fake", "reconstruction"}
        return set(self.graph.closure(names)) - set(self.graph.functions)

    def lacking(self, translation: Translation, names: Iterable[str]) -> dict[str, tuple[str, str]]:
        """Return which further inputs, that these nodes depend on, a translation's domains do not have.

        Returns:
            By the name of the batch input, that of the further input and of the domain.
        """
        found: dict[str, tuple[str, str]] = {}
        closure = set(self.graph.closure(names)) if self.recipe.inputs else set()
        for role, name in ((role, name) for name in self.recipe.inputs for role in ROLES):
            if f"{role}_{name}" in closure:
                end = translation.source if role.endswith("source") else translation.target
                for domain in self.recipe.tasks[translation.task].domains if end == "*" else [end]:
                    if f"{domain}.{name}" not in self.input_media:
                        found[f"{role}_{name}"] = (name, domain)
        return found

    def paired_domains(self, task: str) -> list[tuple[str, str]]:
        """Return the two domains, or each two, whose known pairs a task trains on beside unpaired samples."""
        if self.recipe.tasks[task].share_of_pairs is None:
            return []
        using = [
            each
            for each in self.translations
            if each.task == task and any(n.startswith("pair_") for n in self.used_inputs(each, training=True))
        ]
        names = self.recipe.tasks[task].domains
        ordered = (sorted((each.source, each.target), key=names.index) for each in using)
        return list(dict.fromkeys((first, second) for first, second in ordered))

    def uses_input(self, name: str) -> bool:
        """Return whether anything of the plan depends on a further input."""
        used = (self.used_inputs(each, training=training) for each in self.translations for training in (True, False))
        return any(f"{role}_{name}" in names for names in used for role in ROLES)

    def stage_at(self, step: int) -> Stage:
        """Return the stage that a step belongs to."""
        return next((stage for stage in self.stages if step < stage.last), self.stages[-1])

    def stage_conditions(self, clock: Clock, *, training: bool) -> Mapping[str, Any]:
        """Return the conditions of the stage that is trained at a moment, or of that of the last trained step."""
        return self.stage_at(clock.step if training else max(0, clock.step - 1)).conditions

    def weight(self, loss: str, clock: Clock) -> float:
        """Return a loss's weight at a moment."""
        return self.stage_at(clock.step).weights[loss].at_clock(clock)

    def trained(self, phase: Phase) -> list[str]:
        """Return the networks that a phase trains."""
        if phase.trains is None:
            return [name for name, network in self.networks.items() if network.side == phase.side]
        return [name for name in self.networks if matches_any(name, phase.trains)]

    def terms_of(self, phase: Phase, clock: Clock) -> list[tuple[Term, float]]:
        """Return the terms of a phase whose weight is not 0 at a moment, with their weights.

        They include those that are not due, see `is_due`.
        """
        found = []
        for term in self.terms_in(phase):
            task = self.recipe.tasks[term.translation.task]
            if weight := self.weight(term.loss, clock) * task.weight.at_clock(clock):
                found.append((term, weight))
        return found

    def terms_ever(self, phase: Phase, stage: Stage) -> list[tuple[Term, float]]:
        """Return the terms of a phase whose weight is not 0 at some moment of a stage, each with the weight 1."""
        shares = self.recipe.train.balance
        tasks = {
            name
            for name, task in self.recipe.tasks.items()
            if task.weight.ever_nonzero and (isinstance(shares, str) or shares[name].ever_nonzero)
        }
        return [
            (term, 1.0)
            for term in self.terms_in(phase)
            if stage.weights[term.loss].ever_nonzero and term.translation.task in tasks
        ]

    def terms_in(self, phase: Phase) -> list[Term]:
        """Return the terms of a phase, whatever their weights."""
        return [
            term
            for term in self.terms
            if term.side == phase.side
            and matches_any(term.loss, phase.losses)
            and matches(term.translation, phase.translations)
        ]

    def phase_clock(self, phase: Phase, clock: Clock) -> Clock:
        """Return the clock of a phase that is due: with the number of its own steps before this one."""
        return clock.model_copy(update={"phase_step": (clock.step + 1) // phase.every - 1})

    def is_due(self, term: Term, phase: Phase, clock: Clock) -> bool:
        """Return whether a loss is evaluated now, and not only at every Nth step of its phase."""
        return self.phase_clock(phase, clock).phase_step % self.losses[term.loss].interval == 0

    def nodes_of(self, term: Term) -> list[Key]:
        """Return the nodes that a term depends on, by itself or through the inputs of discriminators."""
        names = [self.graph.resolve(name, term.loss) for name in term.arguments if name not in LOSS_ARGUMENTS]
        if use := term.discriminator:
            names += [use.real, use.fake, *use.given]
        names += [name for name in ("source", "reconstruction") if f"{name}_outputs" in term.arguments]
        if "fake_realness" in term.arguments:
            names += [n for use in self.realness_discriminators(term.translation) for n in (use.fake, *use.given)]
        return [(term.translation, name) for name in names]

    def one_way(self, translation: Translation) -> str:
        """Return how a task with one direction gets the other; empty where it has both."""
        if translation.back in self.translations:
            return ""
        both = f'between = ["{translation.source}", "{translation.target}"], in place of from and to, gives both'
        return f"task '{translation.task}' has this direction alone, and {both}"

    def source_discriminators(self, translation: Translation) -> list[DiscriminatorUse]:
        """Return the discriminators of the translation's source domain: those that the way back is trained against."""
        uses = self.discriminators.get(translation.back, [])
        return [use for use in uses if not use.given and (use.real, use.fake) == ("target", "fake")]

    def realness_discriminators(self, translation: Translation) -> dict[DiscriminatorUse, Loss]:
        """Return the discriminators that distinguish this translation's fakes from real samples, and by which loss."""
        uses = {
            use: self.adversarial_loss(use.network) for use in self.discriminators[translation] if use.fake == "fake"
        }
        return {use: loss for use, loss in uses.items() if loss}

    def adversarial_loss(self, network: str) -> Loss | None:
        """Return the adversarial loss that trains a discriminator, if it has a `decision_logit`."""
        losses = (self.losses[t.loss] for t in self.terms if t.discriminator and t.discriminator.network == network)
        return next((loss for loss in losses if loss.decision_logit is not None), None)


def is_adversarial(loss: Loss | type[Loss[Any]]) -> bool:
    """Return whether a loss trains discriminators to distinguish real from fake samples."""
    function = getattr(loss, "for_discriminator", None)
    compares = function is not None and {"real_output", "fake_output"} <= {*argument_names(function)}
    return loss.decision_logit is not None or compares


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name matches one of the patterns (`*`, `?`, `[...]`)."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def is_frozen(network: str, parameter: str, patterns: Iterable[str]) -> bool:
    """Return whether a pattern names a network, or `network|parameter`.

    Args:
        parameter: its name in the network's `state_dict`; patterns omit the `network.` of a network's own.
    """
    name = parameter.removeprefix("network.")
    return any(
        fnmatch(network, of) and (not bar or fnmatch(name, own))
        for of, bar, own in (pattern.partition("|") for pattern in patterns)
    )


def matches(translation: Translation, patterns: Iterable[str]) -> bool:
    """Return whether a pattern matches a translation: its task, `source -> target`, or `task: source -> target`."""
    names = (str(translation), translation.task, f"{translation.source} -> {translation.target}")
    return any(matches_any(name, patterns) for name in names)


def unmatched(patterns: Sequence[str], translations: Sequence[Translation]) -> list[str]:
    """Return a message for each pattern that matches no translation, and one where there is no pattern at all."""
    known = listed(f"'{translation}'" for translation in translations)
    if not patterns:
        return [f"names no translation; leave it out for all. Known: {known}"]
    wrong = (each for each in patterns if not any(matches(translation, [each]) for translation in translations))
    return [f"'{pattern}' matches no translation. Known: {known}" for pattern in wrong]
