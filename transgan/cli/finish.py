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
    from transgan.plan.of_run import check_plugins, read_run
    from transgan.registry import Registry, use_files
    from transgan.text import expand_home
    from transgan.training.start import train

    folder = expand_home(folder)
    use_files(plugin or [])
    registry, document = Registry.installed(), read_run(folder)
    check_plugins(folder, registry)
    show_and_exit(train(document, registry, folder, finish=True))
