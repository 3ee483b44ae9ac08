"""`transgan finish`: end a run at its newest checkpoint."""

from pathlib import Path

import typer

from transgan.cli.run import PluginFiles


def add(app: typer.Typer) -> None:
    app.command()(finish)


def finish(
    folder: Path = typer.Argument(help="The folder of a run."),
    plugin: list[Path] = PluginFiles,
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Print nothing but errors."),
) -> None:
    """Measure the model of a run's newest checkpoint and write figures and report, without training further."""
    from transgan.cli.launch import is_launched
    from transgan.plan.of_run import check_plugins, read_run
    from transgan.registry import Registry, use_files
    from transgan.text import expand_home
    from transgan.training.start import train

    folder = expand_home(folder)
    use_files(plugin or [])
    registry, document = Registry.installed(), read_run(folder)
    check_plugins(folder, registry)
    raise typer.Exit(train(document, registry, folder, quiet, finish=True, launched=is_launched()).code)
