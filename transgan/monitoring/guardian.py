"""The guardian of a run: counts findings, and decides when something must be done, and what."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from transgan.monitoring.detect import WINDOW, in_diagnostics, in_gradients
from transgan.monitoring.faults import WEIGHTS_NOT_FINITE, WITHIN, Finding, LossRoles, compare_with_limit, message_of
from transgan.recipe.schema import Action, Fault, Guard

#: Checks of held-out samples in a row that must find a fault before anything is done.
HELD_OUT_PATIENCE = 3


@dataclass(frozen=True)
class Verdict:
    """A fault, and the action that the recipe wants."""

    action: Action
    fault: Fault
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


class Guardian:
    """The faults of a run so far; part of the run's state. The main process's counts: it alone checks held-out samples.

    A fault calls for its action once it was found in N checks in a row. A checkpoint is good if the newest check of
    every kind found nothing, whether or not it would have called for an action.
    """

    def __init__(self, rules: Guard, roles: LossRoles):
        self.rules = rules
        self.roles = roles
        self.strikes: dict[str, int] = {}
        """For each finding, how many checks in a row have found it."""
        self.faulty: set[str] = set()
        """What the newest check of it found faulty: not every step covers every translation."""
        self.separated: set[str] = set()
        """Translations whose discriminators once distinguished real from fake; if they cannot later, it is no fault."""
        self.norms: dict[str, list[float]] = {}
        self.skipped: list[int] = []
        self.reported: set[str] = set()
        self.warmup_from = 0
        """The step from which the warm-up counts."""
        self.good_step = -1
        """The step of the newest good checkpoint; -1 for none."""
        self.rollbacks = 0
        self.lr_factor = 1.0
        self.events: list[str] = []
        """What was reported and done so far."""
        self.fallback_step = -1
        """The step from which the run goes on with the fallback objective; -1 before that."""

    @property
    def healthy(self) -> bool:
        """Whether the newest checks found nothing."""
        return not self.faulty

    def step_skipped(self, step: int) -> Verdict | None:
        """Take in a skipped step."""
        self.skipped = [each for each in self.skipped if each > step - WITHIN] + [step]
        finding = compare_with_limit("not_finite", "", len(self.skipped), self.rules)
        return self._verdict(finding) if finding.bad else None

    def weights_not_finite(self) -> Verdict:
        """Return the verdict on weights that are not finite."""
        action = _at_least_stop(self.rules.action_on("not_finite"))
        return Verdict(action, "not_finite", "", f"{WEIGHTS_NOT_FINITE}. Lower the learning rates ([optimizers])")

    def check_step(
        self, step: int, figures: Mapping[str, float], norms: Mapping[str, float]
    ) -> tuple[dict[str, float], list[Verdict]]:
        """Take in a logged step; return figures for its log, and verdicts.

        Args:
            figures: losses and diagnostics, as metrics.jsonl names them.
            norms: of gradients, by network.
        """
        finite = {key: value for key, value in figures.items() if abs(value) < float("inf")}
        norms = {key: value for key, value in norms.items() if abs(value) < float("inf")}
        findings = [
            *in_diagnostics(finite, self.rules, self.roles),
            *in_gradients(norms, self.norms, self.rules),
        ]
        for name, norm in norms.items():
            self.norms[name] = [*self.norms.get(name, ()), float(f"{norm:.6g}")][-WINDOW:]
        record, verdicts = self._count(step, findings, self.rules.patience)
        return {**record, "guard/not_finite": sum(each > step - WITHIN for each in self.skipped)}, verdicts

    def check_held_out(self, step: int, findings: Iterable[Finding]) -> tuple[dict[str, float], list[Verdict]]:
        """Take in findings on held-out samples; return figures for the log, and verdicts."""
        return self._count(step, findings, HELD_OUT_PATIENCE)

    def _count(self, step: int, findings: Iterable[Finding], patience: int) -> tuple[dict[str, float], list[Verdict]]:
        watched = [each for each in findings if self.rules.action_on(each.fault) != "off"]
        self.separated |= {each.where for each in watched if each.clear}
        verdicts: list[Verdict] = []
        for each in watched:
            if each.fault != "discriminator_blind":  # weights from before it learnt anything are no worse
                (self.faulty.add if each.bad else self.faulty.discard)(each.key)
            counts = each.bad and step - self.warmup_from > self.rules.warmup
            self.strikes[each.key] = self.strikes.get(each.key, 0) + 1 if counts else 0
            enough = max(1, patience // 4) if each.fault == "exploding" else patience
            warned = self._verdict(each).action == "warn" and each.key in self.reported
            if self.strikes[each.key] >= enough and not warned:
                verdicts.append(self._verdict(each))
                self.reported.add(each.key)
        return {f"guard/{each.key}": float(f"{each.figure:.6g}") for each in watched}, verdicts

    def _verdict(self, finding: Finding) -> Verdict:
        action = self.rules.action_on(finding.fault)
        if finding.fault == "not_finite":
            action = _at_least_stop(action)
        if finding.fault == "discriminator_blind" and action == "rollback":
            action = "warn"
        return Verdict(action, finding.fault, finding.where, message_of(finding, self.rules, self.roles))

    def rolled_back(self, step: int) -> None:
        """Note that the run goes on from a checkpoint at `step` with lower learning rates."""
        self.rollbacks += 1
        self.lr_factor *= self.rules.lr_factor
        self._start_again(step)

    def fell_back(self, step: int) -> None:
        """Note that the run goes on from a checkpoint at `step` with the fallback objective."""
        self.fallback_step, self.lr_factor = step, 1.0
        self._start_again(step)

    def _start_again(self, step: int) -> None:
        self.warmup_from, self.good_step = step, step
        self.strikes, self.faulty, self.norms, self.skipped, self.reported = {}, set(), {}, [], set()

    def state_dict(self) -> dict[str, Any]:
        """Return every attribute but the rules."""
        return {name: sorted(value) if isinstance(value, set) else value for name, value in self._state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` has returned."""
        state = {"separated": (), **state}  # checkpoints from before this was watched lack it
        for name, value in self._state():
            setattr(self, name, type(value)(state[name]))

    def _state(self) -> list[tuple[str, Any]]:
        return [(name, value) for name, value in vars(self).items() if name not in ("rules", "roles")]


def _at_least_stop(action: Action) -> Action:
    """A run cannot go on with numbers that are not finite."""
    return "stop" if action in ("off", "warn") else action
