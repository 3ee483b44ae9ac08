"""From a table, as TOML gives it, to a typed recipe: short forms are written out, and names are looked up."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from transgan.errors import did_you_mean
from transgan.recipe.lines import Keys
from transgan.recipe.overrides import is_weight, move_origins
from transgan.recipe.problems import Problems
from transgan.recipe.schema import Recipe
from transgan.recipe.slots import SLOTS, LossSlot, Slot
from transgan.recipe.words import found, printable

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LARGEST = 2**63


#: Looks at the slots of a recipe that has mistakes already, so that those of plugins' options are told with them.
Inspection = Callable[[Mapping[tuple[str, ...], Mapping[str, Any]], Problems], None]


def understand(table: dict[str, Any], problems: Problems, inspect: Inspection | None = None) -> Recipe | None:
    """The recipe that a table means, or None, with every mistake among the problems."""
    table = _with_augmentations(_finite(table, (), problems), problems)
    _check_names(table, problems)
    _check_domains(table, problems)
    _check_stages(table, problems)
    whole = _written_out(table, problems)
    recipe = problems.validate(Recipe, whole, ())
    if problems and inspect:
        inspect(dict(_slots(whole)), problems)
    return recipe


def _slots(whole: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    """Every slot in its long form that names a plugin, and its place."""
    places = [(section, name) for section in SLOTS for name in _table(whole.get(section))]
    places += [("data", key) for key in ("source", "default", "media")]
    for section, name in places:
        slot = _table(_table(whole.get(section)).get(name))
        if isinstance(slot.get("use"), str) and isinstance(slot.get("options"), dict):
            yield (section, name), slot


def _finite(value: Any, path: Keys, problems: Problems) -> Any:
    """A copy without numbers that cannot be; the second look at them, by their section, is thereby spared."""
    if isinstance(value, dict):
        return {key: _finite(each, (*path, key), problems) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each, (*path, index), problems) for index, each in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        problems.add(path, f"found {value}, expected a finite number")
        return 0.0
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        problems.add(path, "found a number of more than 64 bits")
        return 0
    return value


def _check_names(table: Mapping[str, Any], problems: Problems) -> None:
    """Names become parts of files' names and of patterns."""
    for section in ("domains", "tasks", *SLOTS):
        for name in _table(table.get(section)):
            if not _NAME.fullmatch(name):
                problems.add((section, name), "expected a name of letters, digits, '_' and '-', 64 at most")


def _check_domains(table: Mapping[str, Any], problems: Problems) -> None:
    """Every domain says something, and every task names domains that there are."""
    domains = _table(table.get("domains"))
    for name, value in domains.items():
        if not isinstance(value, (str, dict)) or not value:
            problems.add(
                ("domains", name),
                f"found {found(value)}, expected a text (a folder, a glob) or a table (a selection), not empty",
            )
    for task, value in _table(table.get("tasks")).items():
        for key, domain in _named_domains(value):
            if domain not in domains and not problems.full:
                problems.add(("tasks", task, key), f"no domain '{printable(domain)}'. {did_you_mean(domain, domains)}")


def _named_domains(task: Any) -> Iterator[tuple[str, str]]:
    for key in ("between", "from", "to"):
        value = _table(task).get(key)
        for domain in value if isinstance(value, list) else [value]:
            if isinstance(domain, str):
                yield key, domain


def _check_stages(table: Mapping[str, Any], problems: Problems) -> None:
    """Stages make up the whole run, and change losses that there are."""
    stages = table.get("stages")
    stages = stages if isinstance(stages, list) else []
    losses = _table(table.get("losses"))
    for index, stage in enumerate(stages):
        for name in _table(_table(stage).get("losses")):
            if name not in losses and not problems.full:
                hint = did_you_mean(name, losses)
                problems.add(("stages", index, "losses", name), f"no loss '{printable(name)}'. {hint}")
    shares = [_table(stage).get("share") for stage in stages]
    numbers = [share for share in shares if isinstance(share, (int, float))]
    if stages and len(numbers) == len(shares) and abs(sum(numbers) - 1) > 1e-6:
        problems.add(("stages",), f"the shares add up to {sum(numbers):g}, not to 1")


def _with_augmentations(table: dict[str, Any], problems: Problems) -> dict[str, Any]:
    """The table with every augmentation that a discriminator names, also where nobody has given it options."""
    found = dict(_table(table.get("augmentations")))
    for name, slot in _table(table.get("discriminators")).items():
        named = _table(slot).get("augment")
        for index, each in enumerate(named) if isinstance(named, list) else ():
            if isinstance(each, str) and _NAME.fullmatch(each) and each not in found:
                found[each] = True
                problems.origins["augmentations", each] = problems.origin(("discriminators", name, "augment", index))
    return {**table, "augmentations": found} if found and isinstance(table.get("augmentations", {}), dict) else table


def _written_out(table: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """The table with every slot in its long form, and without those that are said to be false."""
    whole = dict(table)
    for section, cls in SLOTS.items():
        if isinstance(slots := table.get(section), dict):
            whole[section] = {
                name: _slot(value, cls, (section, name), problems, name)
                for name, value in slots.items()
                if value is not False
            }
    if isinstance(data := table.get("data"), dict):
        whole["data"] = {
            key: _slot(value, Slot, ("data", key), problems) if key in ("source", "default", "media") else value
            for key, value in data.items()
        }
    if "nodes" in table:
        whole["nodes"] = _slot(table["nodes"], Slot, ("nodes",), problems)
    return whole


def _slot(value: Any, cls: type[Slot], path: Keys, problems: Problems, name: str = "") -> Any:
    """A slot in its long form. What is no slot at all is left as it is, to be refused with its section."""
    word = "use" if isinstance(value, str) else "weight" if cls is LossSlot and is_weight(value) else None
    if word:
        move_origins(problems, path, word, value)
        value = {word: value}
    elif value is True and name:
        value = {}
    if not isinstance(value, dict):
        return value
    words = cls.model_fields.keys() - {"options"}
    said = {key: each for key, each in value.items() if key in words}
    if name:
        said.setdefault("use", name)
    return {**said, "options": {key: each for key, each in value.items() if key not in words}}


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
