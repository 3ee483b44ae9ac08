"""What a plan translates, one named domain into another."""

from dataclasses import dataclass

from transgan.api.protocols import Translation
from transgan.plan.plan import Plan


@dataclass(frozen=True)
class Direction:
    """A translation between two named domains, and the plan's translation by which it is made."""

    shown: Translation
    made: Translation


def directions(plan: Plan) -> list[Direction]:
    """Every translation of a plan; those with targets drawn by chance are taken apart."""
    found = []
    for translation in plan.translations:
        if translation.target != "*":
            found.append(Direction(translation, translation))
        else:
            names = plan.recipe.tasks[translation.task].domains
            pairs = [(a, b) for a in names for b in names if a != b]
            found += [Direction(Translation(translation.task, a, b), translation) for a, b in pairs]
    return found
