"""The problems of one recipe: collected as one line each, and raised together."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, to_jsonable_python

from transgan.errors import Problem, RecipeError, SeveralProblems, did_you_mean
from transgan.recipe.describe import expected, found, json_schema, known_keys, quoted, subschema
from transgan.recipe.slots import SLOTS, SLOTS_OF_DATA
from transgan.recipe.toml_lines import Keys
from transgan.text import Blank, option, printable

M = TypeVar("M", bound=BaseModel)

#: Number of keys that messages write as the table, in brackets, by section; 1 for sections that are not listed.
_TABLE_DEPTH = {**dict.fromkeys(SLOTS, 2), "tasks": 2, "attributes": 2, "optimizers": 2, "phases": 2, "stages": 2}
#: Keys of the top level that messages write without a table.
_TOP_LEVEL = ("version", "extends", "name", "nodes")
#: Number of problems after which no more are collected.
MAX_PROBLEMS = 100


class OverrideByFlag(str):
    """An override that stands for another flag: `metrics.frechet=true` for `--metric frechet`."""

    flag: str
    """What was given, which messages show."""

    def __new__(cls, override: str, flag: str) -> "OverrideByFlag":
        made = super().__new__(cls, override)
        made.flag = flag
        return made


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: a line of the file, an override, or the program."""

    line: int = 0
    """Counted from 1; 0 where the value is not from a file."""
    file: str = ""
    """The file of the line, where it is not the recipe's own but one that it extends."""
    override: str = ""
    """The override, as given: `"train.steps=500"`."""
    sets: Keys = ()
    """Path of the value that the override sets."""
    by: str = ""
    """The part of the program that sets the value."""


Origins = dict[Keys, Origin]


class Problems:
    """Collects the problems of a recipe, each in one line: where it is, what was found and what was expected.

    Args:
        name: the recipe's file.
        origins: where each value comes from, by its path.
        argument: what overrides are given as, see `transgan.text.option`.
    """

    def __init__(self, name: str, origins: Origins | None = None, argument: str = "overrides"):
        self.name = printable(name)
        self.argument = argument
        self.origins: Origins = {} if origins is None else origins
        self.implicit: Origins = {}
        """Tables that exist only because an override sets a key in them."""
        self._lines: dict[Problem, tuple[int, str, int]] = {}  # each with its rank in the report
        self._reported: set[Keys] = set()

    def __bool__(self) -> bool:
        return bool(self._lines)

    @property
    def full(self) -> bool:
        """Whether the limit of problems is reached, so that no more should be added."""
        return len(self._lines) >= MAX_PROBLEMS

    def add(self, path: Sequence[str | int], message: str) -> None:
        """Add a problem of the value at a path of the recipe."""
        keys = tuple(path)
        self._reported.add(keys)
        origin = self.origin(keys)
        if origin.override:
            rest = _dotted(keys[len(origin.sets) :])
            self.add_override(origin.override, f"{rest}: {message}" if rest else message, _dotted(keys), message)
        else:
            place = self.place(origin)
            label = _label(keys)
            line = printable(f"{place}: {label}: {message}" if label else f"{place}: {message}")
            file, number = printable(origin.file or self.name), origin.line or None
            problem = Problem(line, printable(message), file, number, printable(_dotted(keys)) or None)
            self._lines.setdefault(problem, (0, origin.file, origin.line))

    def add_override(self, override: str, message: str, key: str = "", short: str = "") -> None:
        """Add a problem of an override.

        Args:
            key: that it is about; defaults to the one that is set.
            short: the message without the key.
        """
        shown = _shortened(override)
        name, equals, value = shown.partition("=")
        given = option(self.argument, {name: Blank(value)} if equals else shown)
        if isinstance(override, OverrideByFlag):
            given = _shortened(override.flag)
        key = key or override.partition("=")[0].strip()
        problem = Problem(printable(f"{given}: {message}"), printable(short or message), key=printable(key) or None)
        self._lines.setdefault(problem, (1, "", 0))

    def place(self, origin: Origin) -> str:
        """Return the file, and the line if it is known, that a value comes from."""
        file = origin.file or self.name
        return f"{file}:{origin.line}" if origin.line else file

    def origin(self, path: Keys) -> Origin:
        """Return where a value comes from; where it has no origin, that of the closest table around it."""
        if path not in self.origins and path in self.implicit:
            return self.implicit[path]
        around = (path[:length] for length in range(len(path), 0, -1))
        return next((self.origins[keys] for keys in around if keys in self.origins), Origin())

    def overridden(self, path: Keys) -> Keys:
        """Return the path of the first value in a table that an override sets; the table's own where none does."""
        overrides = (keys for keys, origin in self.origins.items() if origin.override and keys[: len(path)] == path)
        return next(overrides, path)

    def validate(self, model: type[M], table: Mapping[str, Any], path: Sequence[str | int]) -> M | None:
        """Return the table as a model; where it is invalid, add all its problems and return None.

        Args:
            model: the class of the table.
            table: the values.
            path: the table's path in the recipe.
        """
        try:
            try:  # JSON, since pydantic then accepts a list for a tuple, and is otherwise as strict
                return model.model_validate_json(json.dumps({**_default_paths(model), **table}))
            except TypeError:  # TOML has types that JSON lacks, such as dates
                return model.model_validate(table)
        except ValidationError as error:
            errors = error.errors(include_url=False)
            for each in errors:
                if not self.full:
                    self._add_error(model, table, tuple(path), each, errors)
        return None

    def _add_error(
        self, model: type[BaseModel], table: Any, path: Keys, error: ErrorDetails, errors: Sequence[ErrorDetails]
    ) -> None:
        """Add one of pydantic's errors, in the words of the recipe."""
        root = json_schema(model)
        schema, value, inner = root, table, list(error["loc"])
        keys = path
        while inner and (_contains(value, inner[0]) or (len(inner) > 1 and _contains(value, inner[1]))):
            if not _contains(value, inner[0]):
                del inner[0]  # the name of a union's member
            key = inner.pop(0)
            around, schema, value, keys = schema, subschema(root, schema, key), value[key], (*keys, key)
        kind = error["type"]
        wrong_type = kind.endswith("_type")
        around_union = error["loc"][: len(error["loc"]) - len(inner)]
        deeper = any(_goes_deeper(each["loc"], around_union) for each in errors)
        if inner and deeper and (wrong_type or kind == "literal_error"):
            return  # the value has the type of another member of a union, which has found a mistake inside it
        if inner == ["[key]"]:  # as pydantic calls the key of a table, in place of its value
            message = f"unknown key. {did_you_mean(str(keys[-1]), known_keys(root, around))}"
        elif kind == "missing" and len(inner) == 1:
            keys, schema = (*keys, inner[0]), subschema(root, schema, inner[0])
            message = f"missing; expected {expected(root, schema)}"
        elif kind == "extra_forbidden" and not inner:
            known = known_keys(root, around) | (_slot_keys(path) if keys[:-1] == path else set())
            noun = "section" if not path and len(keys) == 1 and isinstance(value, Mapping) else "key"
            message = f"unknown {noun}. {did_you_mean(str(keys[-1]), known)}"
        elif "error" in error.get("ctx", {}):  # raised by a validator, which has a message of its own
            message = str(error["ctx"]["error"])
        else:
            wrong_kind = wrong_type or kind == "int_from_float"
            message = f"found {found(value, wrong_kind)}, expected {expected(root, schema)}"
        if keys not in self._reported:
            self.add(keys, message)

    def stop(self, kind: type[SeveralProblems] = RecipeError) -> None:
        """Raise the problems, in the order of their lines, if there are any.

        Args:
            kind: of error.

        Raises:
            RecipeError: there are problems.
        """
        if self._lines:
            lines = sorted(self._lines, key=lambda line: self._lines[line])
            raise kind([*lines, "and more"] if self.full else lines, self.name)

    def others(self) -> "Problems":
        """Return a collection for problems of another kind, with the same places."""
        others = Problems(self.name, self.origins, self.argument)
        others.implicit = self.implicit
        return others


