"""`transgan recipes`: list the installed recipes, print one, and take one by its name."""

import json
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from transgan.recipe import collection, installed_recipes, read_recipe

Command = Callable[..., Any]
RECIPES = Path(__file__).parents[2] / "recipes"


def test_every_recipe_is_installed_and_has_a_summary() -> None:
    installed = installed_recipes()
    assert [*installed] == sorted(path.stem for path in RECIPES.glob("*.toml"))
    for each in installed.values():
        first = each.path.read_text(encoding="utf-8").splitlines()[0]
        assert each.summary.startswith(first.removeprefix("# ")) and "\n" not in each.summary


def test_listed_printed_and_as_json(transgan: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = transgan("recipes").out.splitlines()
    assert [line.split()[0] for line in lines] == [*installed_recipes()]
    for line, each in zip(lines, installed_recipes().values(), strict=True):
        assert line.endswith(each.summary)  # to a pipe, whole
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    cut = transgan("recipes").out.splitlines()
    assert all(len(line) <= 80 for line in cut) and max(map(len, lines)) > 80
    monkeypatch.undo()
    printed = tomllib.loads(transgan("recipes", "cut").out)
    assert printed == tomllib.loads((RECIPES / "cut.toml").read_text(encoding="utf-8"))
    listed = json.loads(transgan("recipes", "--json").out)
    assert {each["name"]: each["path"] for each in listed} == {k: str(v.path) for k, v in installed_recipes().items()}


def test_unknown_name_is_one_line_with_a_suggestion(transgan: Command) -> None:
    assert transgan("recipes", "fastcutt").error(2) == "no recipe 'fastcutt'. Did you mean 'fastcut'?"


def test_a_recipe_by_name_and_a_copy_that_extends_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    by_name = read_recipe(Path("fastcut_shapes"))
    Path("mine.toml").write_text((RECIPES / "fastcut_shapes.toml").read_text(encoding="utf-8"), encoding="utf-8")
    copy = read_recipe(Path("mine.toml"))
    original = read_recipe(RECIPES / "fastcut_shapes.toml")
    assert by_name.recipe == original.recipe
    assert copy.recipe == original.recipe.model_copy(update={"name": "mine"})


def test_a_file_comes_before_an_installed_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (RECIPES / "cut_shapes.toml").read_text(encoding="utf-8")
    Path("cut").write_text(text, encoding="utf-8")
    assert read_recipe(Path("cut")).recipe.data == read_recipe(RECIPES / "cut_shapes.toml").recipe.data


def test_recipes_of_another_package_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "other_recipes_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    (package / "cut.toml").write_text("# Hides none of our own.\n", encoding="utf-8")
    (package / "smooth.toml").write_text("# Smooth\n#  pictures.\n#\n# More.\n", encoding="utf-8")
    points = [EntryPoint(name, value, collection.GROUP) for name, value in (("a", package.name), ("b", "is.missing"))]
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(collection, "entry_points", lambda group: points if group == collection.GROUP else [])
    installed = installed_recipes()
    assert installed["smooth"].path == package / "smooth.toml" and installed["smooth"].package == package.name
    assert installed["smooth"].summary == "Smooth pictures."
    assert installed["cut"].path == RECIPES / "cut.toml" and package.name not in sys.modules
