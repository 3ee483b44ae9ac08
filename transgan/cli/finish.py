"""`transgan finish`: end a run at its newest checkpoint."""

from pathlib import Path

import typer

from transgan.cli import completion
from transgan.cli.options import examples
from transgan.cli.run import PluginFiles, show_and_exit


def add(app: typer.Typer) -> None:
    app.command(epilog=examples("transgan finish runs/cut-1"))(finish)


def finish(
    folder: Path = typer.Argument(metavar="FOLDER", help="The folder of a run.", autocompletion=completion.runs),
    plugin: list[Path] = PluginFiles,
) -> None:
    """Make a model of a run's newest checkpoint, without training.

    It is measured, and figures and report are written as at the end of a run. transgan resume can still go on.
    """
    from transgan.plugin_files import use_files
    from transgan.recipe.of_run import read_run
    from transgan.text import expand_home

    folder = expand_home(folder)
    document = read_run(folder)  # without torch, so that a wrong name is reported at once
    use_files(plugin)

    from transgan.plan.of_run import check_plugins
    from transgan.registry import Registry
    from transgan.training.start import train

    registry = Registry.installed()
    check_plugins(folder, registry)
    show_and_exit(train(document, registry, folder, finish=True))
