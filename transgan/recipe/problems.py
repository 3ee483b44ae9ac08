"""The mistakes of one recipe: collected, put into words, and told all at once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from transgan.errors import RecipeError, did_you_mean
from transgan.recipe.lines import Keys
from transgan.recipe.slots import SLOTS
from transgan.recipe.words import described, expected, found, known_keys, printable, quoted, step_into

M = TypeVar("M", bound=BaseModel)

#: How many keys name the table, in messages; elsewhere it is one.
_DEPTH = {**dict.fromkeys(SLOTS, 2), "tasks": 2, "attributes": 2, "optimizers": 2, "phases": 2, "stages": 2}
#: Keys that stand above the first table, and are named without one.
_BARE = ("version", "name", "nodes")
#: Mistakes told at once; a file with more is no recipe.
MOST = 100


@dataclass(frozen=True)
class Origin:
    """Where a value was written: in a line of the file, in a `--set`, which says what it sets, or `by` the program."""

    line: int = 0
    override: str = ""
    sets: Keys = ()
    by: str = ""


Origins = dict[Keys, Origin]


class Problems:
    """Every mistake found so far, each in one line that says where it is and what was expected."""

    def __init__(self, name: str, origins: Origins | None = None):
        self.name = printable(name)
        self.origins: Origins = {} if origins is None else origins
        self.made: Origins = {}  # tables that are only there because a --set set something in them
        self._lines: dict[str, tuple[int, int]] = {}
        self._told: set[Keys] = set()

    def __bool__(self) -> bool:
        return bool(self._lines)

    @property
    def full(self) -> bool:
        """Whether nobody would read on."""
        return len(self._lines) >= MOST

    def add(self, path: Sequence[str | int], message: str) -> None:
        """One mistake, at a place of the recipe."""
        keys = tuple(path)
        self._told.add(keys)
        origin = self.origin(keys)
        if origin.override:
            rest = ".".join(map(_key, keys[len(origin.sets) :]))
            self.add_override(origin.override, f"{rest}: {message}" if rest else message)
        else:
            place = f"{self.name}:{origin.line}" if origin.line else self.name
            label = _label(keys)
            self._lines.setdefault(f"{place}: {label}: {message}" if label else f"{place}: {message}", (0, origin.line))

    def add_override(self, override: str, message: str) -> None:
        """A mistake in a `--set` that cannot be placed in the recipe."""
        shown = override if len(override) <= 80 else override[:80] + "..."
        self._lines.setdefault(f"--set {printable(shown)}: {message}", (1, 0))

    def origin(self, path: Keys) -> Origin:
        """Where a value stands, or else the nearest table round it."""
        if path not in self.origins and path in self.made:
            return self.made[path]
        around = (path[:length] for length in range(len(path), 0, -1))
        return next((self.origins[keys] for keys in around if keys in self.origins), Origin())

    def validate(self, model: type[M], table: Mapping[str, Any], path: Sequence[str | int]) -> M | None:
        """The table as a model, or None, with a line for everything that is wrong with it."""
        try:
            try:  # as JSON, where a list may fill a tuple, and nothing else is any less strict
                return model.model_validate_json(json.dumps(table))
            except TypeError:  # something that JSON does not have, such as a date
                return model.model_validate(table)
        except ValidationError as error:
            for each in error.errors(include_url=False):
                if not self.full:
                    self._translate(model, table, tuple(path), each)
        return None

    def _translate(self, model: type[BaseModel], table: Any, path: Keys, error: ErrorDetails) -> None:
        root = described(model)
        schema, value, inner = root, table, list(error["loc"])
        keys = path
        while inner and _has(value, inner[0]):
            key = inner.pop(0)
            around, schema, value, keys = schema, step_into(root, schema, key), value[key], (*keys, key)
        kind = error["type"]
        if kind == "missing" and len(inner) == 1:
            keys, schema = (*keys, inner[0]), step_into(root, schema, inner[0])
            message = f"missing; expected {expected(root, schema)}"
        elif kind == "extra_forbidden" and not inner:
            known = known_keys(root, around) | (_grammar(path) if keys[:-1] == path else set())
            thing = "section" if not path and len(keys) == 1 and isinstance(value, Mapping) else "key"
            message = f"unknown {thing}. {did_you_mean(str(keys[-1]), known)}"
        elif "error" in error.get("ctx", {}):  # a validator's own words
            message = printable(str(error["ctx"]["error"]))
        else:
            wrong_kind = kind.endswith("_type") or kind == "int_from_float"
            message = f"found {found(value, wrong_kind)}, expected {expected(root, schema)}"
        if keys not in self._told:
            self.add(keys, message)

    def stop(self) -> None:
        """Raises what was collected, by line, if there is anything.

        Raises:
            RecipeError: there is.
        """
        if self._lines:
            lines = sorted(self._lines, key=lambda line: self._lines[line])
            raise RecipeError([*lines, "and more"] if self.full else lines, self.name)


def _has(value: Any, key: str | int) -> bool:
    """Whether a step of an error's path leads into the value; names of a union's members do not."""
    if isinstance(value, Mapping):
        return key in value
    return isinstance(value, (list, tuple)) and isinstance(key, int) and key < len(value)


def _grammar(path: Keys) -> set[str]:
    """The recipe's own words in a slot, which stand among the plugin's options."""
    if path and path[0] in SLOTS:
        return SLOTS[str(path[0])].model_fields.keys() - {"options"}
    return {"use"} if path in (("data", "source"), ("data", "default"), ("data", "media"), ("nodes",)) else set()


def _label(keys: Keys) -> str:
    """`[generators.g] width`."""
    if not keys:
        return ""
    if keys[0] in _BARE:
        return ".".join(map(_key, keys))
    names = list(map(_key, keys))
    depth = max(1, min(_DEPTH.get(str(keys[0]), 1), len(keys) - 1))
    return f"[{'.'.join(names[:depth])}] {'.'.join(names[depth:])}".rstrip()


def _key(key: str | int) -> str:
    text = str(key)
    return text if text and all(each.isalnum() or each in "_-" for each in text) else quoted(text)
