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
    """Return whether a task changes a label.

    It changes one by which the source selects its domains, and that of a task which has a domain with it in common, or
    selects its domains by a label by which this one does, other than one that is the same in all domains of a task.
    """
    if label in recipe.attributes or label not in recipe.tasks:
        domains = _selections(recipe, task)
        return any(isinstance(selection, Mapping) and label in selection for selection in domains)
    common = {*recipe.tasks[task].domains} & {*recipe.tasks[label].domains}
    return bool(common or _differing(recipe, task) & _differing(recipe, label))


def _selections(recipe: Recipe, task: str) -> list[Any]:
    return [recipe.domains.get(name) for name in recipe.tasks[task].domains]


def _differing(recipe: Recipe, task: str) -> set[str]:
    """Return the labels by which the source selects the domains of a task, each in another way."""
    found = [each if isinstance(each, Mapping) else {} for each in _selections(recipe, task)]
    return {label for each in found for label in each if any(label not in x or x[label] != each[label] for x in found)}


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
