"""Reading of recipes: from the bytes of a file to a typed recipe, or one error with all its problems."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any

from transgan.errors import NO_ADDRESSES, Problem, RecipeError, UsageError, is_address
from transgan.recipe.collection import installed_recipes, locate_recipe
from transgan.recipe.describe import BACKSLASH, found, is_unicode
from transgan.recipe.diagnostics import Origin, Problems
from transgan.recipe.extend import extend
from transgan.recipe.overrides import apply_overrides
from transgan.recipe.schema import Recipe
from transgan.recipe.toml_lines import MAX_DEPTH, Keys, TooDeep, key_lines
from transgan.recipe.upgrade import EXPECTED_VERSION, is_known_version, renamed_keys, upgrade
from transgan.recipe.validate import validate
from transgan.text import printable

MAX_BYTES = 256 * 1024
MAX_LINE = 4096

#: Replacements for error messages of `tomllib`.
_SYNTAX = {
    "Cannot overwrite a value": "the key is already defined",
    "Invalid value": "expected a value; strings need quotation marks",
    "Invalid statement": "expected a key or the [name] of a table",
}


@dataclass
class Document:
    """A recipe and the origin of its values."""

    recipe: Recipe
    name: str
    """The recipe's file, for messages."""
    problems: Problems
    """Collects problems that are found later; it knows where each value comes from."""


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Document:
    """Read a recipe from a file.

    Args:
        path: the TOML file, or the name of an installed recipe.
        overrides: changes of it, such as `train.steps=500`.

    Raises:
        UsageError: the file cannot be read.
        RecipeError: the recipe is invalid; reports all problems. A recipe that it extends cannot be read.
    """
    path = locate_recipe(path)
    content = _read_bytes(path)
    if path.suffix not in ("", ".toml"):
        expected = "expected a file ending in .toml, or the name of an installed one"
        raise UsageError(f"{printable(path)}: not a recipe: {expected}")
    text = _decode(content, str(path))
    if not text.strip():
        raise _error(str(path), "the file is empty; transgan recipes cyclegan > FILE writes one to begin with")
    return parse_recipe(text, str(path), overrides)


def parse_recipe(text: str, name: str = "recipe", overrides: Sequence[str] = ()) -> Document:
    """Parse a recipe from its text, as `read_recipe` does.

    Args:
        text: TOML.
        name: the file to name in messages, from whose folder `extends` is looked for.
        overrides: changes of it, such as `train.steps=500`.

    Raises:
        RecipeError: the recipe is invalid; reports all problems.
    """
    table, problems = _read_table(text, name)
    apply_overrides(table, overrides, problems)
    if "extends" in table:
        problems.add(("extends",), "expected in a file only; give the file of another recipe instead")
    table.setdefault("name", _default_name(name))
    recipe = validate(table, problems)
    problems.stop()
    assert recipe is not None  # since there are no problems
    return Document(recipe, name, problems)


def _read_table(text: str, name: str, extending: Sequence[Path] = ()) -> tuple[dict[str, Any], Problems]:
    """Return a recipe's values, including those of the recipes that it extends, and where each comes from.

    Args:
        text: TOML.
        name: its file.
        extending: the files of the recipes that extend it.

    Raises:
        RecipeError: this or an extended recipe is not TOML, has an unknown version, cannot be read, or extends itself.
    """
    table, lines = _parse_toml(text, name)
    lines = _rename(lines, renamed_keys(table))
    problems = Problems(name, {keys: Origin(line) for keys, line in lines.items()})
    if not is_known_version(table):  # its keys may mean something else, so further problems would mislead
        problems.add(("version",), f"found {found(table['version'], kind=False)}, expected {EXPECTED_VERSION}")
        problems.stop()
    table = upgrade(table)
    other = table.pop("extends", None)
    if other is None:
        return table, problems
    line = lines["extends",]
    if not isinstance(other, str) or not other:
        raise _error(name, f"extends: found {found(other)}, expected the file of a recipe, relative to this one", line)
    # A copy of an installed recipe may extend one that is beside the original.
    path, chain = locate_recipe(Path(other), Path(name).parent), [*extending, Path(name)]
    try:
        data = _read_bytes(path)
    except UsageError as error:
        raise _error(name, f"extends: {error}", line) from None
    if path.resolve() in [each.resolve() for each in chain]:
        raise _error(name, f"extends: {' -> '.join(map(str, [*chain, path]))}: a recipe must not extend itself", line)
    base, problems_of_base = _read_table(_decode(data, str(path)), str(path), chain)
    extend(base, problems_of_base, table, problems)
    return base, problems


