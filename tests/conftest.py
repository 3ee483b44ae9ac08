"""What tests of several folders share: installed plugins, small recipes, their plans and runs, the command line.

A recipe of a test says what the test is about. Of the tables `[data]`, `[tasks]` and `[domains]` it may leave out those
that are of no concern to it: these are drawn faces, young and old, as below.
"""

import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from transgan.cli import main
from transgan.cli.training import train
from transgan.plan import Plan, make_plan
from transgan.recipe import parse_recipe, read_recipe
from transgan.registry import Registry

DATA = """
[data]
source = { use = "synthetic_faces", count = 24 }
size = 16
"""
TASKS = """
[tasks.age]
between = ["young", "old"]
"""
DOMAINS = {
    "young": "{ age = [20, 30] }",
    "old": "{ age = [50, 60] }",
    "white": '{ race = "White" }',
    "black": '{ race = "Black" }',
}


def completed(text: str) -> str:
    """A recipe with the tables that it leaves out; of the domains, those that it names."""
    said = tomllib.loads(text)
    if "data" not in said:
        text += DATA
    if "tasks" not in said:
        text += TASKS
    if "domains" not in said:
        text += "\n[domains]\n"
        text += "".join(f"{name} = {selection}\n" for name, selection in DOMAINS.items() if f'"{name}"' in text)
    return text


def with_plugin(plugin: object) -> Registry:
    found = Registry.installed()
    if plugin is not None:
        found.add(plugin, "of_this_test")
    return found


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry.installed()


@pytest.fixture
def planned(registry: Registry) -> Callable[..., Plan]:
    """`planned(text, plugin, overrides)`: the plan of a recipe, which may leave tables out."""

    def plan(text: str, plugin: object = None, overrides: tuple[str, ...] = ()) -> Plan:
        known = registry if plugin is None else with_plugin(plugin)
        return make_plan(parse_recipe(completed(text), "recipe", overrides), known)

    return plan


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`written(text)`: the file of a recipe, which may leave tables out."""

    def write(text: str) -> Path:
        path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
        path.write_text(completed(text))
        return path

    return write


@pytest.fixture(scope="session")
def trained() -> Callable[..., runs.Checkpoint]:
    """`trained(recipe, out, *overrides, plugin)`: its last checkpoint, after training within this process."""

    def run(recipe: Path, out: Path, *overrides: str, plugin: object = None) -> runs.Checkpoint:
        assert train(read_recipe(recipe, overrides), with_plugin(plugin), out, quiet=True) == 0
        checkpoint, rejected = runs.newest(out / "checkpoints")
        assert checkpoint is not None and not rejected
        return checkpoint

    return run


@pytest.fixture(scope="session")
def typed() -> Callable[..., int]:
    """`typed("run", recipe)`: the exit code of a command, within this process, which has torch already."""

    def run(*words: object) -> int:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
            patch.setattr(sys, "argv", ["transgan", *map(str, words)])
            main()
        return int(stop.value.code or 0)

    return run
