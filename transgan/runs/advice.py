"""What the curves of a run mean, as a practitioner would say it: rules over the records of `metrics.jsonl`.

Each rule looks at the newest part of the run and needs enough of it; a figure that is on its way to mending is left
alone. docs/explanation/reading_the_curves.md has the rules with their thresholds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean, stdev
from typing import Any, Literal, get_args

from transgan.recipe.schema import Fault, Guard
from transgan.runs.faults import Names, found_in, told

#: A verdict rests on the newest tenth of the run, and on no less than so many records over so many steps.
PART, RECORDS, STEPS = 0.1, 20, 200
#: While a run goes on: records that are kept at most (then every second one is let go), and between two looks at them.
KEPT, EVERY = 1000, 10

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Advice:
    """What is wrong with one translation, by which figures, and what helps."""

    severity: Literal["warning", "hint"]
    """`warning`: training on is of little use as it is; `hint`: a weight may be worth changing."""
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
    names: Names
    rules: Guard

    def values(self, name: str) -> list[float]:
        """A figure over time; records without it, or in which it is not finite, are left out."""
        found = [self._figure(record, name) for record in self.records]
        return [float(value) for value in found if isinstance(value, (int, float)) and abs(value) < float("inf")]

    def _figure(self, record: Record, name: str) -> Any:
        if name != "state/cycle_share":
            return record.get(f"{self.where}/{name}")
        cycle, adversarial = (record.get(f"{self.where}/state/{each}") for each in ("cycle", "adversarial"))
        if cycle is None or adversarial is None:
            return None
        return abs(cycle) / (abs(cycle) + abs(adversarial) or 1.0)

    def mean(self, name: str) -> float | None:
        """The mean of a figure of the state; None where there is too little of it."""
        values = self.values(f"state/{name}")
        return fmean(values) if len(values) >= RECORDS // 2 else None

    def trend(self, name: str) -> float:
        """The mean of the second half of the window as a part of that of the first; 1 for one that stays."""
        values = self.values(f"state/{name}")
        first, second = fmean(values[: len(values) // 2]), fmean(values[len(values) // 2 :])
        return second / first if first > 0 else 1.0 if second <= 0 else float("inf")

    def means(self) -> dict[str, float]:
        """The mean of every loss and figure of the state that there is enough of."""
        begin = f"{self.where}/"
        names = dict.fromkeys(
            key.removeprefix(begin) for record in self.records for key in record if key.startswith(begin)
        )
        values = {name: self.values(name) for name in names}
        return {name: fmean(each) for name, each in values.items() if len(each) >= RECORDS // 2}

    @property
    def growing(self) -> bool:
        """Whether translations begin to change more."""
        return self.mean("change") is not None and self.trend("change") > 1.1


def _known(fault: Fault, at: _Window) -> str | None:
    """A fault that is defined for the guardian too, by the means over the window."""
    if fault != "collapse" and at.growing:
        return None
    found = [each for each in found_in(at.means(), at.where, at.rules, at.names) if each.bad and each.fault == fault]
    return told(found[0], at.rules, at.names) if found else None


def _timid(at: _Window) -> str | None:
    change, distance, recognised = at.mean("change"), at.mean("distance"), at.mean("recognised")
    if change is None or not distance or recognised is None:
        return None
    if change >= 0.05 * distance or recognised < 0.8 or at.growing:
        return None
    share = at.mean("cycle_share")
    beside = "" if share is None else f"; the cycle term is {share:.0%} of it and the adversarial one"
    return (
        f"translations are timid: they change a sample by {change:.4f}, where samples of the two domains differ by "
        f"{distance:.3f} ({change / distance:.1%}, expected above 5%), and discriminators tell {recognised:.0%} of "
        f"them{beside}. Lower the weight of {at.names.called('cycle', otherwise='what holds them back')}, or raise "
        f"that of {at.names.called('adversarial', otherwise='the adversarial loss')}"
    )


def _dominated(at: _Window) -> str | None:
    share, recognised = at.mean("cycle_share"), at.mean("recognised")
    if share is None or recognised is None or share <= 0.9 or recognised < 0.9 or at.trend("cycle_share") < 0.98:
        return None
    return (
        f"the cycle term dominates: it is {share:.0%} of it and the adversarial one (expected below 90%), and "
        f"discriminators tell {recognised:.0%} of the translations. Lower the weight of "
        f"{at.names.called('cycle', otherwise='the cycle loss')}, or raise that of "
        f"{at.names.called('adversarial', otherwise='the adversarial loss')}"
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
        f"weight of {at.names.called('cycle', otherwise='the cycle loss')}"
    )


def _drifting(at: _Window) -> str | None:
    spread = at.mean("spread_of_level")
    if not spread:
        return None
    worst, band, least = 0.0, 0, 0.5 * spread
    while len(drifts := at.values(f"state/drift.{band}")) >= RECORDS // 2:
        drift, between = fmean(drifts), at.mean(f"between.{band}") or 0.0
        beyond = drift - min(max(drift, min(0.0, between)), max(0.0, between))
        if abs(beyond) > max(least, 3 * stdev(drifts) / len(drifts) ** 0.5, abs(worst)):
            worst = beyond
        band += 1
    if not worst:
        return None
    return (
        f"levels drift: the mean of a channel lies {worst:+.3f} beyond what sources and "
        f"real targets have, among which it differs by {spread:.3f} (expected below half of that). Raise the weight of "
        f"{at.names.called('identity', otherwise='an identity loss')}"
    )


#: In the order in which they are cured: of one translation only the first that holds is told, others follow from it.
RULES: Sequence[tuple[str, Literal["warning", "hint"], Callable[[_Window], str | None]]] = (
    ("collapse", "warning", partial(_known, "collapse")),
    ("copying", "warning", partial(_known, "copying")),
    ("discriminator_wins", "warning", partial(_known, "discriminator_wins")),
    ("timid", "hint", _timid),
    ("cycle_dominates", "hint", _dominated),
    ("reconstruction", "hint", _forgetting),
    ("drift", "hint", _drifting),
)


def advise(records: Sequence[Record], names: Names | None = None, rules: Guard | None = None) -> list[Advice]:
    """What the records so far call for: at most one piece of advice a translation, nothing of a healthy run.

    Args:
        records: of metrics.jsonl, oldest first.
        names: what the recipe calls its losses.
        rules: the limits of faults that the guardian knows too, whether it acts on them or not.
    """
    translations = [
        key.rpartition("/state/")[0] for record in records for key in record if key.endswith("/state/change")
    ]
    found = []
    for where in dict.fromkeys(translations):
        if window := _newest(records, where, names or Names(), rules or Guard()):
            said = ((rule, severity, text(window)) for rule, severity, text in RULES)
            found += [Advice(severity, rule, where, text) for rule, severity, text in said if text][:1]
    return found


def _newest(records: Sequence[Record], where: str, names: Names, rules: Guard) -> _Window | None:
    """The newest records of a translation that a verdict may rest on; None while there are too few."""
    mine = [record for record in records if f"{where}/state/change" in record]
    if len(mine) < RECORDS:
        return None
    last, every = mine[-1]["step"], mine[-1]["step"] - mine[-2]["step"]
    begin = min(last - max(STEPS, PART * last) + every, mine[-RECORDS]["step"])  # a record stands for the steps before
    window = [record for record in mine if record["step"] >= begin]
    return _Window(window, where, names, rules) if mine[0]["step"] <= begin else None


class Adviser:
    """Listens to a run, and says each thing once; what the guardian judges it leaves to the guardian.

    Args:
        rules: which faults those are.
        records: of a run that goes on.
    """

    def __init__(self, names: Names, rules: Guard, records: Sequence[Record] = ()):
        self.names = names
        self.rules = rules
        self.records = list(records)
        self.heard = 0
        self.told: set[tuple[str, str]] = set()
        self.others: set[str] = {fault for fault in get_args(Fault) if rules.action_on(fault) != "off"}

    def hear(self, record: Record) -> list[Advice]:
        """Takes in a record; returns the advice that was not given before."""
        self.records.append(record)
        self.heard += 1
        if self.heard % EVERY:
            return []
        while len(self.records) > KEPT:
            self.records = self.records[::2]
        new = [
            each
            for each in advise(self.records, self.names, self.rules)
            if each.rule not in self.others and (each.rule, each.where) not in self.told
        ]
        self.told |= {(each.rule, each.where) for each in new}
        return new
