"""`transgan resume`: resume an interrupted run."""

from pathlib import Path

import typer

from transgan.cli import completion
from transgan.cli.options import examples
from transgan.cli.run import PluginFiles, show_and_exit


def add(app: typer.Typer) -> None:
    app.command(
        epilog=examples(
            "transgan resume runs/cut-1",
            "transgan resume runs/cut-1 --steps 200000",
            "transgan resume runs/cut-1 --from 40000",
        )
    )(resume)


def resume(
    folder: Path = typer.Argument(metavar="FOLDER", help="The folder of a run.", autocompletion=completion.runs),
    steps: int = typer.Option(
        None, "--steps", min=1, metavar="N", help="Extend the run to N steps, or shorten it; schedules are stretched."
    ),
    from_: int = typer.Option(
        None,
        "--from",
        min=0,
        metavar="STEP",
        help="Go back to the checkpoint of this step; those of later steps are deleted.",
    ),
    plugin: list[Path] = PluginFiles,
) -> None:
    """Resume a run from its newest intact checkpoint.

    The result is the same as without the interruption. A finished run is left as it is, without --steps or --from.
    """
    from transgan.plugin_files import use_files
    from transgan.recipe.of_run import read_run
    from transgan.text import expand_home

    folder = expand_home(folder)
    document = read_run(folder)  # without torch, so that a wrong name is reported at once
    use_files(plugin)

    from transgan.cli.launch import relaunch, requested_processes
    from transgan.plan import make_plan
    from transgan.plan.of_run import check_plugins
    from transgan.registry import Registry
    from transgan.training.start import train

    registry = Registry.installed()
    check_plugins(folder, registry)
    if (processes := requested_processes()) > 1:
        from transgan.data.batches import check_divisible

        check_divisible(make_plan(document, registry), processes)  # a mistake is reported here, once
        relaunch(processes)
    show_and_exit(train(document, registry, folder, steps=steps, from_step=from_))
