"""The objective of a phase: nodes computed, discriminators run, weighted losses added up. Updates no network."""

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from transgan.api.names import DISCRIMINATOR_ARGUMENTS
from transgan.api.protocols import Call, Conditions, DiscriminatorOutput, Translation
from transgan.api.samples import Media
from transgan.errors import PluginFault
from transgan.graph import Key, Step, error_context
from transgan.monitoring.diagnostics import StepDiagnostics
from transgan.networks import Networks
from transgan.plan.kept import KEPT
from transgan.plan.plan import DiscriminatorUse, Plan, Term
from transgan.recipe.schema import Phase
from transgan.rng import ScopedRng
from transgan.schedule import Clock
from transgan.training.augmentation import Augmenter
from transgan.training.buffers import HistoryPool, LossBuffers
from transgan.training.distributed import Processes
from transgan.training.kept import KeptLabels, sides_of
from transgan.tree import changed_in_place, described, versions

DiscriminatorFunction = Callable[[Tensor], DiscriminatorOutput]
Weighted = list[tuple[Term, float]]


class Objective:
    """The losses of a phase, evaluated on a step's tensors.

    Args:
        processes: those that share the image pools; None for this process alone.
        traces_all: evaluate every loss that ever has a weight in a stage, each with the weight 1: for a dry run.
    """

    def __init__(self, plan: Plan, networks: Networks, processes: Processes | None = None, traces_all: bool = False):
        self.plan = plan
        self.traces_all = traces_all
        self.networks = networks
        self.processes = processes
        self.history = HistoryPool(plan.recipe.train.seed)
        self.diagnostics = StepDiagnostics(plan, processes.gather if processes else None)
        self.loss_buffers = LossBuffers(processes)
        self.augmenter = Augmenter(plan, self.loss_buffers)
        self.kept = KeptLabels(plan)
        self.differentiable: set[str] = set()
        """The losses so far whose value depends on something that is trained."""
        self.ranges: dict[str, tuple[Tensor, Tensor]] = {}
        """In the first step, the least and the greatest number that each generator of samples with levels returns."""
        self.first_step = False
        """Whether this is a run's first step, in which ranges are noted and, as in a trace, a loss that changes
        gradients is looked for: both take time."""

    def compute_nodes(self, batch_inputs: Mapping[Key, Any], phases: list[Phase], clock: Clock) -> Step:
        """Compute the nodes that these phases share; with gradients only if one of them trains a generator."""
        step = Step(self.plan.graph, self.networks, batch_inputs)
        first = next((phase for phase in phases if phase.side == "generator"), None)
        wanted = {
            key: None
            for phase in phases
            for term, _ in self._split_by_interval(phase, self.terms(phase, batch_inputs, clock), clock)[1]
            for key in self.plan.nodes_of(term)
        }
        self.networks.set_trainable(self.plan.trained(first) if first else ())
        with torch.set_grad_enabled(first is not None):
            step.compute(wanted)
        return step

    def __call__(self, phase: Phase, step: Step, clock: Clock) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Return the phase's total loss, and each loss unweighted.

        Returns:
            The sum of weight times loss, or None if no loss has a weight now; and the losses by
            `translation/loss_G/name` and `translation/loss_D/name`.
        """
        lazy, terms = self._split_by_interval(phase, self.terms(phase, step.values, clock), clock)
        discriminators = DiscriminatorPasses(self, phase, step)
        discriminators.run([term for term, _ in terms])
        total: Tensor | None = None
        values: dict[str, Tensor] = {}
        weighted: list[tuple[Term, Tensor]] = []
        for term, weight in terms:
            more = {**discriminators.arguments(term), **self._own_arguments(term, phase, step, clock)}
            # A discriminator's loss trains no generator: the autograd graph of its nodes is another phase's.
            detach = phase.side == "discriminator"
            arguments = step.arguments(term.translation, term.arguments, term.loss, more, detach)
            with error_context(f"evaluating loss '{term.loss}' for {term.translation}", self.plan.losses[term.loss]):
                before = versions(arguments)
                gradients = self._gradients()
                value = term.function(**arguments)
                if changed := [name for name, each in self._gradients().items() if each != gradients[name]]:
                    what = f"for_{term.side} has changed the gradients of '{changed[0]}', which would count twice; "
                    remedy = "return the loss without backward(), and take gradients by torch.autograd.grad"
                    raise PluginFault(self.plan.losses[term.loss], what + remedy)
                if wrong := changed_in_place(arguments, before):
                    raise PluginFault(self.plan.losses[term.loss], wrong)
                lacks_number = isinstance(value, Tensor) and value.is_meta and self.networks.device.type != "meta"
                if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point() or lacks_number:
                    found = f"{described(value)}{' on the meta device' if lacks_number else ''}"
                    what = f"for_{term.side} returned {found}, expected a scalar tensor, such as a mean"
                    raise PluginFault(self.plan.losses[term.loss], what)
            if value.grad_fn is not None:  # a tensor that the loss has made may require a gradient, too
                self.differentiable.add(term.loss)
            if "buffers" in more:
                self.loss_buffers.record(owner_of(term), more["buffers"])
            # A loss that is evaluated at every Nth step alone has N times its weight there.
            weighted.append((term, weight * self.plan.losses[term.loss].interval * value))
            total = weighted[-1][1] if total is None else total + weighted[-1][1]
            name = log_name(term)
            values[name] = values[name] + value.detach() if name in values else value.detach()
        if self.first_step and phase.side == "generator":
            self._note_ranges(step)
        self._log_lazy(lazy, values)
        self.diagnostics.update(phase, step.values, discriminators.pairs(), weighted)
        return total, values

    def _note_ranges(self, step: Step) -> None:
        """Note from where to where translations are that generators return as they are, where samples have levels."""
        if inspect.isgeneratorfunction(self.plan.graph.functions.get("fake")):
            return  # computed in several passes, none of which returns a sample
        for translation, roles in self.plan.roles.items():
            domain = translation.target if translation.target != "*" else self.plan.domains[0]
            levels = self.plan.media[domain].cls.as_levels is not Media.as_levels
            fake = step.values.get((translation, "fake"))
            if levels and isinstance(fake, Tensor):
                self.ranges[roles["generator"]] = fake.detach().min(), fake.detach().max()

    def _gradients(self) -> dict[str, list[tuple[int, int] | None]]:
        """Return what is equal for each network until something changes its gradients; nothing where none looks."""
        return {
            name: [None if p.grad is None else (id(p.grad), p.grad._version) for p in network.parameters()]
            for name, network in (self.networks.items() if self.first_step or self.traces_all else ())
        }

    def terms(self, phase: Phase, values: Mapping[Key, Any], clock: Clock) -> Weighted:
        """Return the terms with a weight now, and their weights, for the translations that a batch holds."""
        if self.traces_all:
            terms = self.plan.terms_ever(phase, self.plan.stage_at(clock.step))
        else:
            terms = self.plan.terms_of(phase, clock)
        return [each for each in terms if (each[0].translation, "source") in values]

    def _split_by_interval(self, phase: Phase, terms: Weighted, clock: Clock) -> tuple[list[Term], Weighted]:
        """Return the terms with an interval, and those with a weight that are due now."""
        lazy = [term for term, _ in terms if self.plan.losses[term.loss].interval > 1]
        return lazy, [each for each in terms if self.traces_all or self.plan.is_due(each[0], phase, clock)]

    def _log_lazy(self, lazy: list[Term], values: dict[str, Tensor]) -> None:
        """Remember the value of each loss with an interval; between its steps add the last one to the values."""
        last = self.loss_buffers.of("last")
        for name in dict.fromkeys(log_name(term) for term in lazy):
            if name in values:
                self.loss_buffers.record("last", {name: values[name]})
            elif name in last:
                values[name] = last[name]

    def _own_arguments(self, term: Term, phase: Phase, step: Step, clock: Clock) -> dict[str, Any]:
        """Return the arguments that belong to a term alone."""
        own: dict[str, Any] = {}
        if "clock" in term.arguments:
            own["clock"] = self.plan.phase_clock(phase, clock)
        if "buffers" in term.arguments:
            own["buffers"] = self.loss_buffers.of(owner_of(term))
        if "rng" in term.arguments:
            rng = step.values[term.translation, "rng"]
            own["rng"] = ScopedRng(rng, f"{owner_of(term)}|{self.phase_number(phase)}")
        return own

    def phase_number(self, phase: Phase) -> int:
        """Return the index of a phase in the recipe, or in its stage."""
        phases = [enumerate(stage.phases) for stage in self.plan.stages]
        return next(i for each in phases for i, one in each if one is phase)


class DiscriminatorPasses:
    """The discriminator passes of a phase: run together, as far as its terms need them, and read as their arguments."""

    def __init__(self, objective: Objective, phase: Phase, step: Step):
        self.objective = objective
        self.plan = objective.plan
        self.phase = phase
        self.step = step
        self.outputs: dict[Key, DiscriminatorOutput] = {}
        self.inputs: dict[tuple[Translation, DiscriminatorUse, str], tuple[Tensor, Conditions]] = {}

    def run(self, terms: list[Term]) -> None:
        """Run the passes that the arguments of these terms need."""
        wanted: dict[tuple[Translation, DiscriminatorUse], set[str]] = defaultdict(set)
        for term in terms:
            if term.discriminator:
                wanted[term.translation, term.discriminator] |= set(term.arguments)
        calls: dict[Key, Call] = {}
        for (translation, use), names in wanted.items():
            for kind, node in _nodes_of(use):
                if names & {f"{kind}_output", f"{kind}_input"}:
                    prepared = self.inputs[translation, use, kind] = self._prepare(translation, use, node, kind)
                    if f"{kind}_output" in names:
                        calls[translation, f"{use.name} on {node}"] = Call(use.network, *prepared)
        for term in terms:
            for kind, around in (("real", self._around_source(term)), ("fake", self._realness(term))):
                for key, use, node in around:
                    if key not in calls:
                        calls[key] = Call(use.network, *self._prepare(term.translation, use, node, kind))
        self.outputs = self.step.run_all(calls)
        if self.phase.side == "discriminator":
            for translation, use, kind in self.inputs:
                output = self.outputs.get((translation, f"{use.name} on {use.real}"))
                if kind == "real" and output is not None:
                    self.objective.augmenter.observe(use, output)

    def arguments(self, term: Term) -> dict[str, Any]:
        """Return the arguments of a term that concern discriminators."""
        found: dict[str, Any] = {}
        if "other_discriminators" in term.arguments:
            found["other_discriminators"] = self._other_tasks(term.translation)
        for name in ("source", "reconstruction"):
            if f"{name}_outputs" in term.arguments:
                keys = [key for key, _, node in self._around_source(term) if node == name]
                found[f"{name}_outputs"] = [self.outputs[key] for key in keys]
        if "fake_realness" in term.arguments:
            found["fake_realness"] = self._mean_realness(term)
        if (use := term.discriminator) and set(term.arguments) & set(DISCRIMINATOR_ARGUMENTS):
            conditions = self._conditions(term.translation, use)
            conditions = {name: value for name, value in conditions.items() if name != "real"}  # it may be neither
            found["discriminator"] = self._function(use.network, conditions, full_precision=True)
            for kind, node in _nodes_of(use):
                if f"{kind}_output" in term.arguments:
                    found[f"{kind}_output"] = self.outputs[term.translation, f"{use.name} on {node}"]
                if f"{kind}_input" in term.arguments:
                    found[f"{kind}_input"] = self.inputs[term.translation, use, kind][0]
        return found

    def pairs(self) -> list[tuple[Translation, DiscriminatorUse, DiscriminatorOutput, DiscriminatorOutput]]:
        """Return the outputs for real and fake of every discriminator that was run on both."""
        found = []
        for translation, use in dict.fromkeys((translation, use) for translation, use, _ in self.inputs):
            real, fake = (self.outputs.get((translation, f"{use.name} on {node}")) for node in (use.real, use.fake))
            if real is not None and fake is not None:
                found.append((translation, use, real, fake))
        return found

    def _around_source(self, term: Term) -> Iterable[tuple[Key, DiscriminatorUse, str]]:
        """Yield the passes of the source domain's discriminators on the source and its reconstruction."""
        for node in ("source", "reconstruction"):
            if f"{node}_outputs" in term.arguments:
                for use in self.plan.source_discriminators(term.translation):
                    yield (term.translation, f"{use.name} back on {node}"), replace(use, real="source"), node

    def _realness(self, term: Term) -> Iterable[tuple[Key, DiscriminatorUse, str]]:
        """Yield the passes of the target domain's discriminators on the fake."""
        if "fake_realness" in term.arguments:
            for use in self.plan.realness_discriminators(term.translation):
                yield (term.translation, f"{use.name} on {use.fake}"), use, use.fake

    def _mean_realness(self, term: Term) -> Tensor:
        """Return (N,) how real each fake is found, as the mean over discriminators, scales and positions."""
        found = []
        losses = self.plan.realness_discriminators(term.translation)
        for key, use, _ in self._realness(term):
            for logits in self.outputs[key].logits:
                found.append(losses[use].realness(logits.detach()).flatten(1).mean(1))
        return torch.stack(found).mean(0)

    def _conditions(self, translation: Translation, use: DiscriminatorUse, kind: str = "real") -> Conditions:
        """Return what a discriminator is conditioned on: the task, and the domain and attributes of the real sample.

        They are those that the fake was generated for, too. A discriminator that reads `origin` gets the domain that
        the fake was translated from, also beside the real sample. Labels that it keeps are, of a real sample, its own;
        of a fake, those of the sample that it is made from; of a negative, others than its own. One that reads `real`
        gets 1 for real samples, and 0 for all others.
        """
        values = self.step.values
        side, other = sides_of(use)
        origin = {"origin": values[translation, f"{other}_domain"]} if self._takes(use, "origin") else {}
        conditions = {
            "task": values[translation, "task"],
            "domain": values[translation, f"{side}_domain"],
            **origin,
            **values[translation, f"{side}_attributes"],
        }
        if self._takes(use, "real"):
            domain = values[translation, f"{side}_domain"]
            conditions["real"] = torch.full_like(domain, float(kind == "real"), dtype=torch.float)
        if KEPT in conditions:
            conditions[KEPT] = self.objective.kept.of(values, translation, use, kind)
        return conditions

    def _takes(self, use: DiscriminatorUse, condition: str) -> bool:
        return self.plan.networks[use.network].takes(condition)

    def _prepare(
        self, translation: Translation, use: DiscriminatorUse, node: str, kind: str
    ) -> tuple[Tensor, Conditions]:
        """Return a discriminator's input and conditions: beside `given`, exchanged with the pool, augmented."""
        values, conditions = self.step.values, self._conditions(translation, use, kind)
        x: Tensor = values[translation, node]
        given = 0
        if use.given:
            beside: list[Tensor] = [values[translation, name] for name in use.given]
            x, given = torch.cat([*beside, x], 1), sum(each.shape[1] for each in beside)
        if self.phase.side == "discriminator":
            x = x.detach()
            if kind == "fake" and use.history:
                x, conditions = self._exchange(x, conditions, translation, use)
        if use.augment:
            rng, clock = values[translation, "rng"], values[translation, "clock"]
            phase = f"{self.objective.phase_number(self.phase)}"
            x = self.objective.augmenter(use, x, given, rng, phase, clock)
        return x, conditions

    def _exchange(
        self, x: Tensor, conditions: Conditions, translation: Translation, use: DiscriminatorUse
    ) -> tuple[Tensor, Conditions]:
        """Exchange some fakes for earlier ones from the image pool, each with the conditions it was generated for."""
        differ = translation.target == "*" or self.step.values[translation, "target_attributes"]
        stored = conditions if differ and any(self._takes(use, name) for name in conditions) else {}
        rows = x
        if stored:  # a row of the pool holds a fake and its conditions
            rows = torch.cat([each.flatten(1) for each in (x, *(v.to(x)[:, None] for v in stored.values()))], 1)
        gathered, first, processes = rows, 0, self.objective.processes
        if processes and processes.world > 1:
            gathered, first = processes.gather(rows), processes.rank * len(rows)
        name = f"{translation}|{use.name}"
        rows = self.objective.history.exchange(name, rows, use.history, gathered, first)
        if not stored:
            return rows, conditions
        parts = torch.split(rows, [each[0].numel() for each in (x, *stored.values())], 1)
        columns = zip(stored.items(), parts[1:], strict=True)
        return parts[0].reshape(x.shape), {name: part.reshape(v.shape).to(v.dtype) for (name, v), part in columns}

    def _function(self, network: str, conditions: Conditions, full_precision: bool = False) -> DiscriminatorFunction:
        """Return a discriminator as a function of its input; a condition that is an integer holds for all samples."""

        def run(x: Tensor) -> DiscriminatorOutput:
            full = {
                name: torch.full((len(x),), value, device=x.device) if isinstance(value, int) else value
                for name, value in conditions.items()
            }
            every = self.step.with_stage(network, full)
            output: DiscriminatorOutput = self.objective.networks(network, x, every, full_precision=full_precision)
            return output

        return run

    def _other_tasks(self, translation: Translation) -> list[DiscriminatorFunction]:
        """Return the other tasks' discriminators, conditioned on their own task and domain, and the source's labels."""
        tasks, labels = list(self.plan.recipe.tasks), self.step.values[translation, "source_attributes"]
        found: dict[tuple[str, int, int], DiscriminatorFunction] = {}
        for other, uses in self.plan.discriminators.items():
            if other.task != translation.task and other.target != "*":
                for use in uses:
                    if not use.given and use.fake == "fake":
                        task, domain = tasks.index(other.task), self.plan.domains.index(other.target)
                        origin = {"origin": self.plan.domains.index(other.source)} if self._takes(use, "origin") else {}
                        conditions = {"task": task, "domain": domain, **origin, **labels}
                        if KEPT in labels:
                            conditions[KEPT] = self.objective.kept.masked(labels[KEPT], use, other.task)
                        found[use.network, task, domain] = self._function(use.network, conditions)
        return list(found.values())


def _nodes_of(use: DiscriminatorUse) -> tuple[tuple[str, str], ...]:
    """Return the node of each kind of a discriminator's inputs: real, fake and negative."""
    return ("real", use.real), ("fake", use.fake), ("negative", sides_of(use)[1])


def differentiating(phase: Phase, values: Iterable[str]) -> error_context:
    """Return the context of the backward pass of a phase, whose errors name its losses.

    Args:
        values: the names of the losses in the logs.
    """
    losses = ", ".join(dict.fromkeys(name.rpartition("/")[2] for name in values))
    return error_context(f"differentiating the losses of the {phase.side} phase: {losses}")


def log_name(term: Term) -> str:
    """Return the name of a loss in the logs: `translation/loss_G/name` or `translation/loss_D/name`."""
    return f"{term.translation}/{'loss_G' if term.side == 'generator' else 'loss_D'}/{term.loss}"


def owner_of(term: Term) -> str:
    """Return the name under which a term's buffers and random numbers are kept."""
    return f"{term.loss}/{term.translation}/{term.discriminator.name if term.discriminator else ''}"
