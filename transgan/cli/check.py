"""`transgan check`: check a recipe without training."""

from pathlib import Path

import typer

from transgan.cli.run import PluginFiles, Set


def add(app: typer.Typer) -> None:
    app.command()(check)


def check(
    recipe: Path = typer.Argument(help="A recipe in TOML, or the name of an installed one."),
    set_: list[str] = Set,
    plugin: list[Path] = PluginFiles,
) -> None:
    """Check a recipe and describe its run, without training: data, tasks, networks, passes, memory."""
    from transgan.recipe import read_recipe
    from transgan.text import expand_home, show

    document = read_recipe(expand_home(recipe), set_ or [])  # without torch, so that its mistakes are reported at once

    from transgan.dry_run import describe
    from transgan.plan import make_plan
    from transgan.registry import Registry, use_files

    use_files(plugin or [])
    for line in describe(make_plan(document, Registry.installed())):
        show(line)
