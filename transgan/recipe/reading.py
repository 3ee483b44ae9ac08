"""Reads a recipe: from bytes that may be anything, to a typed recipe or one error that tells every mistake."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any

from transgan.errors import RecipeError, UsageError
from transgan.recipe.grammar import Inspection, understand
from transgan.recipe.lines import DEEPEST, Keys, TooDeep, key_lines
from transgan.recipe.overrides import apply_overrides
from transgan.recipe.problems import Origin, Problems
from transgan.recipe.schema import Recipe
from transgan.recipe.words import is_unicode, printable

LARGEST = 256 * 1024
LONGEST_LINE = 4096

#: What the standard reader says, where it can be said more helpfully.
_SYNTAX = {
    "Cannot overwrite a value": "the key is there already",
    "Invalid value": "expected a value; texts stand in quotation marks",
    "Invalid statement": "expected a key or the [name] of a table",
}


@dataclass
class Document:
    """A recipe, and where it was written."""

    recipe: Recipe
    name: str
    """The file as given, for messages."""
    problems: Problems
    """Collects what is found wrong later, and knows where everything stands."""


def read_recipe(path: Path, overrides: Sequence[str] = (), inspect: Inspection | None = None) -> Document:
    """Reads a recipe's file; `overrides` are `--set` texts such as `train.steps=500`.

    With `inspect`, mistakes in plugins' options are told together with those of the grammar.

    Raises:
        UsageError: the file cannot be read.
        RecipeError: the recipe has mistakes; all of them are told.
    """
    return parse_recipe(_decoded(_bytes(path), str(path)), str(path), overrides, inspect)


def parse_recipe(
    text: str, name: str = "recipe", overrides: Sequence[str] = (), inspect: Inspection | None = None
) -> Document:
    """Reads a recipe from its text; `name` stands in messages for the file.

    Raises:
        RecipeError: the recipe has mistakes; all of them are told.
    """
    table, lines = _parsed(text, name)
    problems = Problems(name, {keys: Origin(line) for keys, line in lines.items()})
    apply_overrides(table, overrides, problems)
    table.setdefault("name", _name(name))
    recipe = understand(table, problems, inspect)
    problems.stop()
    assert recipe is not None  # without a problem there is a recipe
    return Document(recipe, name, problems)


def _bytes(path: Path) -> bytes:
    shown = f"'{printable(str(path))}'"
    try:
        if path.is_dir():
            raise UsageError(f"{shown} is a folder, not a recipe. {_recipes_near(path / path.name)}".rstrip())
        if not path.exists():
            raise UsageError(f"no recipe {shown}. {_recipes_near(path)}".rstrip())
        if not path.is_file():  # a pipe would be waited for, perhaps for ever
            raise UsageError(f"{shown} is not a file")
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"cannot read {shown}: {why}") from error


def _recipes_near(path: Path) -> str:
    """Which of the recipes in the same folder, or in `recipes/`, may be meant."""
    files = [file for folder in (path.parent, Path("recipes")) for file in sorted(folder.glob("*.toml"))]
    names = {file.stem: printable(str(file)) for file in reversed(files)}
    if close := get_close_matches(path.name.removesuffix(".toml"), names, n=1, cutoff=0.6):
        return f"Did you mean '{names[close[0]]}'?"
    return f"There are: {', '.join(sorted(names.values())[:10])}." if names else ""


def _decoded(data: bytes, name: str) -> str:
    """Text without the mark that some editors put before it."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(data) > LARGEST:  # perhaps only cut in the middle of a letter
            raise _refusal(name, f"larger than {LARGEST // 1024} KiB") from error
        raise _refusal(name, "not a text in UTF-8", data[: error.start].count(b"\n") + 1) from error


def _parsed(text: str, name: str) -> tuple[dict[str, Any], dict[Keys, int]]:
    """The text as TOML and the lines of its keys, guarded against what the standard reader takes badly."""
    if not is_unicode(text):
        raise _refusal(name, "not a text in UTF-8")
    if len(text.encode()) > LARGEST:
        raise _refusal(name, f"larger than {LARGEST // 1024} KiB")
    for number, content in enumerate(text.split("\n"), start=1):
        if len(content) > LONGEST_LINE:
            raise _refusal(name, f"the line is longer than {LONGEST_LINE} characters", number)
    try:
        lines = key_lines(text)
        return tomllib.loads(text), lines
    except TooDeep as error:
        raise _refusal(name, f"nested deeper than {DEEPEST} levels", error.line) from error
    except tomllib.TOMLDecodeError as error:
        what, line = _syntax(str(error), text)
        raise _refusal(name, f"not valid TOML: {what}", line) from error
    except (ValueError, RecursionError, MemoryError) as error:  # such as a number of five thousand digits
        raise _refusal(name, "a number is too long, or something is nested too deep") from error


def _syntax(message: str, text: str) -> tuple[str, int]:
    """What is wrong with the TOML, and in which line."""
    match = re.fullmatch(r"(.*?) \(at (?:line (\d+), column \d+|end of document)\)", message, re.DOTALL)
    what = match[1] if match else message
    if twice := re.fullmatch(r"Cannot declare \((.*?),?\) twice", what):
        what = f"[{'.'.join(part.strip()[1:-1] for part in twice[1].split(','))}] is there already"
    return printable(_SYNTAX.get(what, what)), int(match[2]) if match and match[2] else text.rstrip("\n").count(
        "\n"
    ) + 1


def _refusal(name: str, why: str, line: int | None = None) -> RecipeError:
    shown = printable(name)
    return RecipeError([f"{shown}:{line}: {why}" if line else f"{shown}: {why}"], shown)


def _name(file: str) -> str:
    """A run's name, from the file's."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePath(file).stem).lstrip("._-")
    return safe[:64] or "run"
