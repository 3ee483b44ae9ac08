"""`transgan compare`: put runs side by side, on one page."""

from pathlib import Path

import typer


def add(app: typer.Typer) -> None:
    app.command()(compare)


def compare(
    folders: list[Path] = typer.Argument(help="The folders of two runs or more.", metavar="RUNS..."),
    out: Path = typer.Option("comparison.html", "--out", "-o", help="The file for the page."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace that file if it exists."),
) -> None:
    """Write a page with runs side by side: differing keys of their recipes, figures, curves, previews."""
    from transgan.cli.watch import open_run
    from transgan.errors import UsageError
    from transgan.text import expand_home, line_width, show

    out = expand_home(out)
    if not 2 <= len(folders) <= 8:
        raise UsageError(f"{len(folders)} run{'s'[: len(folders) != 1]} to compare; expected 2 to 8")
    if out.is_dir():
        raise UsageError(f"--out {out} is a folder; expected a file, such as {out / 'comparison.html'}")
    if (out.is_file() or out.is_symlink()) and out.suffix != ".html":
        raise UsageError(f"--out {out} exists, and is no .html file; choose another file")
    if (out.is_file() or out.is_symlink()) and not overwrite:
        raise UsageError(f"--out {out} exists; choose another file, or replace it with --overwrite")
    runs = [open_run(folder) for folder in folders]
    from transgan.reporting.comparison import compare_runs, short_table
    from transgan.reporting.html import KINDS
    from transgan.reporting.runs import RunReader
    from transgan.storage import write_text

    views = [RunReader(run, plan, KINDS).read() for run, plan in runs]
    write_text(out, compare_runs(views))
    for line in short_table(views, line_width()):
        show(line.rstrip())
    show(f"page  {out}")
