"""Advice from the curves of a run, as a practitioner would give it: rules over the records of `metrics.jsonl`.

Each rule uses the newest part of the run and needs enough of it; a figure that is improving is left alone.
docs/explanation/reading_the_curves.md lists the rules with their thresholds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev
from typing import Any, Literal, get_args

from transgan.monitoring.faults import LossRoles, findings_of, message_of
from transgan.recipe.schema import Fault, Guard

#: Advice is based on the newest tenth of the run, and on no fewer than N records over M steps.
PART, RECORDS, STEPS = 0.1, 20, 200
#: While a run goes on: the most records that are kept (beyond it every second one is dropped); a check every N records.
KEPT, EVERY = 1000, 10

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Advice:
    """What is wrong with one translation, by which figures, and what helps."""

    severity: Literal["warning", "hint"]
    """`warning`: training on is of little use; `hint`: a weight may be worth changing."""
    rule: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.text}"


@dataclass(frozen=True)
class _Window:
    """The newest records of one translation."""

    records: Sequence[Record]
    where: str
    roles: LossRoles
    rules: Guard

    def values(self, name: str) -> list[float]:
        """Return a figure over time, without records that lack it or in which it is not finite."""
        found = [self._figure(record, name) for record in self.records]
        return [float(value) for value in found if isinstance(value, (int, float)) and abs(value) < float("inf")]

    def _figure(self, record: Record, name: str) -> Any:
        if name != "diagnostics/cycle_share":
            return record.get(f"{self.where}/{name}")
        cycle, adversarial = (record.get(f"{self.where}/diagnostics/{each}") for each in ("cycle", "adversarial"))
        if cycle is None or adversarial is None:
            return None
        return abs(cycle) / (abs(cycle) + abs(adversarial) or 1.0)

    def mean(self, name: str) -> float | None:
        """Return the mean of a diagnostic; None where there are too few values."""
        values = self.values(f"diagnostics/{name}")
        return fmean(values) if len(values) >= RECORDS // 2 else None

    def trend(self, name: str) -> float:
        """Return the mean of the second half of the window, divided by that of the first half; 1 for a constant."""
        values = self.values(f"diagnostics/{name}")
        first, second = fmean(values[: len(values) // 2]), fmean(values[len(values) // 2 :])
        return second / first if first > 0 else 1.0 if second <= 0 else float("inf")

    def means(self) -> dict[str, float]:
        """Return the mean of every loss and diagnostic with enough values."""
        begin = f"{self.where}/"
        names = dict.fromkeys(
            key.removeprefix(begin) for record in self.records for key in record if key.startswith(begin)
        )
        values = {name: self.values(name) for name in names}
        return {name: fmean(each) for name, each in values.items() if len(each) >= RECORDS // 2}

    @property
    def growing(self) -> bool:
        """Whether translations change more and more."""
        return self.mean("change") is not None and self.trend("change") > 1.1


def _known(fault: Fault, at: _Window) -> str | None:
    """Check a fault that the guardian knows too, by the means over the window."""
    if fault != "collapse" and at.growing:
        return None
    found = [each for each in findings_of(at.means(), at.where, at.rules, at.roles) if each.bad and each.fault == fault]
    return message_of(found[0], at.rules, at.roles) if found else None


def _timid(at: _Window) -> str | None:
    change, distance, recognised = at.mean("change"), at.mean("distance"), at.mean("recognised")
    if change is None or not distance or recognised is None:
        return None
    if change >= 0.05 * distance or recognised < 0.8 or at.growing:
        return None
    share = at.mean("cycle_share")
    beside = "" if share is None else f"; the cycle loss is {share:.0%} of the sum of cycle and adversarial loss"
    return (
        f"translations are timid: they change a sample by {change:.4f}, where samples of the two domains differ by "
        f"{distance:.3f} ({change / distance:.1%}, expected above 5%), and discriminators recognise {recognised:.0%} "
        f"of them{beside}. Lower the weight of {at.roles.names('cycle', default='the losses that hold them back')}, or "
        f"raise that of {at.roles.names('adversarial', default='the adversarial loss')}"
    )


def _dominated(at: _Window) -> str | None:
    share, recognised = at.mean("cycle_share"), at.mean("recognised")
    if share is None or recognised is None or share <= 0.9 or recognised < 0.9 or at.trend("cycle_share") < 0.98:
        return None
    return (
        f"the cycle loss dominates: it is {share:.0%} of the sum of cycle and adversarial loss (expected below 90%), "
        f"and discriminators recognise {recognised:.0%} of the translations. Lower the weight of "
        f"{at.roles.names('cycle', default='the cycle loss')}, or raise that of "
        f"{at.roles.names('adversarial', default='the adversarial loss')}"
    )


def _forgetting(at: _Window) -> str | None:
    back, change, distance = at.mean("reconstruction"), at.mean("change"), at.mean("distance")
    if back is None or not change or not distance:
        return None
    if back <= 0.3 * distance or back <= 0.5 * change or at.trend("reconstruction") < 0.95:
        return None
    return (
        f"reconstructions are poor, and do not get better: {back:.3f} off, where translations change {change:.3f} and "
        f"samples of the two domains differ by {distance:.3f} ({back / distance:.0%}, expected below 30%). Raise the "
        f"weight of {at.roles.names('cycle', default='the cycle loss')}"
    )


def _drifting(at: _Window) -> str | None:
    spread = at.mean("spread_of_level")
    if not spread:
        return None
    worst, band, least = 0.0, 0, 0.5 * spread
    while len(drifts := at.values(f"diagnostics/drift.{band}")) >= RECORDS // 2:
        drift, between = fmean(drifts), at.mean(f"between.{band}") or 0.0
        beyond = drift - min(max(drift, min(0.0, between)), max(0.0, between))
        if abs(beyond) > max(least, 3 * stdev(drifts) / len(drifts) ** 0.5, abs(worst)):
            worst = beyond
        band += 1
    if not worst:
        return None
    return (
        f"levels drift: the mean of a channel lies {worst:+.3f} outside the range from sources to real targets, among "
        f"which it varies by {spread:.3f} (expected below half of that). Raise the weight of "
        f"{at.roles.names('identity', default='an identity loss')}"
    )


#: In the order in which they are mended: only the first that applies to a translation is reported.
RULES: Sequence[tuple[str, Literal["warning", "hint"], Callable[[_Window], str | None]]] = (
    ("collapse", "warning", partial(_known, "collapse")),
    ("copying", "warning", partial(_known, "copying")),
    ("discriminator_wins", "warning", partial(_known, "discriminator_wins")),
    ("timid", "hint", _timid),
    ("cycle_dominates", "hint", _dominated),
    ("reconstruction", "hint", _forgetting),
    ("drift", "hint", _drifting),
)


def advise(records: Sequence[Record], roles: LossRoles | None = None, rules: Guard | None = None) -> list[Advice]:
    """Return advice on a run: at most one piece for each translation, none for a healthy run.

    Args:
        records: of metrics.jsonl, oldest first.
        roles: the recipe's losses.
        rules: the limits of faults that the guardian knows too, whether it acts on them or not.
    """
    suffix = "/diagnostics/change"
    translations = [key.removesuffix(suffix) for record in records for key in record if key.endswith(suffix)]
    found = []
    for where in dict.fromkeys(translations):
        if window := _newest(records, where, roles or LossRoles(), rules or Guard()):
            texts = ((rule, severity, text(window)) for rule, severity, text in RULES)
            found += [Advice(severity, rule, where, text) for rule, severity, text in texts if text][:1]
    return found


def _newest(records: Sequence[Record], where: str, roles: LossRoles, rules: Guard) -> _Window | None:
    """Return the newest records of a translation, on which advice is based; None while there are too few."""
    mine = [record for record in records if f"{where}/diagnostics/change" in record]
    if len(mine) < RECORDS:
        return None
    last, every = mine[-1]["step"], mine[-1]["step"] - mine[-2]["step"]
    begin = min(last - max(STEPS, PART * last) + every, mine[-RECORDS]["step"])  # a record stands for the steps before
    window = [record for record in mine if record["step"] >= begin]
    return _Window(window, where, roles, rules) if mine[0]["step"] <= begin else None


class Adviser:
    """Gives advice while a run goes on, each piece once; leaves the faults that the guardian watches to the guardian.

    Args:
        roles: the recipe's losses.
        rules: which faults the guardian watches, and their limits.
    """

    def __init__(self, roles: LossRoles, rules: Guard):
        self.roles = roles
        self.rules = rules
        self.records: list[Record] = []
        self.seen = 0
        self.reported: set[str] = set()
        self.watched: set[str] = {fault for fault in get_args(Fault) if rules.action_on(fault) != "off"}

    def rewind(self, records: Sequence[Record]) -> None:
        """Go back to where these are the records."""
        self.records = list(records)

    def update(self, record: Record) -> list[Advice]:
        """Take in a record; return new advice."""
        self.records.append(record)
        self.seen += 1
        if self.seen % EVERY:
            return []
        while len(self.records) > KEPT:
            self.records = self.records[::2]
        return [
            each
            for each in advise(self.records, self.roles, self.rules)
            if each.rule not in self.watched and self.is_new(f"{each.rule}/{each.where}")
        ]

    def is_new(self, key: str) -> bool:
        """Return whether this is the first report under a key."""
        new = key not in self.reported
        self.reported.add(key)
        return new

    def state_dict(self) -> dict[str, Any]:
        """Return what was reported; the records are in metrics.jsonl."""
        return {"seen": self.seen, "reported": sorted(self.reported)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` has returned."""
        self.seen = int(state["seen"])
        self.reported = set(state["reported"])
