"""What a shell completes: quickly, so nothing here imports torch or a plugin, and silently where anything fails.

Files and folders that are not listed here the shell itself completes, where a function returns nothing.
"""

import json
import os
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn

import typer

#: The variable by which a shell asks for completions.
VARIABLE = "_TRANSGAN_COMPLETE"

Complete = Callable[[typer.Context, str], list[str]]


def is_asked() -> bool:
    """Return whether a shell asks for completions."""
    return bool(os.environ.get(VARIABLE))


def answer(app: Callable[..., object]) -> NoReturn:
    """Print what the shell asks for, and end the process; of an error it gets nothing."""
    words = os.environ.get("COMP_WORDS", "")
    with suppress(ValueError):
        os.environ["COMP_WORDS"], os.environ["COMP_CWORD"] = _joined(words, int(os.environ.get("COMP_CWORD", "")))
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
        sys.stderr = nowhere
        with suppress(Exception):
            app(prog_name="transgan")
        sys.exit(1)


def _joined(text: str, current: int) -> tuple[str, str]:
    """Undo that bash splits words at `=`, before the current word, and return the words and which one is current.

    `--set`, `a`, `=`, `1` become `--set`, `a=1`; right before the current word, as in `--to=x`, the `=` is dropped.
    """
    words = text.split("\n")
    found: list[str] = []
    for number, word in enumerate(words[:current]):
        if word == "=" and number + 1 == current:
            continue
        if found and "=" in (word, words[number - 1]):
            found[-1] += word
        else:
            found.append(word)
    return "\n".join([*found, *words[current:]]), str(len(found))


def _silent(function: Callable[[typer.Context, str], Iterator[str]]) -> Complete:
    @wraps(function)
    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        found: list[str] = []
        with suppress(Exception):
            found += sorted({each for each in function(ctx, incomplete) if each.startswith(incomplete)})
        # A folder is no answer of its own: where there is nothing else, the shell goes on into it.
        return [] if all(each.endswith(os.sep) for each in found) else found

    return complete


@_silent
def recipe_files(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Names of installed recipes, and files in TOML."""
    if os.sep not in incomplete:
        yield from _installed()
    yield from _inside(incomplete, lambda path: path.suffix == ".toml" and path.is_file())


@_silent
def recipe_names(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Names of installed recipes."""
    yield from _installed()


@_silent
def runs(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Folders of runs: those here, and below runs/."""
    yield from _folders(incomplete, lambda path: (path / "recipe.toml").is_file())


@_silent
def models(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Folders of models and runs: those here, and below runs/."""
    yield from _folders(
        incomplete, lambda path: any((path / each).is_file() for each in ("config.json", "recipe.toml"))
    )


@_silent
def domains(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Domains of the model that the command line names."""
    for task in _recipe_of_model(ctx).get("tasks", {}).values():
        yield from task.get("between", [])
    yield from _recipe_of_model(ctx).get("domains", {})


@_silent
def tasks(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Tasks of the model that the command line names."""
    yield from _recipe_of_model(ctx).get("tasks", {})


@_silent
def attributes(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Attributes of the model that the command line names, each with `=`."""
    yield from (f"{name}=" for name in _recipe_of_model(ctx).get("attributes", {}))


@_silent
def settings(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Keys of recipes, each with `=`: those of every recipe, and those in the one that the command line names."""
    from pydantic import BaseModel

    from transgan.recipe.schema import Recipe

    def keys(model: type[BaseModel], above: str) -> Iterator[str]:
        for name, field in model.model_fields.items():
            key = f"{above}{field.alias or name}"
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from keys(inner, f"{key}.")
            else:
                yield key

    def written(table: Mapping[str, Any], above: str) -> Iterator[str]:
        for name, value in table.items():
            if isinstance(value, dict):
                yield from written(value, f"{above}{name}.")
            else:
                yield f"{above}{name}"

    of_every = (each for each in keys(Recipe, "") if "." in each or each == "name")
    yield from (f"{each}=" for each in (*of_every, *written(_recipe_of_command(ctx), "")))


def names_of(*hooks: str) -> Complete:
    """Return a function that completes the names of plugins: of all kinds, or of those that these hooks register."""

    @_silent
    def complete(ctx: typer.Context, incomplete: str) -> Iterator[str]:
        from transgan.cli.offered import offered

        for hook, names in offered().names.items():
            if hook in hooks or (not hooks and hook != "commands"):
                yield from names

    return complete


def one_of(*words: str) -> Complete:
    """Return a function that completes some words."""

    @_silent
    def complete(ctx: typer.Context, incomplete: str) -> Iterator[str]:
        yield from words

    return complete


def _installed() -> Iterator[str]:
    from transgan.recipe.collection import installed_recipes

    yield from installed_recipes()


def _inside(incomplete: str, wanted: Callable[[Path], bool]) -> Iterator[str]:
    """Yield what begins as a path does and is wanted, and other folders with a separator at their end."""
    begun = incomplete.rpartition(os.sep)[2]
    prefix = incomplete[: len(incomplete) - len(begun)]
    for path in Path(os.path.expanduser(prefix or ".")).iterdir():  # noqa: PTH111
        if path.name.startswith(begun) and (begun or not path.name.startswith(".")):
            if wanted(path):
                yield f"{prefix}{path.name}"
            elif path.is_dir():
                yield f"{prefix}{path.name}{os.sep}"


def _folders(incomplete: str, wanted: Callable[[Path], bool]) -> Iterator[str]:
    """Yield folders that are wanted, here or where the incomplete path leads, and below runs/."""
    yield from _inside(incomplete, wanted)
    if os.sep not in incomplete and Path("runs").is_dir():
        yield from _inside(f"runs{os.sep}", wanted)


def _recipe_of_model(ctx: typer.Context) -> dict[str, Any]:
    """Return the recipe of the model that the command line names; of a damaged one an error."""
    folder = _first(ctx, "model")
    for place in (folder, folder / "model"):
        if (file := place / "config.json").is_file():
            return dict(json.loads(file.read_text(encoding="utf-8"))["recipe"])
    if (file := folder / "state.json").is_file():
        return dict(json.loads(file.read_text(encoding="utf-8"))["config"]["recipe"])
    return tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))


def _recipe_of_command(ctx: typer.Context) -> dict[str, Any]:
    """Return the recipe that the command line names, as it is written; an empty one where it names none."""
    from transgan.recipe.collection import locate_recipe

    with suppress(Exception):
        if "model" in ctx.params:
            return _recipe_of_model(ctx)
        return tomllib.loads(locate_recipe(_first(ctx, "recipe", "data")).read_text(encoding="utf-8"))
    return {}


def _first(ctx: typer.Context, *names: str) -> Path:
    """Return the first argument of a command, by its names; where an option waits for its value, none has one yet."""
    given = next((ctx.params[name] for name in names if ctx.params.get(name)), None) or ctx.args[0]
    return Path(os.path.expanduser(str(given)))  # noqa: PTH111
