"""`transgan check`: check a recipe without training."""

from pathlib import Path

import typer

from transgan.cli import completion
from transgan.cli.options import Json, examples
from transgan.cli.output import show_json
from transgan.cli.run import PluginFiles, Set


def add(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "transgan check my.toml",
            "transgan check cut --set data.root=FOLDER --set data.size=128",
            "transgan check my.toml --json",
        )
    )(check)


def check(
    recipe: Path = typer.Argument(
        metavar="RECIPE",
        help="A recipe in TOML, or the name of an installed one.",
        autocompletion=completion.recipe_files,
    ),
    set_: list[str] = Set,
    plugin: list[Path] = PluginFiles,
    json_: bool = Json,
) -> None:
    """Check a recipe and describe its run, without training.

    Prints domains, translations, networks, passes, memory and disk. Every sample is read once.
    """
    from transgan.recipe import read_recipe
    from transgan.text import expand_home, note

    document = read_recipe(expand_home(recipe), set_ or [])  # without torch, so that its mistakes are reported at once

    from transgan.dry_run import examine, lines_of
    from transgan.plan import make_plan
    from transgan.plugin_files import use_files
    from transgan.registry import Registry

    use_files(plugin)
    found = examine(make_plan(document, Registry.installed()))
    if json_:
        show_json(found)
    else:
        note("\n".join(lines_of(found)), error=False)
