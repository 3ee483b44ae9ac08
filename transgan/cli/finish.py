"""`transgan finish`: end a run at its newest checkpoint."""

from pathlib import Path

import typer

from transgan.cli import completion
from transgan.cli.options import examples
from transgan.cli.resume import check_plugins, read_run
from transgan.cli.run import PluginFiles


def add(app: typer.Typer) -> None:
    app.command(epilog=examples("transgan finish runs/cut-1"))(finish)


def finish(
    folder: Path = typer.Argument(metavar="FOLDER", help="The folder of a run.", autocompletion=completion.runs),
    plugin: list[Path] = PluginFiles,
) -> None:
    """Make a model of a run's newest checkpoint, without training.

    It is measured, and figures and report are written as at the end of a run. transgan resume can still go on.
    """
    from transgan.registry import Registry, use_files
    from transgan.text import expand_home, is_quiet

    folder = expand_home(folder)
    use_files(plugin or [])
    registry, document = Registry.installed(), read_run(folder)
    check_plugins(folder, registry)
    from transgan.cli.training import train

    raise typer.Exit(train(document, registry, folder, is_quiet(), finish=True))
