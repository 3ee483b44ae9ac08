"""Whether a generator heeds what it is told: the same inputs, told two things, and how far the outputs differ.

`transgan.plan.reach` asks untrained networks whether a condition can reach the output; this asks trained ones whether
it does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from transgan.data.batches import leaves_of
from transgan.data.domains import Domains
from transgan.engine.evaluate import batches, make
from transgan.engine.networks import Networks
from transgan.graph import LEAVES
from transgan.plan import Plan
from transgan.plan.directions import Direction, directions

#: A condition has no visible effect if outputs differ by less than this share of what is changed at all ...
OF_CHANGE = 0.01
#: ... or of the whole range of a sample, from -1 to 1.
OF_RANGE = 1e-3
RANGE = 2.0


@dataclass(frozen=True)
class Telling:
    """Something that a generator can be told."""

    direction: Direction
    attribute: str = ""
    end: float = 0.0
    """With an attribute: what it is told as, -1 for the least and 1 for the most."""

    def __str__(self) -> str:
        told = f"{self.direction.shown.task} -> {self.direction.shown.target}"
        return f"{told}, {self.attribute} {self.end:+g}" if self.attribute else told


@dataclass(frozen=True)
class Heed:
    """How a generator's outputs differ between two tellings."""

    first: Telling
    second: Telling
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
    def none(self) -> bool:
        """Whether the condition has no visible effect."""
        return self.difference < OF_RANGE or self.of_change < OF_CHANGE

    def __str__(self) -> str:
        return (
            f"what the generator is told has no visible effect: told '{self.first}' or '{self.second}', its outputs "
            f"differ by {self.difference:.2%} of the range, {self.of_change:.1%} of what it changes"
        )


def tellings(plan: Plan) -> dict[str, list[Telling]]:
    """What each generator of a plan can be told, by its name; those that can be told only one thing are left out."""
    found: dict[str, dict[str, Telling]] = {}
    for direction in directions(plan):
        telling = Telling(direction)
        found.setdefault(plan.roles[direction.made]["generator"], {}).setdefault(str(telling), telling)
    for name, known in found.items():
        for attribute in _attributes(plan, name):
            direction = next(iter(known.values())).direction
            for telling in (Telling(direction, attribute, -1.0), Telling(direction, attribute, 1.0)):
                known[str(telling)] = telling
    return {name: list(known.values()) for name, known in found.items() if len(known) > 1}


def pairs(known: list[Telling]) -> Iterator[tuple[Telling, Telling]]:
    """Those that differ in one thing: two translations, or the ends of one attribute."""
    for first, second in combinations(known, 2):
        if first.attribute == second.attribute:
            yield first, second


def _attributes(plan: Plan, network: str) -> list[str]:
    """The attributes that a generator is told."""
    of = {getattr(options, "of", None) for _, options in plan.networks[network].conditionings or ()}
    return [name for name in plan.recipe.attributes if name in of]


def audit(plan: Plan, domains: Domains, networks: Networks, rows: int, device: Any) -> list[Heed]:
    """For each generator and each pair of things that it can be told, how far its outputs differ.

    Args:
        rows: held-out samples of each translation's source; both tellings of a pair are made of those of both.
    """
    found = []
    for known in tellings(plan).values():
        given: dict[str, Mapping[str, Any]] = {}
        for direction in {str(each.direction.shown): each.direction for each in known}.values():
            _, leaves = next(batches(plan, domains, direction, rows, rows, device))
            given[str(direction.shown)] = {name: value for (_, name), value in leaves.items() if name in LEAVES}
        made = {
            (str(told), inputs): _told(plan, networks, told, values)
            for told in known
            for inputs, values in given.items()
            if not told.attribute or inputs == str(told.direction.shown)
        }
        for first, second in pairs(known):
            names = dict.fromkeys(str(each.direction.shown) for each in (first, second))
            x = torch.cat([given[name]["source"] for name in names])
            a, b = (torch.cat([made[str(told), name] for name in names]) for told in (first, second))
            change = (_distance(a, x) + _distance(b, x)) / 2
            found.append(Heed(first, second, _distance(a, b), change))
    return found


def _told(plan: Plan, networks: Networks, told: Telling, values: Mapping[str, Any]) -> Tensor:
    """Outputs for inputs that may be another translation's, everything else left as it was there."""
    changed = {name: value for name, value in values.items() if name not in ("translation", "task")}
    for end in ("source", "target"):
        number = plan.domains.index(getattr(told.direction.shown, end))
        changed[f"{end}_domain"] = torch.full_like(values[f"{end}_domain"], number)
    if told.attribute:
        numbers = values["target_attributes"][told.attribute]
        ends = torch.full_like(numbers, told.end) if numbers.shape[1] == 1 else _one_of(numbers, told.end)
        changed["target_attributes"] = {**values["target_attributes"], told.attribute: ends}
    made = told.direction.made
    return make(plan, networks, made, leaves_of(plan, made, changed), ["fake"])["fake"]


def _one_of(numbers: Tensor, end: float) -> Tensor:
    """The first or the last of an attribute's values."""
    ends = torch.zeros_like(numbers)
    ends[:, 0 if end < 0 else -1] = 1
    return ends


def _distance(x: Tensor, y: Tensor) -> float:
    return float((x - y).abs().mean()) / RANGE


def told_of(found: list[Heed]) -> dict[str, dict[str, float]]:
    """What result.json says of each pair."""
    return {
        each.name: {name: float(f"{getattr(each, name):.6g}") for name in ("difference", "change", "of_change")}
        for each in found
    }
