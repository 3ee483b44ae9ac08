"""Writing of recipes with all defaults; a comment beside each value says where it comes from."""

import datetime
import math
import os
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from numbers import Integral, Real
from typing import Any

from pydantic import BaseModel

from transgan.errors import UsageError
from transgan.recipe.overrides import settings_in
from transgan.recipe.parse import Document
from transgan.recipe.slots import Section, Slot
from transgan.recipe.toml_lines import MAX_DEPTH, Keys, split_key
from transgan.schedule import SCHEDULE_KEYS, constant
from transgan.text import option

#: Longer lists and strings are written over several lines.
_MAX_WIDTH = 100

#: The comment beside a value that nobody has written.
DEFAULT = "default"

Filled = Mapping[tuple[str, ...], Mapping[str, Any] | BaseModel]
"""The options of plugins with their defaults, by the path of the slot."""


def write_recipe(document: Document, filled: Filled | None = None) -> str:
    """Return the recipe as TOML, which `parse_recipe` reads as an equal recipe.

    Args:
        document: the recipe, and the origin of its values.
        filled: the options of plugins with their defaults, by the path of the slot: `("generators", "g")`,
            `("data", "source")`, `("nodes",)`. By default only those options are written that the recipe contains.
    """
    writer = _Writer(document, filled or {})
    return "\n".join(writer.table(writer.members(document.recipe, ()), ())) + "\n"


class _Writer:
    """The lines of a recipe, table by table."""

    def __init__(self, document: Document, filled: Filled):
        self.document = document
        self.filled = filled
        origins = document.problems.origins.items()
        overridden = [path for path, origin in origins if origin.override]
        self.changed_inside = {path[:length] for path in overridden for length in range(len(path))}

    def table(self, values: Mapping[str, Any], path: Keys) -> Iterator[str]:
        """Yield the lines of a table's values, then those of the tables in it."""
        for key, value in values.items():
            if not _has_header(value, (*path, key)):
                yield f"{_key(key)} = {value_in_toml(value)}  # {self._origin((*path, key))}"
        for key, value in values.items():
            if not _has_header(value, (*path, key)):
                continue
            for index, each in enumerate(value) if isinstance(value, list) else [(None, value)]:
                inside = (*path, key) if index is None else (*path, key, index)
                yield from self._table_with_header(self.members(each, inside), inside)

    def _table_with_header(self, values: Mapping[str, Any], path: Keys) -> Iterator[str]:
        own = any(not _has_header(value, (*path, key)) for key, value in values.items())
        name = ".".join(_key(key) for key in path if isinstance(key, str))
        if isinstance(path[-1], int):
            yield from ("", f"[[{name}]]")
        elif own or not values:  # a table that contains only tables needs no header
            yield from ("", f"[{name}]")
        yield from self.table(values, path)

    def members(self, table: Section | Mapping[str, Any], path: Keys) -> dict[str, Any]:
        """Return the values of a table by the recipe's keys, without those that are None or not finite."""
        members = _fields(table)
        if isinstance(table, Slot):
            del members["options"]
            members |= {**table.options, **_fields(self.filled.get(tuple(map(str, path)), {}))}
        return {key: value for key, value in members.items() if _can_be_written(value)}

    def _origin(self, path: Keys) -> str:
        origin = self.document.problems.origins.get(path)
        if origin is None:
            return DEFAULT
        if origin.override or origin.by:
            return origin.by or option("overrides")
        changed = f", {option('overrides')}" if path in self.changed_inside else ""
        return self.document.problems.place(origin) + changed


