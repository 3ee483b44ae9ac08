"""What a phase minimises: nodes made, discriminators asked, terms added up. Takes no step."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from transgan.api.protocols import Call, DiscriminatorOutput, Translation
from transgan.api.schedule import Clock
from transgan.engine.history import History
from transgan.engine.networks import Networks
from transgan.engine.processes import Processes
from transgan.graph import Key, Step, asks
from transgan.plan.plan import JUDGED, Judge, Plan, Term
from transgan.recipe.schema import Phase

Weighted = list[tuple[Term, float]]
Answers = dict[tuple[Translation, Judge | None], dict[str, Any]]


class Objective:
    """The losses of a phase on a step's tensors.

    Args:
        processes: with whom history is kept in common; None for this process alone.
    """

    def __init__(self, plan: Plan, networks: Networks, processes: Processes | None = None):
        self.plan = plan
        self.networks = networks
        self.processes = processes
        self.history = History(plan.recipe.train.seed)

    def step(self, leaves: Mapping[Key, Any], phases: list[Phase], clock: Clock) -> Step:
        """Makes the nodes that these phases share; they carry gradients only if a generator is to learn from them."""
        step = Step(self.plan.graph, self.networks, leaves)
        first = next((phase for phase in phases if phase.side == "generator"), None)
        wanted = {
            key: None
            for phase in phases
            for term, _ in self.plan.terms_of(phase, clock)
            for key in self.plan.nodes_of(term)
        }
        self.networks.train_only(self.plan.trained(first) if first else ())
        with torch.set_grad_enabled(first is not None):
            step.make(wanted)
        return step

    def __call__(self, phase: Phase, step: Step, clock: Clock) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The phase's total, or None if nothing counts now; and each loss unweighted, by `translation/side/loss`."""
        terms = self.plan.terms_of(phase, clock)
        answers = self._ask(terms, phase, step)
        total: Tensor | None = None
        values: dict[str, Tensor] = {}
        for term, weight in terms:
            more = {"other_discriminators": self._others(term.translation), **answers[term.translation, term.judge]}
            value = term.function(**step.arguments(term.translation, term.function, term.loss, more))
            total = weight * value if total is None else total + weight * value
            name = f"{term.translation}/{phase.side}/{term.loss}"
            values[name] = values[name] + value.detach() if name in values else value.detach()
        return total, values

    def _ask(self, terms: Weighted, phase: Phase, step: Step) -> Answers:
        """What the terms want to know of their judges. A discriminator sees all that it has to judge in one pass."""
        answers: Answers = defaultdict(dict)
        calls: dict[Key, Call] = {}
        wanted: dict[tuple[Translation, Judge], set[str]] = defaultdict(set)
        for term, _ in terms:
            if term.judge:
                wanted[term.translation, term.judge] |= set(asks(term.function)) & set(JUDGED)
        for (translation, judge), names in wanted.items():
            answer = answers[translation, judge]
            conditions = self._conditions(step, translation, judge)
            answer["discriminator"] = self._asker(judge.network, conditions)
            for kind, node in (("real", judge.real), ("fake", judge.fake)):
                if names & {f"{kind}_output", f"{kind}_input"}:
                    answer[f"{kind}_input"] = self._shown(step, translation, judge, node, kind, phase)
                if f"{kind}_output" in names:
                    calls[translation, f"{judge.name} on {node}"] = Call(
                        judge.network, answer[f"{kind}_input"], conditions
                    )
        outputs = step.run_all(calls)
        for (translation, judge), names in wanted.items():
            for kind, node in (("real", judge.real), ("fake", judge.fake)):
                if f"{kind}_output" in names:
                    answers[translation, judge][f"{kind}_output"] = outputs[translation, f"{judge.name} on {node}"]
        return answers

    def _conditions(self, step: Step, translation: Translation, judge: Judge) -> dict[str, Tensor]:
        """What a discriminator is told: the task, and the domain of which the sample should be."""
        end = "source_domain" if judge.real == "source" else "target_domain"
        return {"task": step.values[translation, "task"], "domain": step.values[translation, end]}

    def _shown(self, step: Step, translation: Translation, judge: Judge, node: str, kind: str, phase: Phase) -> Tensor:
        x: Tensor = step.values[translation, node]
        if judge.given:
            x = torch.cat([step.values[translation, judge.given], x], 1)
        if phase.side == "generator":
            return x
        x = x.detach()
        if kind == "fake" and judge.history:
            gathered, first = x, 0
            if self.processes and self.processes.world > 1:
                gathered, first = self.processes.gather(x), self.processes.rank * len(x)
            return self.history.show(f"{translation}|{judge.name}", x, judge.history, gathered, first)
        return x

    def _asker(self, network: str, conditions: Mapping[str, Tensor]) -> Callable[[Tensor], DiscriminatorOutput]:
        def ask(x: Tensor) -> DiscriminatorOutput:
            output: DiscriminatorOutput = self.networks(network, x, conditions)
            return output

        return ask

    def _others(self, translation: Translation) -> list[Callable[[Tensor], DiscriminatorOutput]]:
        """The discriminators of the other tasks, each told its own task and domain."""
        askers: dict[tuple[str, int, int], Callable[[Tensor], DiscriminatorOutput]] = {}
        tasks = list(self.plan.recipe.tasks)
        for other, judges in self.plan.judges.items():
            if other.task != translation.task and other.target != "*":
                for judge in judges:
                    if judge.given is None and judge.fake == "fake":
                        key = (judge.network, tasks.index(other.task), self.plan.domains.index(other.target))
                        askers[key] = self._telling(*key)
        return list(askers.values())

    def _telling(self, network: str, task: int, domain: int) -> Callable[[Tensor], DiscriminatorOutput]:
        def ask(x: Tensor) -> DiscriminatorOutput:
            numbers = {"task": task, "domain": domain}
            conditions = {name: torch.full((len(x),), number, device=x.device) for name, number in numbers.items()}
            output: DiscriminatorOutput = self.networks(network, x, conditions)
            return output

        return ask
