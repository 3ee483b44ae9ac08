"""`transgan recipes`: list the installed recipes, or print one."""

import sys
import tomllib
from typing import TYPE_CHECKING

import typer

from transgan.cli import completion
from transgan.cli.options import Json, examples
from transgan.cli.output import show_json

if TYPE_CHECKING:
    from transgan.recipe import InstalledRecipe


def add(app: typer.Typer) -> None:
    app.command(epilog=examples("transgan recipes", "transgan recipes cut > my.toml"))(recipes)


def recipes(
    name: str = typer.Argument(
        None,
        metavar="NAME",
        help="The recipe to print; without it, list all.",
        autocompletion=completion.recipe_names,
    ),
    json_: bool = Json,
) -> None:
    """List the installed recipes, or print one.

    Commands that take a recipe also take such a name: transgan run cut. A copy begins with a line for editors that
    complete and check recipes.
    """
    from transgan.cli.schema import schema_line
    from transgan.errors import UsageError, did_you_mean
    from transgan.recipe import installed_recipes
    from transgan.recipe.collection import DIRECTIVE
    from transgan.text import cut, line_width, printable, show

    installed = installed_recipes()
    if name is not None:
        found = installed.get(name.removesuffix(".toml"))
        if found is None:
            raise UsageError(f"no recipe '{printable(name)}'. {did_you_mean(name, installed)}")
        text = found.path.read_text(encoding="utf-8").rstrip("\n")
        if json_:
            show_json({**_entry(found), "recipe": tomllib.loads(text)})
        else:
            copied = not sys.stdout.isatty() and not text.startswith(DIRECTIVE)
            show((schema_line() if copied else "") + text)
    elif json_:
        show_json([_entry(each) for each in installed.values()])
    else:
        column, width = max(map(len, installed), default=0) + 2, line_width()
        for each in installed.values():
            package = "" if each.package == "transgan" else f" ({each.package})"
            summary = printable(each.summary)
            if sys.stdout.isatty():  # another program gets whole lines
                summary = cut(summary, width - column - len(package))
            show(each.name.ljust(column) + summary + package)


def _entry(recipe: "InstalledRecipe") -> dict[str, object]:
    return {"name": recipe.name, "path": recipe.path, "package": recipe.package, "summary": recipe.summary}
