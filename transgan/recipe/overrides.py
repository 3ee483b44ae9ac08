"""What `--set` says wins over what the file says."""

import tomllib
from collections.abc import Iterable
from typing import Any

from transgan.api.schedule import Schedule
from transgan.recipe.lines import DEEPEST, Keys, TooDeep, key_lines, split_key
from transgan.recipe.problems import Origin, Problems
from transgan.recipe.schema import Recipe
from transgan.recipe.slots import SLOTS
from transgan.recipe.words import found, is_unicode

LONGEST = 4096

_SCHEDULE = {field.alias or name for name, field in Schedule.model_fields.items()}
_SLOTS_OF_DATA = ("source", "default", "media")


class _Mistake(Exception):
    pass


def apply_overrides(table: dict[str, Any], overrides: Iterable[str], problems: Problems) -> None:
    """Puts each `a.b.c=value` into the recipe's table, in their order."""
    for override in overrides:
        try:
            keys, value = _read(override)
            _set(table, keys, value, Origin(override=override), problems)
        except _Mistake as mistake:
            problems.add_override(override, str(mistake))
    _win_over_stages(table, problems)


def _read(override: str) -> tuple[list[str], Any]:
    if len(override) > LONGEST:
        raise _Mistake(f"longer than {LONGEST} characters")
    parts = split_key(override)
    if parts is None:
        raise _Mistake("expected key=value, such as train.steps=500")
    keys, text = parts
    if not is_unicode(override):
        raise _Mistake("not a text in UTF-8")
    if len(keys) > DEEPEST:
        raise _Mistake(f"nested deeper than {DEEPEST} keys")
    return keys, _value(text.strip())


def _value(text: str) -> Any:
    """TOML, or else the text itself, so that paths need no quotation marks."""
    try:
        key_lines(f"value = {text}")
        table = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    except (TooDeep, ValueError, RecursionError) as error:
        raise _Mistake("the value is nested too deep, or is a number that is too large") from error
    return table["value"] if table.keys() == {"value"} else text


def _set(table: dict[str, Any], keys: list[str], value: Any, origin: Origin, problems: Problems) -> None:
    here: Any = table
    path: Keys = ()
    if keys[0] == "phases" and len(keys) > 1:  # the usual ones, to change
        usual = Recipe.model_fields["phases"].default
        table.setdefault("phases", [phase.model_dump(exclude_defaults=True) for phase in usual])
    for key, after in zip(keys, [*keys[1:], None], strict=True):
        step = _step(here, key, path)
        path = (*path, step)
        if after is None:
            break
        if isinstance(here, dict) and key not in here:
            here[key] = {}
            problems.made[path] = Origin(override=origin.override, sets=tuple(keys))
        here[step] = _opened(here[step], after, path, problems)
        here = here[step]
    if len(path) == 2 and path[0] == "losses" and is_weight(value) and isinstance(here.get(path[1]), dict):
        old = here[path[1]]  # a new weight keeps the loss's translations and options
        if not is_weight(old):
            here, path = old, (*path, "weight")
    for inside in [each for each in problems.origins if each[: len(path)] == path]:
        del problems.origins[inside]
    here[path[-1]] = value
    placed = Origin(override=origin.override, sets=path)
    problems.origins.update({(*path, *inside): placed for inside in _paths(value)})


def _step(here: Any, key: str, path: Keys) -> str | int:
    """A key as the step that it means: an index in a list."""
    if isinstance(here, dict):
        return key
    name = ".".join(map(str, path))
    if not isinstance(here, list):
        raise _Mistake(f"{name} is {found(here)}, not a table")
    if not (key.isascii() and key.isdigit() and len(key) < 9 and int(key) < len(here)):
        raise _Mistake(f"{name} is a list of {len(here)}; expected the number of an entry, counted from 0")
    return int(key)


def _opened(value: Any, key: str, path: Keys, problems: Problems) -> Any:
    """A value in its short form, as the table that it stands for, where `key` is to be set in it."""
    slot = (len(path) == 2 and path[0] in SLOTS) or (path[0] == "data" and path[1:] and path[1] in _SLOTS_OF_DATA)
    slot = slot or path == ("nodes",)
    word = None
    if path[0] == "losses" and len(path) == 2 and is_weight(value) and key not in _SCHEDULE:
        word = "weight"
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and key in _SCHEDULE:
        word = "from"
    elif slot and isinstance(value, str):
        word = "use"
    elif slot and value is True:
        return {}
    if word is None:
        return value
    move_origins(problems, path, word, value)
    return {word: value}


def move_origins(problems: Problems, path: Keys, word: str, value: Any) -> None:
    """Remembers where a value in its short form stood, now that it stands under a key of its own."""
    for inside in _paths(value):
        if origin := problems.origins.get((*path, *inside)):
            problems.origins[*path, word, *inside] = origin


def is_weight(value: Any) -> bool:
    """Whether a loss's value is its weight: a number or a schedule."""
    if isinstance(value, dict):
        return "from" in value
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _paths(value: Any, path: Keys = ()) -> Iterable[Keys]:
    yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inside:
        yield from _paths(each, (*path, key))


def _win_over_stages(table: dict[str, Any], problems: Problems) -> None:
    """`train.batch` and `data.size` from a `--set` hold in every stage, but for what was set there the same way."""
    stages = [each for each in _list(table.get("stages")) if isinstance(each, dict)]
    origins = problems.origins
    for index, stage in enumerate(stages):
        own = {key: origins.get(("stages", index, key), Origin()).override for key in ("batch", "size")}
        if origins.get(("train", "batch"), Origin()).override and not own["batch"]:
            stage.pop("batch", None)
        if (placed := origins.get(("data", "size"), Origin())).override and not own["size"]:
            size, largest = stage.get("size"), table["data"]["size"]
            if type(size) is int and type(largest) is int and size > largest:
                stage["size"] = largest
                origins["stages", index, "size"] = placed


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
