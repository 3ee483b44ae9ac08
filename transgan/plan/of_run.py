"""The recipe of a run, read from its folder, and whether the plugins that it was trained with are there."""

import json
from pathlib import Path

from transgan.errors import PluginError, RecipeError, UsageError
from transgan.plan.resolve import make_plan
from transgan.recipe import Document, read_recipe
from transgan.registry import Registry
from transgan.storage import RunFolder
from transgan.text import listed, option


def run_of(folder: Path) -> RunFolder:
    """Return the folder of a run, to read it.

    Raises:
        UsageError: it is not the folder of a run.
    """
    run = RunFolder.at(folder)
    if not run.recipe.is_file():
        inside = sorted(each.parent for each in folder.glob("*/recipe.toml") if (each.parent / "checkpoints").is_dir())
        expected = f"one of the runs in it: {listed(inside, 5)}" if inside else "one such as runs/zebra-1"
        raise UsageError(f"{folder}: not the folder of a run: no recipe.toml in it; expected {expected}")
    return run


def read_run(folder: Path) -> Document:
    """Return the recipe of a run.

    Raises:
        UsageError: it is not the folder of a run.
    """
    run = run_of(folder)
    return read_recipe(folder / run.recipe.name)


def check_plugins(folder: Path, registry: Registry) -> None:
    """Check that the plugin files that a run was trained with are there, as far as it cannot do without them.

    Raises:
        PluginError: they are not; names them.
    """
    try:
        plugins = json.loads((folder / "env.json").read_text(encoding="utf-8"))["plugins"]
        files = registry.absent_files(plugins)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # a run that has not begun, or a damaged file
        return
    if files:
        try:
            make_plan(read_run(folder), registry)
        except RecipeError:
            why = f"trained with the plugin file {listed(files)}; give it again: {option('plugins', files)}"
            raise PluginError(f"{folder}: {why}") from None
