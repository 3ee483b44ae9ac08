"""The recipes that are installed: TransGAN's own, and those of packages that offer some."""

import os
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

#: The entry points by which a package offers recipes: each names a package of its own, a folder with TOML files.
GROUP = "transgan.recipes"
#: How a line begins that is for editors: `#:schema FILE`.
DIRECTIVE = "#:"


@dataclass(frozen=True)
class InstalledRecipe:
    """A recipe that is installed."""

    name: str
    """Its file's name without `.toml`, which commands take for it."""
    path: Path
    package: str
    """Who offers it."""

    @property
    def summary(self) -> str:
        """The first paragraph of the comment that it begins with, as one line."""
        with self.path.open(encoding="utf-8", errors="replace") as file:
            comment = takewhile(lambda line: line.startswith("#"), file)
            lines = (line.removeprefix("#").strip() for line in comment if not line.startswith(DIRECTIVE))
            return " ".join(takewhile(bool, lines))


def installed_recipes() -> dict[str, InstalledRecipe]:
    """Return the installed recipes by name, sorted; of several with one name TransGAN's own, then the first package's.

    No plugin is imported for it.
    """
    folders = [("transgan", _own_folder())]
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        folders += [(point.dist.name if point.dist else point.value, each) for each in _folders_of(point.value)]
    found: dict[str, InstalledRecipe] = {}
    for package, folder in folders:
        for path in folder.glob("*.toml"):
            found.setdefault(path.stem, InstalledRecipe(path.stem, path, package))
    return dict(sorted(found.items()))


def locate_recipe(path: Path, beside: Path = Path()) -> Path:
    """Return a recipe's file: a path, or where there is no such file, the installed recipe of that name.

    Args:
        path: relative to the folder `beside`.
    """
    file = beside / path
    if path.name != str(path) or os.path.exists(file):  # noqa: PTH110 - Path.exists raises for some names
        return file
    installed = installed_recipes().get(path.name.removesuffix(".toml"))
    return installed.path if installed else file


def _own_folder() -> Path:
    """Return the folder of TransGAN's recipes: in the package, or in a checkout beside it."""
    package = Path(__file__).parents[1]
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def _folders_of(package: str) -> list[Path]:
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):  # the package that contains it is missing or broken
        return []
    return [Path(each) for each in spec.submodule_search_locations or []] if spec else []
