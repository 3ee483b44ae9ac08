"""`transgan compare`: put runs side by side, on one page."""

from pathlib import Path

import typer

from transgan.cli import completion
from transgan.cli.options import examples
from transgan.cli.run import PluginFiles


def add(app: typer.Typer) -> None:
    app.command(epilog=examples("transgan compare runs/cut-1 runs/cut-2 --out cut.html"))(compare)


def compare(
    folders: list[Path] = typer.Argument(
        metavar="FOLDERS", help="The folders of two runs or more.", autocompletion=completion.runs
    ),
    out: Path = typer.Option("comparison.html", "--out", "-o", metavar="FILE", help="The file for the page."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace that file if it exists."),
    plugin: list[Path] = PluginFiles,
) -> None:
    """Write a page with several runs side by side.

    It has the keys in which their recipes differ, figures, curves and previews. A short table is printed.
    """
    from transgan.cli.watch import open_runs
    from transgan.errors import UsageError
    from transgan.text import expand_home, is_quiet, line_width, show

    out = expand_home(out)
    if not 2 <= len(folders) <= 8:
        raise UsageError(f"{len(folders)} run{'s'[: len(folders) != 1]} to compare; expected 2 to 8")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; expected a file, such as {out / 'comparison.html'}")
    if (out.is_file() or out.is_symlink()) and out.suffix != ".html":
        raise UsageError(f"--out {out} exists, and is no .html file; choose another file")
    if (out.is_file() or out.is_symlink()) and not overwrite:
        raise UsageError(f"--out {out} exists; choose another file, or replace it with --overwrite")
    runs = open_runs(folders, plugin)

    from transgan.reporting.comparison import compare_runs, short_table
    from transgan.reporting.html import KINDS
    from transgan.reporting.result import read_result
    from transgan.reporting.runs import RunReader
    from transgan.storage import write_text

    for run, _ in runs:
        read_result(run.result)  # a comparison without the figures of one would mislead
    views = [RunReader(run, plan, KINDS).read() for run, plan in runs]
    write_text(out, compare_runs(views))
    for line in short_table(views, line_width()) if not is_quiet() else ():
        show(line.rstrip())
    show(out if is_quiet() else f"page  {out}")
