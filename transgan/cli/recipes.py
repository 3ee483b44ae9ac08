"""`transgan recipes`: list the installed recipes, or print one."""

import json
import sys
from dataclasses import asdict

import typer


def add(app: typer.Typer) -> None:
    app.command()(recipes)


def recipes(
    name: str = typer.Argument(None, help="The recipe to print; without it, list all."),
    json_: bool = typer.Option(False, "--json", help="List them as JSON: name, path, package, summary."),
) -> None:
    """List the installed recipes with a line for each; or print one: transgan recipes cut > my.toml.

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
        copied = not sys.stdout.isatty() and not text.startswith(DIRECTIVE)
        show((schema_line() if copied else "") + text)
    elif json_:
        entries = [{**asdict(each), "path": str(each.path), "summary": each.summary} for each in installed.values()]
        show(json.dumps(entries, indent=2))
    else:
        column, width = max(map(len, installed), default=0) + 2, line_width()
        for each in installed.values():
            package = "" if each.package == "transgan" else f" ({each.package})"
            show(each.name.ljust(column) + cut(printable(each.summary), width - column - len(package)) + package)
