"""The recipe of a run, read from its folder."""

from pathlib import Path

from transgan.errors import UsageError, similar_path
from transgan.recipe.parse import Document, read_recipe
from transgan.storage import RunFolder
from transgan.text import listed


def run_of(folder: Path) -> RunFolder:
    """Return the folder of a run, to read it.

    Raises:
        UsageError: it is not the folder of a run.
    """
    run = RunFolder.at(folder)
    if not run.recipe.is_file():
        if not folder.is_dir():
            what = "it is a file" if folder.exists() else "it does not exist"
            raise UsageError(f"{folder}: not the folder of a run: {what}{similar_path(folder, Path.is_dir)}")
        inside = sorted(each.parent for each in folder.glob("*/recipe.toml") if (each.parent / "checkpoints").is_dir())
        expected = f"one of the runs in it: {listed(inside, 5)}" if inside else "one such as runs/zebra-1"
        raise UsageError(f"{folder}: not the folder of a run: no recipe.toml in it; expected {expected}")
    return run


def read_run(folder: Path) -> Document:
    """Return the recipe of a run.

    Raises:
        RecipeError: the recipe is none.
        UsageError: it is not the folder of a run.
    """
    run = run_of(folder)
    return read_recipe(folder / run.recipe.name)
