"""Whether a trained generator uses its conditions: how far outputs differ when only a condition does.

`transgan.plan.conditioning` checks on untrained networks whether a condition can affect the output; this measures on
trained ones whether it does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from transgan.data.domains import Domains
from transgan.data.inputs import Side, assemble_inputs, further_inputs
from transgan.evaluation.evaluate import held_out_batches
from transgan.graph import Key
from transgan.networks import Networks
from transgan.plan import Direction, Plan
from transgan.schedule import Clock

#: A condition has no visible effect if outputs differ by less than this share of what a translation changes ...
OF_CHANGE = 0.01
#: ... or of the whole range of a sample, from -1 to 1.
OF_RANGE = 1e-3
RANGE = 2.0


@dataclass(frozen=True)
class Condition:
    """A condition of a generator: a translation, and possibly the end of an attribute's range."""

    direction: Direction
    attribute: str = ""
    end: float = 0.0
    """With an attribute: -1 for its least value or first one, 1 for its largest or last one."""

    def __str__(self) -> str:
        name = f"{self.direction.translation.task} -> {self.direction.translation.target}"
        return f"{name}, {self.attribute} {self.end:+g}" if self.attribute else name


@dataclass(frozen=True)
class ConditionEffect:
    """How a generator's outputs differ between two conditions."""

    first: Condition
    second: Condition
    difference: float = field(compare=False)
    """Mean absolute difference of outputs, as a share of the range of samples."""
    change: float = field(compare=False)
    """Mean absolute difference of outputs from their inputs, likewise."""

    @property
    def name(self) -> str:
        return f"{self.first} | {self.second}"

    @property
    def of_change(self) -> float:
        """1 where two translations differ as much as a translation differs from its input."""
        return self.difference / max(self.change, 1e-12)

    @property
    def invisible(self) -> bool:
        """Whether the condition has no visible effect."""
        return self.difference < OF_RANGE or self.of_change < OF_CHANGE

    def __str__(self) -> str:
        return (
            f"the condition has no visible effect: under '{self.first}' and '{self.second}' the generator's outputs "
            f"differ by {self.difference:.2%} of the range, {self.of_change:.1%} of what it changes"
        )


def conditions_of(plan: Plan) -> dict[str, list[Condition]]:
    """Return the conditions of each generator of a plan, by its name, without those that have a single one."""
    found: dict[str, dict[str, Condition]] = {}
    for direction in plan.directions:
        condition = Condition(direction)
        found.setdefault(plan.roles[direction.planned]["generator"], {}).setdefault(str(condition), condition)
    for name, known in found.items():
        for attribute in _attributes(plan, name):
            direction = next(iter(known.values())).direction
            for condition in (Condition(direction, attribute, -1.0), Condition(direction, attribute, 1.0)):
                known[str(condition)] = condition
    return {name: list(known.values()) for name, known in found.items() if len(known) > 1}


def pairs(known: list[Condition]) -> Iterator[tuple[Condition, Condition]]:
    """Yield those that differ in one thing: two translations, or the ends of one attribute."""
    for first, second in combinations(known, 2):
        if first.attribute == second.attribute:
            yield first, second


def _attributes(plan: Plan, network: str) -> list[str]:
    """Return the attributes that a generator is conditioned on."""
    of = {getattr(options, "of", None) for _, options in plan.networks[network].conditionings or ()}
    return [name for name in plan.recipe.attributes if name in of]


def measure_effects(
    plan: Plan, domains: Domains, networks: Networks, rows: int, device: Any, clock: Clock
) -> list[ConditionEffect]:
    """Measure, for each generator and each pair of its conditions, how far its outputs differ.

    Args:
        rows: held-out samples of each translation's source; a pair of translations uses those of both sources.
    """
    found = []
    for known in conditions_of(plan).values():
        batches: dict[str, tuple[Direction, Mapping[Key, Any]]] = {}
        for direction in {str(each.direction.translation): each.direction for each in known}.values():
            _, inputs = next(held_out_batches(plan, domains, direction, rows, rows, device, clock))
            batches[str(direction.translation)] = (direction, inputs)
        outputs = {
            (str(condition), name): _translate(plan, networks, condition, *batch)
            for condition in known
            for name, batch in batches.items()
            if not condition.attribute or name == str(condition.direction.translation)
        }
        for first, second in pairs(known):
            names = dict.fromkeys(str(each.direction.translation) for each in (first, second))
            x = torch.cat([batches[name][1][batches[name][0].planned, "source"] for name in names])
            a, b = (torch.cat([outputs[str(condition), name] for name in names]) for condition in (first, second))
            if a.shape != x.shape:
                continue  # of other channels than its input: there is no change to compare with
            change = (_distance(a, x) + _distance(b, x)) / 2
            found.append(ConditionEffect(first, second, _distance(a, b), change))
    return found


def _translate(
    plan: Plan, networks: Networks, condition: Condition, direction: Direction, inputs: Mapping[Key, Any]
) -> Tensor:
    """Translate a batch of `direction`, under a condition that may be another translation's."""
    planned, translation = condition.direction.planned, condition.direction.translation

    def side(end: str) -> Side:
        domain: Tensor = inputs[direction.planned, f"{end}_domain"]
        domain = torch.full_like(domain, plan.domains.index(getattr(translation, end)))
        attributes = dict(inputs[direction.planned, f"{end}_attributes"])
        if condition.attribute and end == "target":
            rows = attributes[condition.attribute]
            ends = torch.full_like(rows, condition.end) if rows.shape[1] == 1 else _one_hot(rows, condition.end)
            attributes[condition.attribute] = ends
        return Side(inputs[direction.planned, end], domain, attributes)

    rng, clock = inputs[direction.planned, "rng"], inputs[direction.planned, "clock"]
    changed = {(planned, name): x for name, x in further_inputs(plan, inputs, direction.planned).items()}
    changed |= assemble_inputs(plan, planned, side("source"), side("target"), rng, clock, training=False)
    fake: Tensor = networks.compute(changed, planned, ["fake"])["fake"]
    return fake


def _one_hot(rows: Tensor, end: float) -> Tensor:
    """Return the encoding of the first or the last of an attribute's values, for each row."""
    ends = torch.zeros_like(rows)
    ends[:, 0 if end < 0 else -1] = 1
    return ends


def _distance(x: Tensor, y: Tensor) -> float:
    return float((x - y).abs().mean()) / RANGE


def effects_table(effects: list[ConditionEffect]) -> dict[str, dict[str, float]]:
    """Return the entries of result.json: each pair's figures, rounded to six digits."""
    return {
        each.name: {name: float(f"{getattr(each, name):.6g}") for name in ("difference", "change", "of_change")}
        for each in effects
    }
