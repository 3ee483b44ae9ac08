"""Upgrade of recipes from version 1 of the format, in which earlier run folders and models are written, to version 2.

Version 2 has renamed two source plugins and one key, and the optimizers of a stage have no `use`.
"""

from collections.abc import Mapping
from typing import Any

from transgan.recipe.toml_lines import Keys

VERSION = 2
EXPECTED_VERSION = "2 (a file of version 1 is upgraded when it is read)"

#: New names of source plugins.
_SOURCES = {"drawn_faces": "synthetic_faces", "drawn_voices": "synthetic_voices"}
#: New names of keys, by section and old name.
_KEYS = {("guard", "looks"): "patience"}


def is_known_version(table: Mapping[str, Any]) -> bool:
    """Return whether a recipe's version is 1 or 2; a recipe without one has version 2."""
    version = table.get("version", VERSION)
    return type(version) is int and version in (1, VERSION)  # True == 1, and is not a version


def upgrade(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe of version 1 as one of version 2, and any other table as it is.

    Slots may have any form: a plugin's name, a table with `use` and options, or one with `use` and `options`.

    Args:
        table: the recipe as read from TOML or JSON, not validated yet. It is not changed.
    """
    upgraded = {**table}
    if not _is_version_1(table):
        return upgraded
    upgraded["version"] = VERSION
    for (section, old), (_, new) in renamed_keys(table).items():
        upgraded[str(section)] = {new if key == old else key: value for key, value in table[str(section)].items()}
    if isinstance(data := table.get("data"), Mapping):
        upgraded["data"] = {
            key: _upgrade_source(value) if key in ("source", "default") else value for key, value in data.items()
        }
    if isinstance(stages := table.get("stages"), list):
        upgraded["stages"] = [_upgrade_stage(stage) for stage in stages]
    return upgraded


def renamed_keys(table: Mapping[str, Any]) -> dict[Keys, Keys]:
    """Return the paths of the keys that `upgrade` renames in this table, each with its new path.

    A key is not renamed where the table has a key of the new name already: validation then reports the old one.
    """
    if not _is_version_1(table):
        return {}
    return {
        (section, old): (section, new)
        for (section, old), new in _KEYS.items()
        if isinstance(keys := table.get(section), Mapping) and old in keys and new not in keys
    }


def _is_version_1(table: Mapping[str, Any]) -> bool:
    return is_known_version(table) and table.get("version") == 1


def _upgrade_stage(stage: Any) -> Any:
    """Return a stage without the kind of its optimizers, which a stage could name and never had an effect."""
    if not (isinstance(stage, Mapping) and isinstance(optimizers := stage.get("optimizers"), Mapping)):
        return stage
    sides = {
        side: {key: value for key, value in each.items() if key != "use"} if isinstance(each, Mapping) else each
        for side, each in optimizers.items()
    }
    return {**stage, "optimizers": sides}


def _upgrade_source(slot: Any) -> Any:
    if isinstance(slot, str):
        return _SOURCES.get(slot, slot)
    if isinstance(slot, Mapping) and isinstance(name := slot.get("use"), str):
        return {**slot, "use": _SOURCES.get(name, name)}
    return slot
