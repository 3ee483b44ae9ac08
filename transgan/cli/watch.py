"""`transgan watch`: look at a run while it goes on, or after its end, in a browser."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from transgan.plan import Plan
    from transgan.storage import RunFolder


def add(app: typer.Typer) -> None:
    app.command()(watch)


def watch(
    folder: Path = typer.Argument(help="The folder of a run."),
    port: int = typer.Option(0, "--port", min=0, max=65535, metavar="N", help="Listen on port N; 0 for a free one."),
) -> None:
    """Serve the report of a run as a live page, to this machine alone; Ctrl-C ends it. The run is only read."""
    from transgan.errors import UsageError
    from transgan.text import show

    run, plan = open_run(folder)
    from transgan.reporting.serving import ADDRESS, serve

    try:
        server = serve(run, plan, port)
    except OSError as error:
        raise UsageError(f"--port {port}: cannot listen there: {error.strerror}; choose another, or omit it") from error
    with server, suppress(KeyboardInterrupt):
        show(f"http://{ADDRESS}:{server.server_address[1]}/  shows {run.path}; Ctrl-C ends it")
        server.serve_forever()


def open_run(path: Path) -> "tuple[RunFolder, Plan | None]":
    """Return the folder of a run, to read it, and its plan; None where its recipe cannot be planned any more.

    Raises:
        RecipeError: its recipe is none.
        UsageError: it is not the folder of a run.
    """
    from transgan.errors import TransganError, UsageError
    from transgan.plan import make_plan
    from transgan.plan.of_run import read_run
    from transgan.registry import Registry
    from transgan.storage import RunFolder
    from transgan.text import expand_home, show

    path = expand_home(path)
    run = RunFolder.at(path)
    if not run.recipe.is_file():
        raise UsageError(f"{path}: not the folder of a run: no recipe.toml in it; expected one such as runs/zebra-1")
    document = read_run(path)
    try:
        return run, make_plan(document, Registry.installed())
    except TransganError as error:
        first = str(error).splitlines()[0]
        show(f"note: {path}: losses and figures are shown without explanations: {first}", error=True)
        return run, None
