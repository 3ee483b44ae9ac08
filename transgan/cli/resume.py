"""`transgan resume`: resume an interrupted run."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from transgan.recipe import Document


def add(app: typer.Typer) -> None:
    app.command()(resume)


def resume(
    folder: Path = typer.Argument(help="The folder of a run."),
    steps: int = typer.Option(
        None, "--steps", min=1, metavar="N", help="Extend the run to N steps, or shorten it; schedules are stretched."
    ),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Print nothing but errors."),
) -> None:
    """Resume a run from its newest intact checkpoint; the result is the same as without the interruption."""
    from transgan.cli.launch import relaunch, requested_processes
    from transgan.plan import make_plan
    from transgan.registry import Registry
    from transgan.text import expand_home

    folder = expand_home(folder)
    registry, document = Registry.installed(), read_run(folder)
    if (processes := requested_processes()) > 1:
        from transgan.data.batches import check_divisible

        check_divisible(make_plan(document, registry), processes)  # a mistake is reported here, once
        relaunch(processes)
    from transgan.cli.training import train

    raise typer.Exit(train(document, registry, folder, quiet, steps=steps))


def read_run(folder: Path) -> "Document":
    """Return the recipe of a run.

    Raises:
        UsageError: it is not the folder of a run.
    """
    from transgan.errors import UsageError
    from transgan.recipe import read_recipe
    from transgan.storage import RunFolder

    run = RunFolder.at(folder)
    if not run.recipe.is_file():
        raise UsageError(f"{folder}: not the folder of a run: no recipe.toml in it; expected one such as runs/zebra-1")
    return read_recipe(folder / run.recipe.name)
