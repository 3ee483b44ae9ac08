"""Validation of a recipe: from the table that TOML contains to a `Recipe`."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from transgan.errors import did_you_mean
from transgan.recipe.describe import BACKSLASH, found
from transgan.recipe.diagnostics import Problems
from transgan.recipe.overrides import copy_origins, is_weight
from transgan.recipe.schema import Data, Recipe
from transgan.recipe.slots import PENALTY_OF_FALLBACK, SLOTS, SLOTS_OF_DATA, LossSlot, Section, Slot
from transgan.recipe.toml_lines import Keys

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MAX_INTEGER = 2**63
#: A path of Windows in double quotes, such as "C:\\temp", in which a backslash and a letter have become one character.
_UNESCAPED = re.compile(r"[A-Za-z]:[^\r\n]*?[\b\t\n\f\r\x1b]")


def validate(table: dict[str, Any], problems: Problems) -> Recipe | None:
    """Return a table as a recipe; where it is invalid, add all its problems and return None.

    Args:
        table: the recipe as read from TOML, in the newest version of the format. It is not changed.
        problems: collects the problems.
    """
    table = _add_augmentations(_check_values(table, (), problems), problems)
    _check_names(table, problems)
    _check_domains(table, problems)
    _check_stages(table, problems)
    expanded = _expand_slots(table, problems)
    return problems.validate(Recipe, expanded, ())


def _check_values(value: Any, path: Keys, problems: Problems) -> Any:
    """Return a copy in which 0 replaces invalid numbers, so that each is reported once; check paths of Windows."""
    if isinstance(value, dict):
        return {key: _check_values(each, (*path, key), problems) for key, each in value.items()}
    if isinstance(value, list):
        return [_check_values(each, (*path, index), problems) for index, each in enumerate(value)]
    if isinstance(value, str) and _UNESCAPED.match(value):
        problems.add(path, f"found {found(value, kind=False)}: {BACKSLASH}")
    if isinstance(value, float) and not math.isfinite(value):
        problems.add(path, f"found {value}, expected a finite number")
        return 0.0
    if isinstance(value, int) and not -_MAX_INTEGER <= value < _MAX_INTEGER:
        problems.add(path, "found a number of more than 64 bits")
        return 0
    return value


def _check_names(table: Mapping[str, Any], problems: Problems) -> None:
    """Check names, which become parts of file names and of patterns."""
    for section in ("domains", "tasks", *SLOTS):
        for name in _table(table.get(section)):
            if not _NAME.fullmatch(name):
                problems.add((section, name), "expected a name of letters, digits, '_' and '-', 64 at most")


def _check_domains(table: Mapping[str, Any], problems: Problems) -> None:
    """Check that every domain has a selection, and that tasks name existing domains."""
    domains = _table(table.get("domains"))
    for name, value in domains.items():
        if not isinstance(value, (str, dict)) or not value:
            problems.add(
                ("domains", name),
                f"found {found(value)}, expected a string (a folder, a glob) or a table (a selection), not empty",
            )
    for task, value in _table(table.get("tasks")).items():
        for key, domain in _domains_of_task(value):
            if domain not in domains and not problems.full:
                problems.add(("tasks", task, key), f"no domain '{domain}'. {did_you_mean(domain, domains)}")


def _domains_of_task(task: Any) -> Iterator[tuple[str, str]]:
    for key in ("between", "from", "to"):
        value = _table(task).get(key)
        for domain in value if isinstance(value, list) else [value]:
            if isinstance(domain, str):
                yield key, domain


def _check_stages(table: Mapping[str, Any], problems: Problems) -> None:
    """Check that stages name existing losses, and that their shares add up to 1."""
    stages = table.get("stages")
    stages = stages if isinstance(stages, list) else []
    losses = _table(table.get("losses"))
    for index, stage in enumerate(stages):
        for name in _table(_table(stage).get("losses")):
            if name not in losses and not problems.full:
                hint = did_you_mean(name, losses)
                problems.add(("stages", index, "losses", name), f"no loss '{name}'. {hint}")
    shares = [_table(stage).get("share") for stage in stages]
    numbers = [share for share in shares if isinstance(share, (int, float))]
    if stages and len(numbers) == len(shares) and abs(sum(numbers) - 1) > 1e-6:
        problems.add(("stages",), f"the shares add up to {sum(numbers):g}, not to 1")


def _add_augmentations(table: dict[str, Any], problems: Problems) -> dict[str, Any]:
    """Return the table with a slot for every augmentation that discriminators name and `[augmentations]` lacks."""
    slots = dict(_table(table.get("augmentations")))
    for name, discriminator in _table(table.get("discriminators")).items():
        named = _table(discriminator).get("augment")
        for index, each in enumerate(named) if isinstance(named, list) else ():
            if isinstance(each, str) and _NAME.fullmatch(each) and each not in slots:
                slots[each] = True
                problems.origins["augmentations", each] = problems.origin(("discriminators", name, "augment", index))
    return {**table, "augmentations": slots} if slots and isinstance(table.get("augmentations", {}), dict) else table


def _expand_slots(table: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """Return the table with every slot in its long form, and without slots that are `false`."""
    expanded = dict(table)
    for section, cls in SLOTS.items():
        if isinstance(slots := table.get(section), dict):
            expanded[section] = {
                name: _expand_slot(value, cls, (section, name), problems, name)
                for name, value in slots.items()
                if value is not False
            }
    if isinstance(data := table.get("data"), dict):
        expanded["data"] = {
            key: _expand_slot(value, Slot, ("data", key), problems, _default(Data, key, value))
            if key in SLOTS_OF_DATA
            else value
            for key, value in data.items()
        }
    if "nodes" in table:
        nodes = table["nodes"]
        expanded["nodes"] = _expand_slot(nodes, Slot, ("nodes",), problems, _default(Recipe, "nodes", nodes))
    if "penalty" in (fallback := _table(_table(table.get("guard")).get("fallback"))):
        penalty = _expand_slot(fallback["penalty"], Slot, PENALTY_OF_FALLBACK, problems, "gradient_penalty")
        expanded["guard"] = {**table["guard"], "fallback": {**fallback, "penalty": penalty}}
    return expanded


def _expand_slot(value: Any, cls: type[Slot], path: Keys, problems: Problems, name: str = "") -> Any:
    """Return a slot in its long form, with the plugin's options under `options`.

    A value that is no slot is returned as it is; the schema rejects it.

    Args:
        value: the slot: a plugin's name, a loss's weight, true, or a table.
        cls: the class of the slot, which has its keys.
        path: its path in the recipe.
        problems: records where the values of the long form come from.
        name: the default of `use`; empty where there is none, and true is no slot.
    """
    key = "use" if isinstance(value, str) else "weight" if cls is LossSlot and is_weight(value) else None
    if key:
        copy_origins(problems, path, key, value)
        value = {key: value}
    elif value is True and name:
        value = {}
    if not isinstance(value, dict):
        return value
    keys = cls.model_fields.keys() - {"options"}
    expanded = {key: each for key, each in value.items() if key in keys}
    if name:
        expanded.setdefault("use", name)
    return {**expanded, "options": {key: each for key, each in value.items() if key not in keys}}


def _default(cls: type[Section], key: str, value: Any) -> str:
    """Return the plugin of a slot that is given by options alone: that of the slot's default; empty if it has none."""
    default = cls.model_fields[key].default
    return default.use if isinstance(value, dict) and isinstance(default, Slot) else ""


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
