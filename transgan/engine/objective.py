"""What a phase minimises: nodes made, discriminators asked, terms added up. Takes no step."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from transgan.api.protocols import Call, DiscriminatorOutput, Loss, Translation
from transgan.api.schedule import Clock
from transgan.data.draws import OwnDraws
from transgan.engine.augment import Augmenter
from transgan.engine.history import History
from transgan.engine.memory import Memory
from transgan.engine.networks import Networks
from transgan.engine.processes import Processes
from transgan.engine.state import State
from transgan.graph import Key, Step
from transgan.plan.plan import JUDGED, Judge, Plan, Term
from transgan.recipe.schema import Phase

Weighted = list[tuple[Term, float]]
Told = Mapping[str, Tensor]
Answers = dict[tuple[Translation, Judge | None], dict[str, Any]]
Around = dict[Translation, dict[str, Any]]


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
        self.state = State(plan, processes)
        self.memory = Memory(processes)
        self.augmenter = Augmenter(plan, self.memory)

    def step(self, leaves: Mapping[Key, Any], phases: list[Phase], clock: Clock) -> Step:
        """Makes the nodes that these phases share; they carry gradients only if a generator is to learn from them."""
        step = Step(self.plan.graph, self.networks, leaves)
        first = next((phase for phase in phases if phase.side == "generator"), None)
        wanted = {
            key: None
            for phase in phases
            for term, _ in self._terms(phase, leaves, clock)
            for key in self.plan.nodes_of(term)
        }
        self.networks.train_only(self.plan.trained(first) if first else ())
        with torch.set_grad_enabled(first is not None):
            step.make(wanted)
        return step

    def __call__(self, phase: Phase, step: Step, clock: Clock) -> tuple[Tensor | None, dict[str, Tensor]]:
        """The phase's total, or None if nothing counts now; and each loss unweighted, by `translation/side/loss`."""
        terms = self._terms(phase, step.values, clock)
        answers, around = self._ask(terms, phase, step)
        total: Tensor | None = None
        values: dict[str, Tensor] = {}
        weighted: list[tuple[Term, Tensor]] = []
        for term, weight in terms:
            more = {
                "other_discriminators": self._others(step, term.translation),
                **around[term.translation],
                **answers[term.translation, term.judge],
                **self._own(term, phase, step),
            }
            value = term.function(**step.arguments(term.translation, term.asked, term.loss, more))
            if "memory" in more:
                self.memory.note(_owner(term), more["memory"])
            weighted.append((term, weight * value))
            total = weighted[-1][1] if total is None else total + weighted[-1][1]
            name = f"{term.translation}/{phase.side}/{term.loss}"
            values[name] = values[name] + value.detach() if name in values else value.detach()
        self.state.see(phase, step.values, answers, weighted)
        return total, values

    def _terms(self, phase: Phase, held: Mapping[Key, Any], clock: Clock) -> Weighted:
        """The terms that count now, on the translations that the batch holds."""
        return [each for each in self.plan.terms_of(phase, clock) if (each[0].translation, "source") in held]

    def _own(self, term: Term, phase: Phase, step: Step) -> dict[str, Any]:
        """What nobody but this term has."""
        own: dict[str, Any] = {}
        if "memory" in term.asked:
            own["memory"] = self.memory.about(_owner(term))
        if "draws" in term.asked:
            draws = step.values[term.translation, "draws"]
            own["draws"] = OwnDraws(draws, f"{_owner(term)}|{self._number(phase)}")
        return own

    def _number(self, phase: Phase) -> int:
        return next(i for i, each in enumerate(self.plan.recipe.phases) if each is phase)

    def _ask(self, terms: Weighted, phase: Phase, step: Step) -> tuple[Answers, Around]:
        """What the terms want to know of discriminators, each of which sees all that it has to judge in one pass: by
        the judge, and by the translation for what is asked about all of its judges."""
        answers: Answers = defaultdict(dict)
        calls: dict[Key, Call] = {}
        wanted: dict[tuple[Translation, Judge], set[str]] = defaultdict(set)
        for term, _ in terms:
            if term.judge:
                wanted[term.translation, term.judge] |= set(term.asked) & set(JUDGED)
        for (translation, judge), names in wanted.items():
            answer = answers[translation, judge]
            told = self._conditions(step, translation, judge)
            answer["discriminator"] = self._asker(judge.network, told)
            for kind, node in (("real", judge.real), ("fake", judge.fake)):
                if names & {f"{kind}_output", f"{kind}_input"}:
                    x, conditions = self._shown(step, translation, judge, node, kind, phase, told)
                    answer[f"{kind}_input"] = x
                    if f"{kind}_output" in names:
                        calls[translation, f"{judge.name} on {node}"] = Call(judge.network, x, conditions)
        about = self._call_around(terms, phase, step, calls)
        outputs = step.run_all(calls)
        around: Around = defaultdict(dict)
        for (translation, name), asked in about.items():
            around[translation][name] = asked(outputs)
        for (translation, judge), names in wanted.items():
            for kind, node in (("real", judge.real), ("fake", judge.fake)):
                if f"{kind}_output" in names:
                    output = outputs[translation, f"{judge.name} on {node}"]
                    answers[translation, judge][f"{kind}_output"] = output
                    if kind == "real" and phase.side == "discriminator":
                        self.augmenter.watch(judge, output)
        return answers, around

    def _call_around(
        self, terms: Weighted, phase: Phase, step: Step, calls: dict[Key, Call]
    ) -> dict[Key, Callable[[Mapping[Key, Any]], Any]]:
        """Adds the calls for what terms ask about all judges at once; returns how to read each answer."""
        found: dict[Key, Callable[[Mapping[Key, Any]], Any]] = {}

        def call(translation: Translation, judge: Judge, node: str, key: Key) -> Key:
            if key not in calls:
                told = self._conditions(step, translation, judge)
                x, told = self._shown(step, translation, judge, node, "real", phase, told)
                calls[key] = Call(judge.network, x, told)
            return key

        for term, _ in terms:
            translation = term.translation
            for node in ("source", "reconstruction"):
                if f"{node}_outputs" in term.asked:
                    judges = [replace(each, real="source") for each in self.plan.judges_of_source(translation)]
                    keys = [call(translation, j, node, (translation, f"{j.name} back on {node}")) for j in judges]
                    found[translation, f"{node}_outputs"] = partial(_outputs, keys)
            if "fake_opinion" in term.asked:
                learned = self.plan.giving_opinions(translation)
                keys = [call(translation, j, j.fake, (translation, f"{j.name} on {j.fake}")) for j in learned]
                found[translation, "fake_opinion"] = partial(_opinion, keys, list(learned.values()))
        return found

    def _conditions(self, step: Step, translation: Translation, judge: Judge) -> Told:
        """What a discriminator is told: the task, and the domain and attributes that the sample should have.

        They are those of the real sample, for which the fake was made.
        """
        end = "source" if judge.real == "source" else "target"
        attributes: Told = step.values[translation, f"{end}_attributes"]
        domain = step.values[translation, f"{end}_domain"]
        return {"task": step.values[translation, "task"], "domain": domain, **attributes}

    def _shown(
        self, step: Step, translation: Translation, judge: Judge, node: str, kind: str, phase: Phase, told: Told
    ) -> tuple[Tensor, Told]:
        """What a judge sees: the node, beside what it is given, out of its history, augmented; and what it is told."""
        x: Tensor = step.values[translation, node]
        given = 0
        if judge.given:
            beside: Tensor = step.values[translation, judge.given]
            x, given = torch.cat([beside, x], 1), beside.shape[1]
        if phase.side == "discriminator":
            x, told = self._older(x.detach(), told, translation, judge, kind)
        if judge.augment:
            draws, clock = step.values[translation, "draws"], step.values[translation, "clock"]
            x = self.augmenter(judge, x, given, draws, f"{self._number(phase)}", clock)
        return x, told

    def _older(self, x: Tensor, told: Told, translation: Translation, judge: Judge, kind: str) -> tuple[Tensor, Told]:
        """Fakes, some of them exchanged for older ones, and what each was made for."""
        if kind != "fake" or not judge.history:
            return x, told
        differ = translation.target == "*" or self.plan.recipe.attributes
        remembered = told if differ and self.plan.networks[judge.network].conditionings else {}
        rows = x
        if remembered:  # in one row with the fake
            rows = torch.cat([each.flatten(1) for each in (x, *(v.to(x)[:, None] for v in remembered.values()))], 1)
        gathered, first = rows, 0
        if self.processes and self.processes.world > 1:
            gathered, first = self.processes.gather(rows), self.processes.rank * len(rows)
        rows = self.history.show(f"{translation}|{judge.name}", rows, judge.history, gathered, first)
        if not remembered:
            return rows, told
        parts = torch.split(rows, [each[0].numel() for each in (x, *remembered.values())], 1)
        older = zip(remembered.items(), parts[1:], strict=True)
        return parts[0].reshape(x.shape), {name: part.reshape(v.shape).to(v.dtype) for (name, v), part in older}

    def _asker(self, network: str, conditions: Told) -> Callable[[Tensor], DiscriminatorOutput]:
        def ask(x: Tensor) -> DiscriminatorOutput:
            output: DiscriminatorOutput = self.networks(network, x, conditions, precise=True)
            return output

        return ask

    def _others(self, step: Step, translation: Translation) -> list[Callable[[Tensor], DiscriminatorOutput]]:
        """The discriminators of the other tasks, each told its own task and domain, and the source's attributes."""
        askers: dict[tuple[str, int, int], Callable[[Tensor], DiscriminatorOutput]] = {}
        tasks = list(self.plan.recipe.tasks)
        for other, judges in self.plan.judges.items():
            if other.task != translation.task and other.target != "*":
                for judge in judges:
                    if judge.given is None and judge.fake == "fake":
                        key = (judge.network, tasks.index(other.task), self.plan.domains.index(other.target))
                        askers[key] = self._telling(*key, step.values[translation, "source_attributes"])
        return list(askers.values())

    def _telling(
        self, network: str, task: int, domain: int, attributes: Told
    ) -> Callable[[Tensor], DiscriminatorOutput]:
        def ask(x: Tensor) -> DiscriminatorOutput:
            numbers = {"task": task, "domain": domain}
            conditions = {name: torch.full((len(x),), number, device=x.device) for name, number in numbers.items()}
            output: DiscriminatorOutput = self.networks(network, x, {**conditions, **attributes})
            return output

        return ask


def _owner(term: Term) -> str:
    return f"{term.loss}/{term.translation}/{term.judge.name if term.judge else ''}"


def _outputs(keys: Sequence[Key], outputs: Mapping[Key, Any]) -> list[DiscriminatorOutput]:
    return [outputs[key] for key in keys]


def _opinion(keys: Sequence[Key], adversaries: Sequence[Loss], outputs: Mapping[Key, Any]) -> Tensor:
    """(N,) the mean opinion over discriminators, scales and positions."""
    opinions = []
    for key, loss in zip(keys, adversaries, strict=True):
        opinions += [loss.opinion(logits.detach()).flatten(1).mean(1) for logits in outputs[key].logits]
    return torch.stack(opinions).mean(0)
