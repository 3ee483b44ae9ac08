"""Whether the plugins that a run was trained with are there."""

import json
from pathlib import Path

from transgan.errors import PluginError, RecipeError
from transgan.plan.resolve import make_plan
from transgan.recipe.of_run import read_run
from transgan.registry import Registry
from transgan.text import listed, option


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
