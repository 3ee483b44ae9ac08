"""What is measured: a recipe, once as it is and once with other settings, on its own data or on noise."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from transgan import __version__
from transgan.api.samples import Sample, Source
from transgan.plan import Plan, make_plan
from transgan.recipe import read_recipe
from transgan.registry import Registered, Registry
from transgan.rng import stable_hash
from transgan.text import expand_home

#: Samples of noise in each domain.
COUNT = 32


@dataclass(frozen=True)
class Noise:
    """One sample; call it with its size: a side, or one for each axis."""

    domain: str
    index: int

    def __call__(self, size: Any) -> np.ndarray:
        rng = np.random.Generator(np.random.Philox(key=stable_hash(self.domain, self.index)))
        sides = (size, size) if isinstance(size, int) else tuple(size)
        return rng.integers(0, 256, (*sides, 3), dtype=np.uint8)


class NoiseSource(Source):
    """A few samples of noise, without labels; those of the same name are pairs."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        return [Sample(f"{index:02}", Noise(domain, index)) for index in range(COUNT)]


def registry_with_noise() -> Registry:
    """Return the installed plugins, and the source `noise`."""
    registry = Registry.installed()
    registry.entries["sources", "noise"] = Registered("sources", "noise", NoiseSource, "transgan", __version__)
    return registry


@dataclass(frozen=True)
class Case:
    """A recipe with settings."""

    recipe: Path
    settings: tuple[str, ...]
    noise: bool
    """Whether its data are replaced by noise."""
    label: str
    """What sets it apart from the other one."""

    def plan(self, *further: str) -> Plan:
        """Return the plan without metrics, and of stages the last alone: what is measured does not change meanwhile.

        Args:
            further: settings that the measurement needs.
        """
        settings = [*self.settings, *further, "metrics={}", 'evaluate.keep_best=""']
        if self.noise:
            settings = ["data.source=noise", "data.held_out=0", *settings]
            settings += [f"domains.{name}={name}" for name in read_recipe(self.recipe, settings).recipe.domains]
        document = read_recipe(self.recipe, settings)
        last = [each.model_copy(update={"share": 1.0}) for each in document.recipe.stages[-1:]]
        alone = replace(document, recipe=document.recipe.model_copy(update={"stages": last}))
        return make_plan(alone, registry_with_noise())


def cases(recipe: Path, settings: Sequence[str], others: Sequence[str], noise: bool) -> list[Case]:
    """Return a recipe as it is, and where there are other settings, also with these.

    Args:
        others: settings; at most one may be another recipe, which then takes the place of the first.
    """
    found = [Case(recipe, tuple(settings), noise, "as given")]
    if others:
        own = tuple(each for each in others if "=" in each)
        other = next((expand_home(Path(each)) for each in others if "=" not in each), recipe)
        found.append(Case(other, (*settings, *own), noise, ", ".join(others)))
    return found


def in_turns(count: int, rounds: int) -> Iterator[tuple[int, int]]:
    """Yield rounds and the cases of each: A B, then B A, so that what drifts meets both alike."""
    for number in range(rounds):
        for case in range(count) if number % 2 == 0 else reversed(range(count)):
            yield number, case
