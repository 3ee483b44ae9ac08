"""Labels that translations keep: the condition `kept` of discriminators, one-hot vectors side by side.

An entry is 0 where a sample has no such label, and where the task changes the label.
"""

from collections.abc import Mapping
from typing import Any

from transgan.errors import did_you_mean
from transgan.recipe import Problems
from transgan.recipe.schema import Recipe

#: The condition's name; `spec.attributes` has its length.
KEPT = "kept"


def kept_values(recipe: Recipe) -> dict[str, tuple[str, ...]]:
    """Return the values of each label that some discriminator keeps, in the order of the condition's blocks."""
    found: dict[str, tuple[str, ...]] = {}
    for slot in recipe.discriminators.values():
        for name in slot.keep:
            if name in recipe.attributes and (values := recipe.attributes[name].values):
                found[name] = tuple(values)
            elif name in recipe.tasks and name not in recipe.attributes:
                found[name] = tuple(recipe.tasks[name].domains)
    return found


def changes(recipe: Recipe, task: str, label: str) -> bool:
    """Return whether a task changes a label: its own domains, or one by which the source selects its domains."""
    if label == task and label not in recipe.attributes:
        return True
    domains: list[Any] = [recipe.domains.get(name) for name in recipe.tasks[task].domains]
    return any(isinstance(selection, Mapping) and label in selection for selection in domains)


def kept_mask(recipe: Recipe, keep: tuple[str, ...], task: str) -> list[float]:
    """Return 1 for each entry of the condition that a discriminator keeps in a task, else 0."""
    return [
        float(name in keep and not changes(recipe, task, name))
        for name, values in kept_values(recipe).items()
        for _ in values
    ]


def check_kept(recipe: Recipe, problems: Problems) -> None:
    """Report names in `keep` that are neither attributes with values nor tasks."""
    for slot_name, slot in recipe.discriminators.items():
        for i, name in enumerate(slot.keep):
            place = ("discriminators", slot_name, "keep", i)
            if name in recipe.attributes:
                if recipe.attributes[name].values is None:
                    problems.add(place, f"'{name}' is a number; expected a label with values")
            elif name not in recipe.tasks:
                hint = did_you_mean(name, [*recipe.attributes, *recipe.tasks])
                problems.add(place, f"there is no attribute and no task '{name}'. {hint}")
