"""`transgan data`: look at the data of a recipe, or at a folder."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from transgan.cli import completion
from transgan.cli.options import Json, examples
from transgan.cli.output import show_json
from transgan.cli.run import PluginFiles, Set
from transgan.text import listed

#: Largest number of kinds of files, and of values of a label, that are printed for a domain.
MAX_SHOWN = 8


def add(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Look at the data of a recipe, or at a folder.", no_args_is_help=True, rich_markup_mode=None
    )
    group.command(
        epilog=examples("transgan data check FOLDER", "transgan data check my.toml --strict --json > found.json")
    )(check)
    group.callback()(lambda: None)  # else a single command would take the group's place
    app.add_typer(group, name="data")


def check(
    data: Path = typer.Argument(
        metavar="DATA", help="A recipe in TOML, or a folder of files.", autocompletion=completion.recipe_files
    ),
    set_: list[str] = Set,
    media: str = typer.Option(
        None,
        "--media",
        metavar="NAME",
        help="For a folder, the media that reads it; defaults to that which reads most of its files.",
        autocompletion=completion.names_of("media"),
    ),
    as_json: bool = Json,
    plugin: list[Path] = PluginFiles,
    strict: bool = typer.Option(False, "--strict", help="Exit with code 3 if anything is found."),
) -> None:
    """Inspect every file of a recipe's data, or of a folder.

    Reports unreadable files, copies, near-duplicates, overlaps of splits and domains, and statistics. With --quiet,
    only what is probably wrong is printed.
    """
    from transgan.errors import DataError, UsageError, similar_path
    from transgan.plugin_files import use_files
    from transgan.recipe import read_recipe
    from transgan.recipe.collection import locate_recipe
    from transgan.text import expand_home, is_quiet, show

    path = expand_home(data)
    if path.is_dir() and set_:
        raise UsageError(f"--set changes a recipe, and {path} is a folder")
    if not path.is_dir() and media is not None:
        raise UsageError("--media is for a folder; a recipe names its media: --set data.media=NAME")
    if not locate_recipe(path).exists() and path.suffix != ".toml":
        similar = similar_path(path, lambda each: each.is_dir() or each.suffix == ".toml")
        raise DataError(f"{path}: no such folder or recipe{similar}")
    document = None if path.is_dir() else read_recipe(path, set_ or [])  # before torch is imported, as `check` does
    use_files(plugin)

    from transgan.data.domains import Domains
    from transgan.data.quality import check_data, of_folder, of_recipe
    from transgan.plan import make_plan
    from transgan.progress import progress_bar
    from transgan.registry import Registry

    registry = Registry.installed()
    if document is None:
        checked = of_folder(path, registry, media)
    else:
        checked = of_recipe(Domains(make_plan(document, registry)), str(path))
    with progress_bar("reading the data", checked.count) as seen:
        found = check_data(checked, seen)
    if as_json:
        show_json(found)
    else:
        for line in _warnings(found) if is_quiet() else describe(found):
            show(line)
    if strict and found["findings"]:
        raise typer.Exit(DataError.exit_code)


def describe(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that are printed of what `check_data` has found."""
    yield found["data"]
    for name, domain in found["domains"].items():
        counts = f"{domain['samples']:,} samples, {domain['held_out']:,} held out"
        made = f", {domain['synthetic']:,} of them synthetic" if domain["synthetic"] else ""
        yield f"domain {name}: {counts}{made}; media {domain['media']}"
        for kind, count in list(domain["kinds"].items())[:MAX_SHOWN]:
            yield f"  {count:>8,} {kind}"
        if domain["figures"]:
            width = max(map(len, domain["figures"]))
            yield f"  {'':<{width}} {'least':>10} {'median':>10} {'largest':>10} {'mean':>10}"
            for figure, values in domain["figures"].items():
                cells = " ".join(f"{_number(values[each]):>10}" for each in ("least", "median", "largest", "mean"))
                yield f"  {figure:<{width}} {cells}"
        for label, values in domain["labels"].items():
            yield f"  label {label}: {_label(values)}"
    yield from found["skipped"]
    if not found["findings"]:
        yield "Nothing was found that is wrong."
    yield from _warnings(found)


def _warnings(found: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"warning: {finding}" for finding in found["findings"])


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def _label(values: Mapping[str, Any]) -> str:
    """Return the values of a label with their counts, or the range of numbers."""
    if values.keys() == {"least", "median", "largest", "mean"}:
        return f"{values['least']:g} to {values['largest']:g}, median {values['median']:g}"
    return listed((f"{value} {count:,}" for value, count in values.items()), MAX_SHOWN)
