"""`transgan samples`: write files to try a model on, which plugins make without any data."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from transgan.cli.options import examples
from transgan.cli.run import PluginFiles

if TYPE_CHECKING:
    from transgan.api.examples import Examples


def add(app: typer.Typer) -> None:
    app.command(epilog=examples("transgan samples examples"))(samples)


def samples(
    folder: Path = typer.Argument(metavar="FOLDER", help="The folder for the files."),
    seed: int = typer.Option(0, "--seed", min=0, max=2**32 - 1, metavar="N", help="Another seed gives other files."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace files that exist."),
    plugin: list[Path] = PluginFiles,
) -> None:
    """Write a few synthetic files to try a model on.

    It says what to try with each. Nothing is downloaded. With --quiet, the folder is printed.
    """
    from transgan.errors import PluginError, PluginRuntimeError, UsageError
    from transgan.plugin_files import use_files
    from transgan.storage.atomic import disk_errors, make_folder
    from transgan.text import expand_home, is_quiet, printable, show

    folder = expand_home(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file; expected a folder")
    use_files(plugin)

    from transgan.registry import Registry

    registry = Registry.installed()
    if not registry.examples:
        raise UsageError(f"no plugin offers files to try.{registry.not_loaded}")
    wanted = [folder / name for each in registry.examples.values() for name in each.files]
    existing = [path for path in wanted if os.path.lexists(path)]
    if existing and not overwrite:
        raise UsageError(
            f"{len(existing)} of {len(wanted)} files exist, the first is {existing[0]}; "
            "choose another folder, or replace them with --overwrite"
        )
    with disk_errors(folder):
        make_folder(folder)
    written = 0
    for each in registry.examples.values():
        try:
            each.write(folder, seed)
        except PluginError as error:
            show(f"not written: {printable(each.name)}: {printable(error)}", error=True)
            continue
        if missing := [name for name in each.files if not (folder / name).is_file()]:
            raise PluginRuntimeError(f"the examples {each.name!r} were not written: there is no {folder / missing[0]}")
        _describe(each, folder)
        written += 1
    if not written:
        raise PluginError(f"nothing was written into {folder}: every plugin with files to try lacks something")
    if is_quiet():
        show(folder)


def _describe(examples: "Examples", folder: Path) -> None:
    """Print what was written, and what to try."""
    from transgan.text import note, printable, shell_word

    first = folder / examples.files[0]
    what = first if len(examples.files) == 1 else first.parent
    note(f"{printable(what)}: {printable(examples.summary)}", error=False)
    for command in examples.commands:
        note(f"  {command.format(shell_word(first), folder=shell_word(first.parent))}", error=False)
