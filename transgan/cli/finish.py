"""`transgan finish`: end a run at its newest checkpoint."""

from pathlib import Path

import typer

from transgan.cli.resume import read_run


def add(app: typer.Typer) -> None:
    app.command()(finish)


def finish(
    folder: Path = typer.Argument(help="The folder of a run."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Print nothing but errors."),
) -> None:
    """Measure the model of a run's newest checkpoint and write figures and report, without training further."""
    from transgan.registry import Registry
    from transgan.text import expand_home

    folder = expand_home(folder)
    document = read_run(folder)
    from transgan.cli.training import train

    raise typer.Exit(train(document, Registry.installed(), folder, quiet, finish=True))