def _rename(lines: dict[Keys, int], renamed: dict[Keys, Keys]) -> dict[Keys, int]:
    """Return the lines of keys with their new names, and of everything below them."""
    for old, new in renamed.items():
        lines = {new + keys[len(old) :] if keys[: len(old)] == old else keys: line for keys, line in lines.items()}
    return lines


def _read_bytes(path: Path) -> bytes:
    shown = f"'{printable(str(path))}'"
    try:
        if path.is_dir():
            raise UsageError(f"{shown} is a folder, not a recipe. {_suggest_recipes(path / path.name)}".rstrip())
        if not path.exists():
            raise UsageError(f"no recipe {shown}. {_suggest_recipes(path)}".rstrip())
        if not path.is_file():  # reading from a pipe could block forever
            raise UsageError(f"{shown} is not a file")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"cannot read {shown}: {why}") from error


def _suggest_recipes(path: Path) -> str:
    """Return a hint that names a recipe with a similar name, of the same folder, of `recipes/`, or installed."""
    files = [file for folder in (path.parent, Path("recipes")) for file in sorted(folder.glob("*.toml"))]
    names = {name: name for name in installed_recipes()} | {each.stem: printable(str(each)) for each in reversed(files)}
    if is_address(path):
        return NO_ADDRESSES
    if close := get_close_matches(path.name.removesuffix(".toml"), names, n=1, cutoff=0.6):
        return f"Did you mean '{names[close[0]]}'?"
    return "'transgan recipes' lists those that are installed."


def _decode(data: bytes, name: str) -> str:
    """Decode UTF-8, with or without a byte order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise _error(name, "not a recipe: expected a text file in TOML") from error
        if len(data) > MAX_BYTES:  # the limit may have cut a character
            raise _error(name, f"larger than {MAX_BYTES // 1024} KiB") from error
        raise _error(name, "not valid UTF-8", data[: error.start].count(b"\n") + 1) from error


def _parse_toml(text: str, name: str) -> tuple[dict[str, Any], dict[Keys, int]]:
    """Return the table and the lines of its keys; reject texts on which `tomllib` is slow or fails otherwise."""
    if not is_unicode(text):
        raise _error(name, "not valid UTF-8")
    if len(text.encode()) > MAX_BYTES:
        raise _error(name, f"larger than {MAX_BYTES // 1024} KiB")
    for number, content in enumerate(text.split("\n"), start=1):
        if len(content) > MAX_LINE:
            raise _error(name, f"the line is longer than {MAX_LINE} characters", number)
    try:
        lines = key_lines(text)
        return tomllib.loads(text), lines
    except TooDeep as error:
        raise _error(name, f"nested deeper than {MAX_DEPTH} levels", error.line) from error
    except tomllib.TOMLDecodeError as error:
        what, line = _syntax_error(str(error), text)
        raise _error(name, f"not valid TOML: {what}", line) from error
    except (ValueError, RecursionError, MemoryError) as error:  # such as a number of five thousand digits
        raise _error(name, "a number is too long, or something is nested too deep") from error


def _syntax_error(message: str, text: str) -> tuple[str, int]:
    """Return what is wrong and in which line, from a message of `tomllib`."""
    match = re.fullmatch(r"(.*?) \(at (?:line (\d+), column \d+|end of document)\)", message, re.DOTALL)
    what = match[1] if match else message
    if twice := re.fullmatch(r"Cannot declare \((.*?),?\) twice", what):
        what = f"[{'.'.join(part.strip()[1:-1] for part in twice[1].split(','))}] is already defined"
    line = int(match[2]) if match and match[2] else text.rstrip("\n").count("\n") + 1
    what = _SYNTAX.get(what, what)
    if "\n" not in text and "\r" in text:
        what = "lines end with CR alone; save the file with LF or CRLF"
    if what.startswith(("Unescaped", "Invalid hex value", "Escaped character")):
        what += f"; {BACKSLASH}"
    return printable(what), line


def _error(name: str, why: str, line: int | None = None) -> RecipeError:
    shown = printable(name)
    problem = Problem(printable(f"{shown}:{line}: {why}" if line else f"{shown}: {why}"), why, shown, line or None)
    return RecipeError([problem], shown)


def _default_name(file: str) -> str:
    """Return the name of a file as the name of a recipe."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePath(file).stem).lstrip("._-")
    return safe[:64] or "run"
