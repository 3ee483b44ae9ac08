"""`transgan check`: says whether a recipe will run, without training."""

from pathlib import Path

import typer

from transgan.cli.run import Set


def add(app: typer.Typer) -> None:
    app.command()(check)


def check(recipe: Path = typer.Argument(help="A recipe in TOML."), set_: list[str] = Set) -> None:
    """Say within seconds whether a recipe will run, and what it will do: tasks, networks, passes, memory, data."""
    from transgan.plan import make_plan
    from transgan.engine.dry_run import describe
    from transgan.recipe import read_recipe
    from transgan.registry import Registry

    document = read_recipe(recipe.expanduser(), set_ or [])
    for line in describe(make_plan(document, Registry.installed())):
        print(line)