def _default_paths(model: type[BaseModel]) -> dict[str, Any]:
    """Return the defaults with paths as JSON has them: validated with JSON, a default may not be a path already."""
    fields, defaults = model.model_fields, vars(model.model_construct())
    return {fields[name].alias or name: to_jsonable_python(each) for name, each in defaults.items() if _has_path(each)}


def _has_path(value: Any) -> bool:
    return isinstance(value, PurePath) or (isinstance(value, (list, tuple)) and any(map(_has_path, value)))


def _goes_deeper(place: Sequence[str | int], union: Sequence[str | int]) -> bool:
    """Return whether an error is inside the value of a union's member: behind its place and the member's name."""
    return len(place) > len(union) + 1 and tuple(place[: len(union)]) == tuple(union)


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "..."


def _contains(value: Any, key: str | int) -> bool:
    """Return whether a part of pydantic's error path is a key of the value, and not the name of a union's member."""
    if isinstance(value, Mapping):
        return key in value
    return isinstance(value, (list, tuple)) and isinstance(key, int) and key < len(value)


def _slot_keys(path: Keys) -> set[str]:
    """Return the keys of the slot at a path, which stand beside the plugin's options."""
    if path and path[0] in SLOTS:
        return SLOTS[str(path[0])].model_fields.keys() - {"options"}
    return {"use"} if path == ("nodes",) or path in [("data", key) for key in SLOTS_OF_DATA] else set()


def _label(keys: Keys) -> str:
    """Return a path as messages write it: `[generators.g] width`."""
    if not keys:
        return ""
    if keys[0] in _TOP_LEVEL:
        return _dotted(keys)
    names = list(map(_key, keys))
    depth = max(1, min(_TABLE_DEPTH.get(str(keys[0]), 1), len(keys) - 1))
    return f"[{'.'.join(names[:depth])}] {'.'.join(names[depth:])}".rstrip()


def _dotted(keys: Sequence[str | int]) -> str:
    return ".".join(map(_key, keys))


def _key(key: str | int) -> str:
    text = str(key)
    return text if text and all(each.isalnum() or each in "_-" for each in text) else quoted(text)
