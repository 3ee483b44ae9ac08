"""`transgan run`: train a recipe."""

from pathlib import Path

import typer

Set = typer.Option(
    None, "--set", metavar="KEY=VALUE", help="Change the recipe: --set train.steps=500. Repeatable; the value is TOML."
)

PluginFiles = typer.Option(
    None, "--plugin", metavar="FILE.py", help="Use the plugins in a Python file too, without installing it. Repeatable."
)


def add(app: typer.Typer) -> None:
    app.command()(run)


def run(
    recipe: Path = typer.Argument(help="A recipe in TOML, or the name of an installed one."),
    set_: list[str] = Set,
    out: Path = typer.Option(
        None, "--out", help="The run folder; defaults to a new one below runs/. A run in it is resumed."
    ),
    plugin: list[Path] = PluginFiles,
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Print nothing but errors."),
) -> None:
    """Check a recipe, train it, evaluate the model and write a model folder.

    With several processes: accelerate launch --multi_gpu --num_processes 2 -m transgan run RECIPE.
    """
    from transgan.recipe import read_recipe
    from transgan.text import expand_home

    document = read_recipe(expand_home(recipe), set_ or [])  # without torch, so that its mistakes are reported at once

    from transgan.cli.launch import is_launched, relaunch, requested_processes
    from transgan.plan import make_plan
    from transgan.registry import Registry, use_files

    use_files(plugin or [])
    registry = Registry.installed()
    if (processes := requested_processes()) > 1:
        from transgan.data.batches import check_divisible

        check_divisible(make_plan(document, registry), processes)  # a mistake is reported here, once
        relaunch(processes)
    from transgan.training.start import train

    raise typer.Exit(train(document, registry, out, quiet, launched=is_launched()).code)
