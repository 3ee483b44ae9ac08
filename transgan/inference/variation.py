"""What a user may vary of a translation, and whether a model can do it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from torch import Tensor

from transgan.api.names import BATCH_INPUTS
from transgan.errors import UsageError
from transgan.plan import Direction, Plan
from transgan.plan.plan import ROLES
from transgan.text import Blank, listed, option

#: Bounds on what may be asked for: translations of a file, multiples of a change, and passes in a row.
MAX_SAMPLES, MAX_STRENGTH, MAX_PASSES = 1_000, 10, 1_000


@dataclass(frozen=True)
class Variation:
    """Which of a model's possible translations of an item is wanted."""

    seed: int = 0
    """Seed of latent codes."""
    sample: int = 0
    """Number of the translation: each has other latent codes."""
    name: str = ""
    """The item's name: items of different names have different codes, whatever is translated beside them."""
    reference: Tensor | None = None
    """A sample of the target domain whose style the translation takes, as `Translator.read_reference` returns it."""
    strength: float | None = None
    """How much of the change is made: 0 for none, 1 for all of it, more to exaggerate."""
    passes: int | None = None
    """How many passes in a row make the translation, of a model that takes several."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Further inputs of the item, such as its mask, by name, as `Translator.read_input` returns them."""


#: The translation where nothing is asked for.
PLAIN = Variation()


def check_variation(
    plan: Plan,
    samples: int | None,
    seed: int | None,
    has_reference: bool,
    strength: float | None,
    passes: int | None = None,
) -> None:
    """Check that a model can do what is asked for; says what it can.

    Raises:
        UsageError: it cannot, or a number is out of its range.
    """
    asked = {
        "samples": (samples is not None, "latents"),
        "seed": (seed is not None, "latents"),
        "reference": (has_reference, "reference"),
        "strength": (strength is not None, "strength"),
        "passes": (passes is not None, "passes"),
    }
    can = [option(name) for name, (_, needed) in asked.items() if plan.varies_by(needed)]
    why = {
        "latents": "this model has no latent codes: it gives one translation of each file",
        "reference": "this model takes no style from a reference",
        "strength": "this model cannot scale its change",
        "passes": "this model does not translate by a number of passes that can be chosen",
    }
    for name, (wanted, needed) in asked.items():
        if wanted and option(name) not in can:
            raise UsageError(f"{option(name)}: {why[needed]}. It can: {listed(can) or 'none of these'}")
    numbers = (("samples", samples, Integral), ("seed", seed, Integral), ("passes", passes, Integral))
    for name, number, kind in (*numbers, ("strength", strength, Real)):
        if number is not None and (isinstance(number, bool) or not isinstance(number, kind)):
            raise UsageError(f"{option(name, number)}: expected a number")
    if samples is not None and not 1 <= samples <= MAX_SAMPLES:
        raise UsageError(f"{option('samples', samples)}: expected a number from 1 to {MAX_SAMPLES:,}")
    if seed is not None and not 0 <= seed < 2**63:
        raise UsageError(f"{option('seed', seed)}: expected a whole number of 0 or more, below 2^63")
    if passes is not None and not 1 <= passes <= MAX_PASSES:
        raise UsageError(f"{option('passes', passes)}: expected a number from 1 to {MAX_PASSES:,}")
    if strength is not None and not 0 <= strength <= MAX_STRENGTH:  # also false for nan
        raise UsageError(f"{option('strength', strength)}: expected a number from 0 to {MAX_STRENGTH}")


def check_inputs(plan: Plan, direction: Direction, given: Collection[str], regions: bool = False) -> None:
    """Check that a direction's translations get the further inputs that they depend on, and no others.

    Args:
        given: the names of those that are given.
        regions: whether only regions are translated.

    Raises:
        UsageError: one is missing, is not used, or is not for regions.
    """
    graph, domain = plan.graph, direction.translation.source
    used = set(graph.closure(["fake"])) - set(graph.functions)
    own = [name for name in plan.recipe.inputs if f"source_{name}" in used]
    for name in given:
        if name not in own or f"{domain}.{name}" not in plan.input_media:
            what = f"[{direction.translation}] of this model takes no such input"
            raise UsageError(f"{option('inputs', name)}: {what}. It takes: {listed(own) or 'none'}")
    if given and regions:
        raise UsageError(
            f"{option('inputs')} is of a whole file, and only regions are translated; leave one of them out"
        )
    if missing := [name for name in own if name not in given]:
        raise UsageError(
            f"this model translates a file together with its '{missing[0]}'; give it with "
            f"{option('inputs', {missing[0]: Blank('PATH')})}"
        )
    in_training = {name for name in used if name not in (*BATCH_INPUTS, *(f"source_{each}" for each in own))}
    in_training |= used & {"target", *ROLES[2:], "pair_target_attributes"}
    if in_training:
        raise UsageError(
            f"this model cannot translate files: its nodes need '{min(in_training)}', which only training has"
        )
