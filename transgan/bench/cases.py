"""What is measured: a recipe, once as it is and once with other settings, on its own data or on noise."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from transgan import __version__
from transgan.api import Media, Options, SampleRng
from transgan.api.samples import Sample, Source
from transgan.errors import TRAINING_REMEDY, UsageError, as_user_error
from transgan.plan import Plan, make_plan
from transgan.recipe import Document, read_recipe
from transgan.recipe.slots import Slot
from transgan.registry import Registered, Registry
from transgan.rng import stable_hash
from transgan.text import expand_home, listed, option

#: Samples of noise in each domain.
COUNT = 32


@dataclass(frozen=True)
class Noise:
    """One sample."""

    domain: str
    index: int


def noise_of(media: type[Media[Options]]) -> type[Media[Options]]:
    """Return media of the same shapes whose samples, `Noise`, are uniform in [-1, 1]."""

    class NoiseMedia(media):  # type: ignore[valid-type, misc]
        ragged = False

        def decode(self, location: Noise) -> np.ndarray:
            rng = np.random.Generator(np.random.Philox(key=stable_hash(location.domain, location.index)))
            return rng.uniform(-1, 1, (self.channels, *self.space)).astype(np.float32)

        def batch(self, decoded: Tensor, rng: SampleRng | None, domains: Sequence[str]) -> Tensor:
            return decoded

    return NoiseMedia


class NoiseSource(Source):
    """A few samples of noise, without labels; those of the same name are pairs."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        return [Sample(f"{index:02}", Noise(domain, index)) for index in range(COUNT)]


def _only_media(selection: Any) -> Any:
    """Return of a domain's selection what is not said of its samples."""
    own = selection.get("media") if isinstance(selection, Mapping) else None
    return "noise" if own is None else {"media": own}


def make_plan_with_noise(document: Document) -> Plan:
    """Return the plan of a recipe whose source may be `noise` too: all of its media then give noise."""
    registry = Registry.installed()
    registry.entries["sources", "noise"] = Registered("sources", "noise", NoiseSource, "transgan", __version__)
    plan = make_plan(document, registry)
    if plan.sources[0] is NoiseSource:
        for media in (plan.media, plan.input_media):
            media.update({name: replace(each, cls=noise_of(each.cls)) for name, each in media.items()})
    return plan


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
        document = read_recipe(self.recipe, settings)
        recipe = document.recipe
        changes: dict[str, Any] = {"stages": [each.model_copy(update={"share": 1.0}) for each in recipe.stages[-1:]]}
        if self.noise:
            noise = {"source": Slot(use="noise"), "default": None, "root": None, "held_out": 0.0}
            changes["data"] = recipe.data.model_copy(update=noise)
            changes["domains"] = {name: _only_media(each) for name, each in recipe.domains.items()}
        return make_plan_with_noise(replace(document, recipe=recipe.model_copy(update=changes)))


def cases(recipe: Path, settings: Sequence[str], others: Sequence[str], noise: bool) -> list[Case]:
    """Return a recipe as it is, and where there are other settings, also with these.

    Args:
        others: settings; at most one may be another recipe, which then takes the place of the first.

    Raises:
        UsageError: several of them are recipes.
    """
    recipes = [each for each in others if "=" not in each]
    if len(recipes) > 1:
        raise UsageError(f"{option('vs')}: {listed(recipes)} are recipes; expected at most one, and settings KEY=VALUE")
    found = [Case(recipe, tuple(settings), noise, "as given")]
    if others:
        own = tuple(each for each in others if "=" in each)
        other = expand_home(Path(recipes[0])) if recipes else recipe
        found.append(Case(other, (*settings, *own), noise, ", ".join(others)))
    return found


def in_turns(count: int, rounds: int) -> Iterator[tuple[int, int]]:
    """Yield rounds and the cases of each: A B, then B A, so that what drifts meets both alike."""
    for number in range(rounds):
        for case in range(count) if number % 2 == 0 else reversed(range(count)):
            yield number, case


@contextmanager
def naming_remedies() -> Iterator[None]:
    """Say what helps where memory is short for a training step.

    Raises:
        OutOfMemory: in place of the error of whichever library has raised it.
    """
    try:
        yield
    except Exception as error:
        known = as_user_error(error, TRAINING_REMEDY)
        if known is None or known is error:
            raise
        raise known from error
