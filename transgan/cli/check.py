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
    from transgan.dry_run import describe
    from transgan.plan import make_plan, options_checker
    from transgan.recipe import read_recipe
    from transgan.registry import Registry, use_files
    from transgan.text import expand_home, show

    use_files(plugin or [])
    registry = Registry.installed()
    document = read_recipe(expand_home(recipe), set_ or [], options_checker(registry))
    for line in describe(make_plan(document, registry)):
        show(line)
