"""`transgan watch`: look at a run while it goes on, or after its end, in a browser."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from transgan.cli import completion
from transgan.cli.options import examples

if TYPE_CHECKING:
    from transgan.plan import Plan
    from transgan.storage import RunFolder


def add(app: typer.Typer) -> None:
    app.command(epilog=examples("transgan watch runs/cut-1", "transgan watch runs/cut-1 --port 8000"))(watch)


def watch(
    folder: Path = typer.Argument(metavar="FOLDER", help="The folder of a run.", autocompletion=completion.runs),
    port: int = typer.Option(0, "--port", min=0, max=65535, metavar="N", help="Listen on port N; 0 for a free one."),
) -> None:
    """Show a run as a live page in a browser.

    Prints the address of the page, which this machine alone can open. Ctrl-C ends the server, not the run.
    """
    from transgan.errors import UsageError
    from transgan.text import is_quiet, show

    run, plan = open_run(folder)
    from transgan.reporting.serving import ADDRESS, serve

    try:
        server = serve(run, plan, port)
    except OSError as error:
        raise UsageError(f"--port {port}: cannot listen there: {error.strerror}; choose another, or omit it") from error
    with server, suppress(KeyboardInterrupt):
        address = f"http://{ADDRESS}:{server.server_address[1]}/"
        show(address if is_quiet() else f"{address}  shows {run.path}; Ctrl-C ends it")
        server.serve_forever()


def open_run(path: Path) -> "tuple[RunFolder, Plan | None]":
    """Return the folder of a run, to read it, and its plan; None where its recipe cannot be planned any more.

    Raises:
        RecipeError: its recipe is none.
        UsageError: it is not the folder of a run.
    """
    from transgan.errors import TransganError
    from transgan.plan import make_plan
    from transgan.plan.of_run import read_run, run_of
    from transgan.registry import Registry
    from transgan.text import expand_home, note

    path = expand_home(path)
    run = run_of(path)
    document = read_run(path)
    try:
        return run, make_plan(document, Registry.installed())
    except TransganError as error:
        first = str(error).splitlines()[0]
        note(f"note: {path}: losses and figures are shown without explanations: {first}")
        return run, None
