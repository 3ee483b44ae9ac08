"""Overrides of a recipe's values: `a.b.c=value`."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from transgan.recipe.describe import BACKSLASH, found, is_unicode
from transgan.recipe.diagnostics import Origin, Problems
from transgan.recipe.schema import Recipe
from transgan.recipe.slots import PENALTY_OF_FALLBACK, SLOTS, SLOTS_OF_DATA
from transgan.recipe.toml_lines import MAX_DEPTH, Keys, TooDeep, key_lines, split_key
from transgan.schedule import SCHEDULE_KEYS

MAX_LENGTH = 4096

#: Tables that are replaced as a whole, since their keys name what is in the data.
REPLACED: tuple[Keys, ...] = (("domains",), ("tasks",), ("inputs",), ("attributes",), ("train", "balance"))
#: Tables whose keys are the format's own: one that is set keeps the keys that it does not name.
SETTINGS = ("data", "train", "optimizers", "guard", "evaluate")

_SINGLE_SLOTS = (("nodes",), PENALTY_OF_FALLBACK, *(("data", key) for key in SLOTS_OF_DATA))


class _OverrideError(Exception):
    """An override that cannot be applied; the message says why."""


def apply_overrides(table: dict[str, Any], overrides: Iterable[str], problems: Problems) -> None:
    """Set the value of each override in the recipe's table, in place and in order; a later one wins.

    Args:
        table: the recipe, as read from TOML.
        overrides: such as `"train.steps=500"`; the value is TOML.
        problems: collects those that cannot be applied; records the origin of the values that are set.
    """
    for override in overrides:
        try:
            keys, value = _parse(override)
            for inner, each in settings_in(keys, value):
                _set(table, inner, each, Origin(override=override, sets=tuple(keys)), problems)
        except _OverrideError as error:
            problems.add_override(override, str(error))
    _override_stages(table, problems)


def settings_in(keys: Sequence[str], value: Any, slots: bool = False) -> Iterator[tuple[list[str], Any]]:
    """Yield what setting a value sets: of a table with settings each of its keys, of any other value the whole.

    Whole are empty tables, schedules and ranges (with `from`), slots, and the tables in REPLACED.

    Args:
        keys: where the value is set.
        slots: also keep the other keys of slots, unless `use` names the plugin, and of tables of slots.
    """
    if isinstance(value, Mapping) and not _is_whole(tuple(keys), value, slots):
        for key, each in value.items():
            yield from settings_in([*keys, key], each, slots)
    else:
        yield list(keys), value


def _is_whole(keys: Keys, table: Mapping[str, Any], slots: bool) -> bool:
    if not table or "from" in table or any(keys[: len(each)] == each for each in REPLACED):
        return True
    return "use" in table if slots else keys[0] not in SETTINGS or is_slot(keys)


def _parse(override: str) -> tuple[list[str], Any]:
    if len(override) > MAX_LENGTH:
        raise _OverrideError(f"longer than {MAX_LENGTH} characters")
    parts = split_key(override)
    if parts is None:
        raise _OverrideError("expected key=value, such as train.steps=500")
    keys, text = parts
    if not is_unicode(override):
        raise _OverrideError("not valid UTF-8")
    if len(keys) > MAX_DEPTH:
        raise _OverrideError(f"nested deeper than {MAX_DEPTH} keys")
    return keys, _parse_value(text.strip())


def _parse_value(text: str) -> Any:
    """Parse a value as TOML; where it is not TOML, return it as a string, so that paths need no quotation marks."""
    try:
        key_lines(f"value = {text}")
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        if len(text) > 1 and text[0] == text[-1] == '"' and "\\" in text:
            raise _OverrideError(f"not valid TOML: {BACKSLASH}") from None
        return text
    except (TooDeep, ValueError, RecursionError) as error:
        raise _OverrideError("the value is nested too deep, or is a number that is too large") from error
    return table["value"] if table.keys() == {"value"} else text


def _set(table: dict[str, Any], keys: list[str], value: Any, origin: Origin, problems: Problems) -> None:
    here: Any = table
    path: Keys = ()
    if keys[0] == "phases" and len(keys) > 1:  # a key of a default phase
        default = Recipe.model_fields["phases"].default
        table.setdefault("phases", [phase.model_dump(exclude_defaults=True) for phase in default])
    for key, after in zip(keys, [*keys[1:], None], strict=True):
        step = _key_or_index(here, key, path)
        path = (*path, step)
        if after is None:
            break
        if isinstance(here, dict) and key not in here:
            here[key] = {}
            problems.implicit[path] = origin
        here[step] = expand_short_form(here[step], after, path, problems)
        here = here[step]
    if len(path) == 2 and path[0] == "losses" and is_weight(value) and isinstance(here.get(path[1]), dict):
        old = here[path[1]]  # a new weight keeps the loss's translations and options
        if not is_weight(old):
            here, path = old, (*path, "weight")
    for inside in [each for each in problems.origins if each[: len(path)] == path]:
        del problems.origins[inside]
    here[path[-1]] = value
    if len(origin.sets) == len(keys):  # the whole value, and what it sets may be a key of its long form, or an index
        origin = replace(origin, sets=path)
    problems.origins.update({(*path, *inside): origin for inside in paths(value)})


def _key_or_index(here: Any, key: str, path: Keys) -> str | int:
    """Return a key of an override as the key of a table, or as the index of a list."""
    if isinstance(here, dict):
        return key
    name = ".".join(map(str, path))
    if not isinstance(here, list):
        raise _OverrideError(f"{name} is {found(here)}, not a table")
    if not (key.isascii() and key.isdigit() and len(key) < 9 and int(key) < len(here)):
        raise _OverrideError(f"{name} is a list of {len(here)}; expected the number of an entry, counted from 0")
    return int(key)


def expand_short_form(value: Any, key: str, path: Keys, problems: Problems) -> Any:
    """Return a value in its short form as a table, in which `key` is to be set; any other value as it is."""
    slot = is_slot(path)
    name = None
    if path[0] == "losses" and len(path) == 2 and is_weight(value) and key not in SCHEDULE_KEYS:
        name = "weight"
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and key in SCHEDULE_KEYS:
        name = "from"
    elif slot and isinstance(value, str):
        name = "use"
    elif slot and value is True:
        return {}
    if name is None:
        return value
    copy_origins(problems, path, name, value)
    return {name: value}


def is_slot(path: Keys) -> bool:
    """Return whether the value at a path is a slot, which a plugin fills."""
    return (len(path) == 2 and path[0] in SLOTS) or path in _SINGLE_SLOTS


def copy_origins(problems: Problems, path: Keys, name: str, value: Any) -> None:
    """Record the origin of a value that moves from `path` to the key `name` below it, and of all values inside."""
    for inside in paths(value):
        if origin := problems.origins.get((*path, *inside)):
            problems.origins[*path, name, *inside] = origin


def is_weight(value: Any) -> bool:
    """Return whether the value of a loss is its weight: a number or a schedule."""
    if isinstance(value, dict):
        return "from" in value
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def paths(value: Any, path: Keys = ()) -> Iterable[Keys]:
    """Yield the path of a value, and of every value inside."""
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield from paths(each, (*path, key))


def _override_stages(table: dict[str, Any], problems: Problems) -> None:
    """Let overrides of `train.batch` and `data.size` win over the file's stages, but not over overrides of stages."""
    stages = [each for each in _list(table.get("stages")) if isinstance(each, dict)]
    origins = problems.origins
    for index, stage in enumerate(stages):
        own = {key: origins.get(("stages", index, key), Origin()).override for key in ("batch", "size")}
        if origins.get(("train", "batch"), Origin()).override and not own["batch"]:
            stage.pop("batch", None)
        if (origin := origins.get(("data", "size"), Origin())).override and not own["size"]:
            size, largest = stage.get("size"), table["data"]["size"]
            if type(size) is int and type(largest) is int and size > largest:
                stage["size"] = largest
                origins["stages", index, "size"] = origin


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
