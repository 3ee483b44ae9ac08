"""The guardian of a run: it counts what looks wrong, and says when something must be done, and what."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from transgan.engine.guard_faults import LOOKS, of_gradients, of_state
from transgan.recipe.schema import Action, Fault, Guard
from transgan.runs.faults import WITHIN, Finding, Names, found, told

#: Looks at held-out samples in a row that count.
HELD_OUT = 3


@dataclass(frozen=True)
class Verdict:
    """What is wrong, and what is to be done about it."""

    action: Action
    fault: Fault
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


class Guardian:
    """What a run's faults come to so far. It is a part of the run, and saved with it. That of the main process counts:
    it alone looks at held-out samples.

    A fault counts once it was found in so many looks in a row. A checkpoint is good if nothing looked bad when it was
    saved, whether or not it counted yet.
    """

    def __init__(self, rules: Guard, names: Names):
        self.rules = rules
        self.names = names
        self.strikes: dict[str, int] = {}
        self.bad: set[str] = set()
        """What looked bad when it was last looked at: not every step shows every translation."""
        self.norms: dict[str, list[float]] = {}
        self.skipped: list[int] = []
        self.told: set[str] = set()
        self.begun = 0
        """The step from which the warm-up counts."""
        self.good = -1
        """The step of the newest good checkpoint; -1 for none."""
        self.rolled = 0
        self.factor = 1.0
        self.events: list[str] = []
        """What was said and done so far."""
        self.fell = -1
        """The step from which the run goes on by the fallback; -1 while it has not fallen back."""

    @property
    def healthy(self) -> bool:
        """Whether nothing looked bad when it was last looked at."""
        return not self.bad

    def skip(self, step: int) -> Verdict | None:
        """Takes in that a step was skipped."""
        self.skipped = [each for each in self.skipped if each > step - WITHIN] + [step]
        counted = found("not_finite", "", len(self.skipped), self.rules)
        return self._verdict(counted) if counted.bad else None

    def weights(self) -> Verdict:
        """What is to be done about weights that are not finite."""
        action = _at_least_stop(self.rules.action_on("not_finite"))
        return Verdict(action, "not_finite", "", "weights are not finite. Lower the learning rates ([optimizers])")

    def look(
        self, step: int, figures: Mapping[str, float], norms: Mapping[str, float]
    ) -> tuple[dict[str, float], list[Verdict]]:
        """Takes in a logged step; returns what to log of it, and what must be done.

        Args:
            figures: losses and figures of the state, by the names of metrics.jsonl.
            norms: of gradients, by network.
        """
        finite = {key: value for key, value in figures.items() if abs(value) < float("inf")}
        norms = {key: value for key, value in norms.items() if abs(value) < float("inf")}
        seen = [*of_state(finite, self.rules, self.names), *of_gradients(norms, self.norms, self.rules)]
        for name, norm in norms.items():
            self.norms[name] = [*self.norms.get(name, ()), float(f"{norm:.6g}")][-LOOKS:]
        record, verdicts = self._weigh(step, seen, self.rules.looks)
        return {**record, "guard/not_finite": sum(each > step - WITHIN for each in self.skipped)}, verdicts

    def look_held_out(self, step: int, seen: Iterable[Finding]) -> tuple[dict[str, float], list[Verdict]]:
        """The same of what was found on held-out samples."""
        return self._weigh(step, seen, HELD_OUT)

    def _weigh(self, step: int, seen: Iterable[Finding], looks: int) -> tuple[dict[str, float], list[Verdict]]:
        judged = [each for each in seen if self.rules.action_on(each.fault) != "off"]
        verdicts: list[Verdict] = []
        for each in judged:
            (self.bad.add if each.bad else self.bad.discard)(each.key)
            counts = each.bad and step - self.begun > self.rules.warmup
            self.strikes[each.key] = self.strikes.get(each.key, 0) + 1 if counts else 0
            enough = max(1, looks // 4) if each.fault == "exploding" else looks
            verdict = self._verdict(each)
            if self.strikes[each.key] >= enough and (verdict.action != "warn" or each.key not in self.told):
                verdicts.append(verdict)
                self.told.add(each.key)
        return {f"guard/{each.key}": float(f"{each.figure:.6g}") for each in judged}, verdicts

    def _verdict(self, finding: Finding) -> Verdict:
        action = self.rules.action_on(finding.fault)
        if finding.fault == "not_finite":
            action = _at_least_stop(action)
        return Verdict(action, finding.fault, finding.where, told(finding, self.rules, self.names))

    def roll_back(self, step: int) -> None:
        """The run goes on from a checkpoint at `step` with lower learning rates."""
        self.rolled += 1
        self.factor *= self.rules.lr_factor
        self._begin(step)

    def fall_back(self, step: int) -> None:
        """The run goes on from there by another objective."""
        self.fell, self.factor = step, 1.0
        self._begin(step)

    def _begin(self, step: int) -> None:
        self.begun, self.good = step, step
        self.strikes, self.bad, self.norms, self.skipped, self.told = {}, set(), {}, [], set()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {name: sorted(value) if isinstance(value, set) else value for name, value in self._parts()}

    def load(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint."""
        for name, value in self._parts():
            setattr(self, name, type(value)(state[name]))

    def _parts(self) -> list[tuple[str, Any]]:
        return [(name, value) for name, value in vars(self).items() if name not in ("rules", "names")]


def _at_least_stop(action: Action) -> Action:
    """A run cannot go on with numbers that are not finite."""
    return "stop" if action in ("off", "warn") else action
