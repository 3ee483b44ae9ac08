"""`transgan schema`: the JSON Schema of recipes, by which editors complete, explain and check them."""

import inspect
import json
import os
import sys
from contextlib import suppress
from hashlib import blake2b
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from transgan.cli.options import examples
from transgan.cli.run import PluginFiles

if TYPE_CHECKING:
    from transgan.registry import Registry


def add(app: typer.Typer) -> None:
    app.command(epilog=examples("transgan schema --out recipe.schema.json"))(schema)


def schema(
    out: Path = typer.Option(
        None, "--out", "-o", metavar="FILE", help="Write it into this file instead of printing it."
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace that file if it exists."),
    plugin: list[Path] = PluginFiles,
) -> None:
    """Print the JSON Schema of recipes, for editors.

    With it they complete and check recipes of the installed plugins. A recipe names it in its first line:
    #:schema FILE. Recipes that init and recipes write have that line.
    """
    from transgan.errors import UsageError
    from transgan.plugin_files import use_files
    from transgan.storage import write_text
    from transgan.text import expand_home, is_quiet, note, show, write

    path = None if out is None else expand_home(out)
    # A file of another ending may be a recipe, which --overwrite would replace.
    if path is not None and not path.is_dir() and path.suffix != ".json":
        raise UsageError(f"--out {path}: expected a file ending in .json")
    if path is not None and path.exists() and (path.is_dir() or not overwrite):
        remedy = "expected a file" if path.is_dir() else "choose another file, or replace it with --overwrite"
        raise UsageError(f"--out {path} exists; {remedy}")
    use_files(plugin)

    from transgan.registry import Registry

    registry = Registry.installed()
    text = schema_text(registry)
    if not plugin:
        schema_line(registry)
    if path is None:
        write(text)
    else:
        write_text(path, text)
        note(f"{path}: name it in the first line of a recipe: #:schema {path.resolve().as_uri()}")
        if is_quiet():
            show(path)


def schema_text(registry: "Registry") -> str:
    """Return the schema with a registry's plugins."""
    from transgan.recipe.editor_schema import Described, editor_schema
    from transgan.registry import KINDS

    plugins: dict[str, dict[str, Described]] = {kind: {} for kind in KINDS}
    for (kind, name), entry in sorted(registry.entries.items()):
        if hasattr(entry.cls, "Options"):
            plugins[kind][name] = Described(entry.cls.Options, _summary(entry.cls))
    found: dict[str, Any] = editor_schema(plugins)
    return json.dumps({"$comment": _stamp(), **found}, indent=1) + "\n"


def schema_line(registry: "Registry | None" = None) -> str:
    """Return the line by which a recipe names the schema, which is written where it is not there; empty where it fails.

    One copy for each environment lies in the cache folder, under a name that stays: recipes of earlier versions name
    the newest one too.

    Args:
        registry: the plugins, where they are loaded already; else they are only where the copy is of others.
    """
    from transgan.api.weights import cache_root
    from transgan.errors import DiskError
    from transgan.registry import Registry
    from transgan.storage import write_text

    environment = blake2b(os.fsencode(sys.prefix), digest_size=4).hexdigest()
    path = (cache_root() / "schemas" / f"recipe-{environment}.json").absolute()
    with suppress(DiskError):
        if registry is not None or not _is_current(path):
            write_text(path, schema_text(registry or Registry.installed()))
        return f"#:schema {path.as_uri()}\n"
    return ""


def _stamp() -> str:
    """Return what the schema was made of: this version, and the packages with plugins, none of which is imported."""
    from transgan import __version__

    packages = {f"{point.dist.name} {point.dist.version}" for point in entry_points(group="transgan") if point.dist}
    return ", ".join([f"transgan {__version__}", *sorted(packages - {f"transgan {__version__}"})])


def _is_current(path: Path) -> bool:
    with suppress(OSError, ValueError), path.open(encoding="utf-8") as file:
        return json.dumps(_stamp()) in "".join(file.readline() for _ in range(2))
    return False


def _summary(cls: type) -> str:
    """Return the first paragraph of a class's docstring, as one line."""
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