def _fields(table: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(table, BaseModel):
        known = {field.alias or name: getattr(table, name) for name, field in type(table).model_fields.items()}
        return {**known, **(table.model_extra or {})}
    return dict(table)


def _has_header(value: Any, path: Keys) -> bool:
    """Return whether a value is written as a table with a header: a recipe's table, or one too long for a line."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, Section) for each in value)
    if isinstance(value, dict):
        tables = bool(value) and all(isinstance(each, Section) for each in value.values())
        return tables or len(path) == 1 or max(map(len, value_in_toml(value).split("\n"))) > 10 * _MAX_WIDTH
    return isinstance(value, Section)


def _can_be_written(value: Any) -> bool:
    return value is not None and not (isinstance(value, Real) and not _is_finite(value))


def value_in_toml(value: Any) -> str:
    """Return a value as TOML."""
    if isinstance(value, BaseModel):
        value = _fields(value)
    if isinstance(value, Mapping) and value.keys() == SCHEDULE_KEYS:
        plain = value["curve"] == "constant" and value == _fields(constant(value["from"]))
        value = value["from"] if plain else {key: each for key, each in value.items() if each != []}
    if isinstance(value, Enum):
        value = value.value
    if _is_bool(value):
        return "true" if value else "false"
    if isinstance(value, Integral):
        return repr(int(value))
    if isinstance(value, Real):  # NumPy writes a number of fewer bits with as few digits as tell it from others
        return repr(float(str(value) if hasattr(value, "dtype") else value))
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        pairs = [f"{_key(str(key))} = {value_in_toml(each)}" for key, each in value.items() if _can_be_written(each)]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, (list, tuple, set, frozenset)):
        ordered = sorted(value, key=_place_in_set) if isinstance(value, (set, frozenset)) else value
        return _write_list([value_in_toml(each) for each in ordered])
    return _write_string(str(value))


def _is_bool(value: Any) -> bool:
    return type(value).__name__ in ("bool", "bool_")  # the latter of NumPy, which is not imported for this


def _is_finite(value: Real) -> bool:
    return isinstance(value, Integral) or math.isfinite(value)  # a whole number may be too large for the latter


def _place_in_set(value: Any) -> tuple[Any, str]:
    """Return what the members of a set are sorted by: numbers by their size, before all else."""
    return (value, "") if isinstance(value, Real) else (math.inf, value_in_toml(value))


def as_overrides(values: Mapping[str, Any], argument: str = "overrides") -> list[str]:
    """Return values by key, `{"train.steps": 200}`, as the texts of overrides, `["train.steps=200"]`.

    Of a table, `{"train": {"steps": 200}}`, each key is set by itself, so that others keep their values.

    Args:
        argument: that they are given as, see `transgan.text.option`.

    Raises:
        UsageError: a value is of a type that recipes do not have.
    """
    for key, value in values.items():
        if value is None:
            raise UsageError(f"{option(argument, {key: value})}: found None; leave the key out for its default")
        if wrong := next(foreign_values(value, key), ""):
            raise UsageError(f"{option(argument)}: {wrong}")
    return [
        f"{'.'.join((key, *map(_key, inner)))}={value_in_toml(each)}"
        for key, value in values.items()
        for inner, each in _inside(key, value)
    ]


def _inside(key: str, value: Any) -> Iterator[tuple[list[str], Any]]:
    """Yield what a value sets, by the keys below its own."""
    keys = (split_key(f"{key}=") or ([key], ""))[0]
    return ((inner[len(keys) :], each) for inner, each in settings_in(keys, value, slots=True))


def foreign_values(value: Any, where: str, depth: int = 0) -> Iterator[str]:
    """Yield what in a value no recipe can have, and what to give instead.

    Args:
        where: its key, with those of the tables and lists that it is in.
        depth: the number of these.
    """
    if depth > MAX_DEPTH:  # before anything else looks into it, which would never end
        yield f"{where}: nested deeper than {MAX_DEPTH} tables and lists, or contains itself"
    elif isinstance(value, Enum):
        yield from foreign_values(value.value, where, depth + 1)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if not isinstance(key, str):
                yield f"{where}: found {type(key).__name__} as a name; expected a text"
            yield from foreign_values(each, f"{where}.{key}", depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for i, each in enumerate(value):
            yield from foreign_values(each, f"{where}.{i}", depth + 1)
    elif isinstance(value, Real) and type(value).__name__ != "timedelta64":  # to NumPy it is a whole number
        if not _is_finite(value):
            yield f"{where}: found {value}; expected a finite number"
        elif isinstance(value, Integral) and not -(2**63) <= int(value) < 2**63:
            yield f"{where}: found a number of more than 64 bits; expected one of at most 64"
    elif not _is_bool(value) and not isinstance(value, _KNOWN):
        known = "a number, a text, True or False, a date, or lists and tables of these"
        remedy = "; x.tolist() is one of an array or a tensor x" if hasattr(value, "tolist") else ""
        yield f"{where}: found {type(value).__name__}; expected {known}{remedy}"


#: Types, besides numbers, lists and tables, of which recipes have values.
_KNOWN = (str, os.PathLike, datetime.date, datetime.time, BaseModel)


def _write_list(values: list[str]) -> str:
    if sum(len(each) + 2 for each in values) <= _MAX_WIDTH:
        return f"[{', '.join(values)}]"
    lines = ["   "]
    for each in values:
        if len(lines[-1]) + len(each) > _MAX_WIDTH:
            lines.append("   ")
        lines[-1] += f" {each},"
    return "\n".join(["[", *lines, "]"])


def _write_string(text: str) -> str:
    """Return a string in quotation marks; a long one over several lines that TOML joins again."""
    if len(text) <= 10 * _MAX_WIDTH:
        return f'"{_escape(text)}"'
    parts = [_escape(text[start : start + _MAX_WIDTH]) for start in range(0, len(text), _MAX_WIDTH)]
    # TOML drops spaces at the start of a joined line
    joined = "\\\n".join("\\u0020" + part[1:] if part.startswith(" ") else part for part in parts)
    return f'"""\\\n{joined}"""'


def _escape(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(each if each.isprintable() else _escape_sequence(each) for each in escaped)


def _escape_sequence(character: str) -> str:
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else f"\\U{ord(character):08x}"


def _key(key: str | int) -> str:
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else f'"{_escape(text)}"'
