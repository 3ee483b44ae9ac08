"""`transgan run`: train a recipe."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import typer

from transgan.cli import completion
from transgan.cli.options import examples
from transgan.plugin_files import check_files
from transgan.text import expand_home, is_quiet, note, shell_word, show

if TYPE_CHECKING:
    from transgan.training.start import Ended

Set = typer.Option(
    None,
    "--set",
    metavar="KEY=VALUE",
    help="Change the recipe: --set train.steps=500. Repeatable; the value is TOML.",
    autocompletion=completion.settings,
)


def _check_files(paths: list[Path] | None) -> list[Path]:
    """Check, before anything heavy is imported, that there are such files."""
    return check_files(paths)


PluginFiles = typer.Option(
    None,
    "--plugin",
    metavar="FILE.py",
    help="Use the plugins in a Python file too, without installing it. Repeatable.",
    callback=_check_files,
)


def add(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "transgan run cut_shapes",
            "transgan run my.toml --set train.steps=500 --out runs/short",
            "accelerate launch --multi_gpu --num_processes 2 -m transgan run my.toml",
        )
    )(run)


def run(
    recipe: Path = typer.Argument(
        metavar="RECIPE",
        help="A recipe in TOML, or the name of an installed one.",
        autocompletion=completion.recipe_files,
    ),
    set_: list[str] = Set,
    out: Path = typer.Option(
        None,
        "--out",
        metavar="FOLDER",
        help="The run folder; defaults to a new one below runs/. A run in it is resumed.",
    ),
    plugin: list[Path] = PluginFiles,
) -> None:
    """Check a recipe, train it, evaluate it and write a model.

    A run that is interrupted goes on with transgan resume. With --quiet, the path of the model is printed.
    """
    from transgan.recipe import read_recipe

    document = read_recipe(expand_home(recipe), set_ or [])  # without torch, so that its mistakes are reported at once

    from transgan.cli.launch import relaunch, requested_processes
    from transgan.plan import make_plan
    from transgan.plugin_files import use_files
    from transgan.registry import Registry

    use_files(plugin)
    registry = Registry.installed()
    if (processes := requested_processes()) > 1:
        from transgan.data.batches import check_divisible

        check_divisible(make_plan(document, registry), processes)  # a mistake is reported here, once
        relaunch(processes)
    from transgan.training.start import train

    show_and_exit(train(document, registry, out))


def show_and_exit(ended: "Ended") -> NoReturn:
    """End a command that has trained; say how it goes on, or where nothing else is printed, the path of the model."""
    if ended.model and is_quiet():
        show(ended.model)
    elif (ended.model or ended.code) and os.environ.get("LOCAL_RANK", "0") == "0":  # other processes end alike
        for line in _next(ended):
            note(line)
    raise typer.Exit(ended.code)


def _next(ended: "Ended") -> Iterator[str]:
    """Yield what to do now, in three lines at most: the first of what the run's page says."""
    import tomllib

    from transgan.reporting.commands import from_here, next_commands
    from transgan.storage import RunFolder

    run = RunFolder.at(ended.folder)
    recipe = tomllib.loads(run.recipe.read_text(encoding="utf-8"))
    stopped = bool(ended.code and not ended.model)
    state: Literal["interrupted", "finished"] = "interrupted" if stopped else "finished"
    commands = next_commands(run, state, recipe["train"]["steps"], recipe)[:2]
    if ended.measuring:
        yield f"interrupted while measuring; transgan finish {shell_word(str(ended.folder))} measures it"
        commands = []
    elif stopped:
        yield f"interrupted after a checkpoint; {commands[0][1]} goes on"
        commands = commands[1:]
    texts = [*commands, ("see how it went", f"open {from_here(run.report)} in a browser")]
    width = max(len(what) for what, _ in texts) + 1
    yield from (f"{f'{what}:':<{width}} {command}" for what, command in texts)
