"""`transgan run`: trains a recipe."""

from pathlib import Path

import typer

Set = typer.Option(
    None, "--set", metavar="KEY=VALUE", help="Change the recipe: --set train.steps=500. Repeatable; the value is TOML."
)


def add(app: typer.Typer) -> None:
    app.command()(run)


def run(
    recipe: Path = typer.Argument(help="A recipe in TOML."),
    set_: list[str] = Set,
    out: Path = typer.Option(
        None, "--out", help="The run folder; a new one below runs/ where left out. A run that is there goes on."
    ),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Print nothing but errors."),
) -> None:
    """Train a recipe: checks it, trains, measures, and leaves a model folder.

    The same under several processes: accelerate launch --num_processes 2 -m transgan run RECIPE.
    """
    from transgan.cli.launch import spread

    spread()
    from transgan.cli.training import train
    from transgan.plan import options_checker
    from transgan.recipe import read_recipe
    from transgan.registry import Registry

    registry = Registry.installed()
    document = read_recipe(recipe.expanduser(), set_ or [], options_checker(registry))
    raise typer.Exit(train(document, registry, out, quiet))
