"""`transgan resume`: resume an interrupted run."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from transgan.cli import completion
from transgan.cli.options import examples
from transgan.cli.run import PluginFiles

if TYPE_CHECKING:
    from transgan.recipe import Document
    from transgan.registry import Registry


def add(app: typer.Typer) -> None:
    app.command(epilog=examples("transgan resume runs/cut-1", "transgan resume runs/cut-1 --steps 200000"))(resume)


def resume(
    folder: Path = typer.Argument(metavar="FOLDER", help="The folder of a run.", autocompletion=completion.runs),
    steps: int = typer.Option(
        None, "--steps", min=1, metavar="N", help="Extend the run to N steps, or shorten it; schedules are stretched."
    ),
    plugin: list[Path] = PluginFiles,
) -> None:
    """Resume a run from its newest intact checkpoint.

    The result is the same as without the interruption. A finished run is left as it is, unless --steps extends it.
    """
    from transgan.cli.launch import relaunch, requested_processes
    from transgan.plan import make_plan
    from transgan.registry import Registry, use_files
    from transgan.text import expand_home, is_quiet

    folder = expand_home(folder)
    use_files(plugin or [])
    registry, document = Registry.installed(), read_run(folder)
    check_plugins(folder, registry)
    if (processes := requested_processes()) > 1:
        from transgan.data.batches import check_divisible

        check_divisible(make_plan(document, registry), processes)  # a mistake is reported here, once
        relaunch(processes)
    from transgan.cli.training import train

    raise typer.Exit(train(document, registry, folder, is_quiet(), steps=steps))


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


def check_plugins(folder: Path, registry: "Registry") -> None:
    """Check that the plugin files that a run was trained with are there, as far as it cannot do without them.

    Raises:
        PluginError: they are not; names them.
    """
    import json

    from transgan.errors import PluginError, RecipeError
    from transgan.plan import make_plan
    from transgan.text import listed

    try:
        plugins = json.loads((folder / "env.json").read_text(encoding="utf-8"))["plugins"]
        files = registry.absent_files(plugins)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # a run that has not begun, or a damaged file
        return
    if files:
        try:
            make_plan(read_run(folder), registry)
        except RecipeError:
            again = " ".join(f"--plugin {file}" for file in files)
            why = f"trained with the plugin file {listed(files)}; give it again: {again}"
            raise PluginError(f"{folder}: {why}") from None
