"""Writes a recipe as it was resolved: every default filled in, and beside each value where it came from."""

import datetime
import math
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

from pydantic import BaseModel

from transgan.api.schedule import Schedule, constant
from transgan.recipe.lines import Keys
from transgan.recipe.reading import Document
from transgan.recipe.slots import Section, Slot

#: Longer lists and texts are broken into lines.
_WIDE = 100

_SCHEDULE = {field.alias or name for name, field in Schedule.model_fields.items()}

Filled = Mapping[tuple[str, ...], Mapping[str, Any] | BaseModel]


def write_recipe(document: Document, filled: Filled | None = None) -> str:
    """The recipe as TOML that `parse_recipe` reads back.

    `filled` has the plugins' options with their defaults, by the place of the slot: `("generators", "g")`,
    `("data", "source")`, `("nodes",)`. Options objects will do, and `dict(options)`.
    """
    writer = _Writer(document, filled or {})
    return "\n".join(writer.table(writer.members(document.recipe, ()), ())) + "\n"


class _Writer:
    def __init__(self, document: Document, filled: Filled):
        self.document = document
        self.filled = filled
        origins = document.problems.origins.items()
        overridden = [path for path, origin in origins if origin.override]
        self.changed = {path[:length] for path in overridden for length in range(len(path))}

    def table(self, values: Mapping[str, Any], path: Keys) -> Iterator[str]:
        """A table's own values, and then the tables in it."""
        for key, value in values.items():
            if not _has_header(value, (*path, key)):
                yield f"{_key(key)} = {value_in_toml(value)}  # {self._origin((*path, key))}"
        for key, value in values.items():
            if not _has_header(value, (*path, key)):
                continue
            for index, each in enumerate(value) if isinstance(value, list) else [(None, value)]:
                inside = (*path, key) if index is None else (*path, key, index)
                yield from self._headed(self.members(each, inside), inside)

    def _headed(self, values: Mapping[str, Any], path: Keys) -> Iterator[str]:
        own = any(not _has_header(value, (*path, key)) for key, value in values.items())
        name = ".".join(_key(key) for key in path if isinstance(key, str))
        if isinstance(path[-1], int):
            yield from ("", f"[[{name}]]")
        elif own or not values:  # TOML needs no header for a table of nothing but tables
            yield from ("", f"[{name}]")
        yield from self.table(values, path)

    def members(self, table: Section | Mapping[str, Any], path: Keys) -> dict[str, Any]:
        """What a table holds, under the keys of the recipe; what is not set cannot be written."""
        members = _fields(table)
        if isinstance(table, Slot):
            del members["options"]
            members |= {**table.options, **_fields(self.filled.get(tuple(map(str, path)), {}))}
        return {key: value for key, value in members.items() if _can_be_written(value)}

    def _origin(self, path: Keys) -> str:
        origin = self.document.problems.origins.get(path)
        if origin is None:
            return "default"
        if origin.override or origin.by:
            return origin.by or "--set"
        return f"{self.document.problems.name}:{origin.line}" + (", --set" if path in self.changed else "")


def _fields(table: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(table, BaseModel):
        return {field.alias or name: getattr(table, name) for name, field in type(table).model_fields.items()}
    return dict(table)


def _has_header(value: Any, path: Keys) -> bool:
    """Whether a value is written as a table with a header: those of the grammar, and those too wide for a line."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, Section) for each in value)
    if isinstance(value, dict):
        tables = bool(value) and all(isinstance(each, Section) for each in value.values())
        return tables or len(path) == 1 or max(map(len, value_in_toml(value).split("\n"))) > 10 * _WIDE
    return isinstance(value, Section)


def _can_be_written(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def value_in_toml(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, BaseModel):
        value = _fields(value)
    if isinstance(value, Mapping) and value.keys() == _SCHEDULE:
        bare = value["curve"] == "constant" and value == _fields(constant(value["from"]))
        value = value["from"] if bare else {key: each for key, each in value.items() if each != []}
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, Mapping):
        pairs = [f"{_key(str(key))} = {value_in_toml(each)}" for key, each in value.items() if _can_be_written(each)]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, (list, tuple, set, frozenset)):
        return _list(
            [value_in_toml(each) for each in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
        )
    return _text(str(value))


def _list(values: list[str]) -> str:
    if sum(len(each) + 2 for each in values) <= _WIDE:
        return f"[{', '.join(values)}]"
    lines = ["   "]
    for each in values:
        if len(lines[-1]) + len(each) > _WIDE:
            lines.append("   ")
        lines[-1] += f" {each},"
    return "\n".join(["[", *lines, "]"])


def _text(text: str) -> str:
    """A text in quotation marks; a long one over several lines, which TOML joins again."""
    if len(text) <= 10 * _WIDE:
        return f'"{_escaped(text)}"'
    parts = [_escaped(text[start : start + _WIDE]) for start in range(0, len(text), _WIDE)]
    # TOML drops the blanks that begin a joined line
    joined = "\\\n".join("\\u0020" + part[1:] if part.startswith(" ") else part for part in parts)
    return f'"""\\\n{joined}"""'


def _escaped(text: str) -> str:
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(each if each.isprintable() else _code(each) for each in plain)


def _code(letter: str) -> str:
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"


def _key(key: str | int) -> str:
    text = str(key)
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else f'"{_escaped(text)}"'
