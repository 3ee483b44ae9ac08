"""`transgan resume`: resume an interrupted run."""

from pathlib import Path

import typer

from transgan.cli.run import PluginFiles


def add(app: typer.Typer) -> None:
    app.command()(resume)


def resume(
    folder: Path = typer.Argument(help="The folder of a run."),
    steps: int = typer.Option(
        None, "--steps", min=1, metavar="N", help="Extend the run to N steps, or shorten it; schedules are stretched."
    ),
    plugin: list[Path] = PluginFiles,
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Print nothing but errors."),
) -> None:
    """Resume a run from its newest intact checkpoint; the result is the same as without the interruption."""
    from transgan.cli.launch import is_launched, relaunch, requested_processes
    from transgan.plan import make_plan
    from transgan.plan.of_run import check_plugins, read_run
    from transgan.registry import Registry, use_files
    from transgan.text import expand_home
    from transgan.training.start import train

    folder = expand_home(folder)
    use_files(plugin or [])
    registry, document = Registry.installed(), read_run(folder)
    check_plugins(folder, registry)
    if (processes := requested_processes()) > 1:
        from transgan.data.batches import check_divisible

        check_divisible(make_plan(document, registry), processes)  # a mistake is reported here, once
        relaunch(processes)
    raise typer.Exit(train(document, registry, folder, quiet, steps=steps, launched=is_launched()).code)
