"""`transgan watch`: look at a run while it goes on, or after its end, in a browser."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from transgan.cli import completion
from transgan.cli.options import examples
from transgan.cli.run import PluginFiles

if TYPE_CHECKING:
    from transgan.plan import Plan
    from transgan.storage import RunFolder


def add(app: typer.Typer) -> None:
    app.command(epilog=examples("transgan watch runs/cut-1", "transgan watch runs/cut-1 --port 8000"))(watch)


def watch(
    folder: Path = typer.Argument(metavar="FOLDER", help="The folder of a run.", autocompletion=completion.runs),
    port: int = typer.Option(0, "--port", min=0, max=65535, metavar="N", help="Listen on port N; 0 for a free one."),
    plugin: list[Path] = PluginFiles,
) -> None:
    """Show a run as a live page in a browser.

    Prints the address of the page, which this machine alone can open. Ctrl-C ends the server, not the run.
    """
    from transgan.errors import UsageError
    from transgan.text import is_quiet, show

    run, plan = open_runs([folder], plugin)[0]
    from transgan.reporting.serving import ADDRESS, serve

    try:
        server = serve(run, plan, port)
    except OSError as error:
        raise UsageError(f"--port {port}: cannot listen there: {error.strerror}; choose another, or omit it") from error
    with server, suppress(KeyboardInterrupt):
        address = f"http://{ADDRESS}:{server.server_address[1]}/"
        show(address if is_quiet() else f"{address}  shows {run.path}; Ctrl-C ends it")
        server.serve_forever()


def open_runs(paths: Sequence[Path], plugins: Sequence[Path] | None) -> "list[tuple[RunFolder, Plan | None]]":
    """Return the folders of runs, to read them, and their plans; None where a recipe cannot be planned any more.

    Args:
        plugins: files with plugins of theirs.

    Raises:
        PluginError: a file has none.
        RecipeError: the recipe of a run is none.
        UsageError: one is not the folder of a run.
    """
    from transgan.errors import TransganError
    from transgan.plugin_files import use_files
    from transgan.recipe.of_run import read_run, run_of
    from transgan.text import expand_home, note

    read = [(run_of(path), read_run(path)) for path in map(expand_home, paths)]  # all before torch is imported
    use_files(plugins)

    from transgan.plan import make_plan
    from transgan.plan.of_run import check_plugins
    from transgan.registry import Registry

    registry = Registry.installed()
    found: list[tuple[RunFolder, Plan | None]] = []
    for run, document in read:
        try:
            check_plugins(run.path, registry)
            found.append((run, make_plan(document, registry)))
        except TransganError as error:
            why = " ".join(line.strip() for line in str(error).splitlines()[:2])
            note(f"note: {run.path}: losses and figures are shown without explanations: {why}")
            found.append((run, None))
    return found
