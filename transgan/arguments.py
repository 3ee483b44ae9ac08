"""Arguments of the Python functions that users call: checked before anything begins, and named where they are wrong.

The command line has its own types; a notebook passes whatever a cell holds.
"""

import os
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

from transgan.errors import UsageError
from transgan.text import expand_home, option


def as_path(name: str, value: object) -> Path:
    """Return the argument of that name as a path, `~` expanded.

    Raises:
        UsageError: it is no path, or an empty text, which would be the working folder.
    """
    if not isinstance(value, (str, os.PathLike)) or not isinstance(where := os.fspath(value), str):
        raise UsageError(f"{_given(name, value)}: expected a path")
    if not where:
        raise UsageError(f"{option(name, where)}: empty; expected a path")
    return expand_home(where)


def as_paths(name: str, values: object) -> list[Path]:
    """Return the argument of that name, a path or several, as a list of them.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(values, (str, os.PathLike)):
        values = [values]
    if not isinstance(values, Iterable) or isinstance(values, (bytes, Mapping)):
        raise UsageError(f"{_given(name, values)}: expected a path, or a list of paths")
    return [as_path(name, each) for each in values]


def as_count(name: str, value: object, least: int = 1) -> int:
    """Return the argument of that name as a whole number of at least `least`.

    Raises:
        UsageError: it is something else, such as a text or a fraction.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise UsageError(f"{_given(name, value)}: expected a whole number of {least} or more")
    return int(value)


def as_flag(name: str, value: object) -> bool:
    """Return the argument of that name, which is True or False; `"no"` would count as True.

    Raises:
        UsageError: it is something else.
    """
    if type(value).__name__ not in ("bool", "bool_"):  # the latter of NumPy, which is not imported for this
        raise UsageError(f"{_given(name, value)}: expected True or False")
    return bool(value)


def as_table(name: str, value: object) -> dict[str, Any]:
    """Return the argument of that name, values by name, as a dictionary.

    Raises:
        UsageError: it is no mapping, or a name in it is no text.
    """
    if not isinstance(value, Mapping):
        raise UsageError(f'{_given(name, value)}: expected values by name, such as {{"name": value}}')
    for key in value:
        if not isinstance(key, str):
            raise UsageError(f"{option(name, {key: value[key]})}: found {_kind(key)} as a name; expected a text")
    return dict(value)


def as_texts(name: str, values: object) -> list[str]:
    """Return the argument of that name, a text or several, as a list of them.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(values, str):
        return [values]
    if not isinstance(values, Iterable) or isinstance(values, bytes):
        raise UsageError(f"{_given(name, values)}: expected values by name, or texts such as 'key=value'")
    texts = list(values)
    for each in texts:
        if not isinstance(each, str):
            raise UsageError(f"{_given(name, each)}: expected texts such as 'key=value'")
    return texts


def _given(name: str, value: object) -> str:
    """Return an argument as a message names it: with its value where that is short, else with its type."""
    plain = value is None or isinstance(value, (str, bytes, bool, int, float))
    return option(name, value) if plain and len(repr(value)) <= 80 else f"{option(name)}: found {_kind(value)}"


def _kind(value: object) -> str:
    return type(value).__name__
