"""`transgan resume`: resume an interrupted run."""

from pathlib import Path

import typer


def add(app: typer.Typer) -> None:
    app.command()(resume)


def resume(
    folder: Path = typer.Argument(help="The folder of a run."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Print nothing but errors."),
) -> None:
    """Resume a run from its newest intact checkpoint; the result is the same as without the interruption."""
    from transgan.cli.launch import relaunch

    relaunch()
    from transgan.cli.training import train
    from transgan.errors import UsageError
    from transgan.recipe import read_recipe
    from transgan.registry import Registry

    folder = folder.expanduser()
    if not (folder / "recipe.toml").is_file():
        raise UsageError(f"{folder}: not the folder of a run: no recipe.toml in it; expected one such as runs/zebra-1")
    raise typer.Exit(train(read_recipe(folder / "recipe.toml"), Registry.installed(), folder, quiet))
