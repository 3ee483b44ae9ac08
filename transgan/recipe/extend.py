"""Recipes that extend another one: `extends = "cyclegan.toml"`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from transgan.recipe.diagnostics import Problems
from transgan.recipe.overrides import REPLACED, expand_short_form, is_slot, is_weight, paths
from transgan.recipe.toml_lines import Keys


def extend(base: dict[str, Any], problems_of_base: Problems, table: Mapping[str, Any], problems: Problems) -> None:
    """Set the values of a recipe in the table of the one that it extends, in place.

    Tables are merged key by key. Replaced as a whole are lists and single values, tables that are empty, schedules and
    ranges (with `from`), those in REPLACED, and slots that another plugin fills. A weight alone keeps the options of a
    loss, as with an override.

    Args:
        base: the table of the extended recipe; of its keys all but `name` are inherited.
        problems_of_base: knows where its values come from.
        table: the table of the recipe that extends it.
        problems: knows where the values of that one come from; afterwards also where the inherited ones do.
    """
    base.pop("name", None)
    own = problems.origins
    problems.origins = {
        keys: replace(origin, file=origin.file or problems_of_base.name)
        for keys, origin in problems_of_base.origins.items()
        if keys != ("name",)
    }

    def merge(here: dict[str, Any], changes: Mapping[str, Any], path: Keys) -> None:
        for key, value in changes.items():
            place = (*path, key)
            if key in here and _is_merged(here[key], value, place):
                old = here[key] = expand_short_form(here[key], next(iter(value)), place, problems)
                if isinstance(old, dict):
                    merge(old, value, place)
                    continue
            loss = here.get(key) if path == ("losses",) else None
            if isinstance(loss, dict) and is_weight(value) and not is_weight(loss):
                put(loss, "weight", value, (*place, "weight"), written=place)
            else:
                put(here, key, value, place, written=place)

    def put(here: dict[str, Any], key: str, value: Any, place: Keys, written: Keys) -> None:
        """Set a value at a place of the whole that is at the path `written` of the recipe."""
        if key in here:
            problems.origins = {keys: each for keys, each in problems.origins.items() if keys[: len(place)] != place}
        here[key] = value
        for inside in paths(value):
            if origin := own.get((*written, *inside)):
                problems.origins[*place, *inside] = origin

    merge(base, table, ())


def _is_merged(old: Any, new: Any, place: Keys) -> bool:
    """Return whether the keys of a table are set one by one in the value that is there, if that is a table too."""
    if not isinstance(new, dict) or not new or "from" in new or place in REPLACED:
        return False
    if not is_slot(place) or "use" not in new:
        return True
    name = place[-1]
    plugin = old if isinstance(old, str) else old.get("use", name) if isinstance(old, dict) else name
    return bool(new["use"] == plugin)
