"""The page of constants: its column of our values is what recipes and options say."""

import importlib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from transgan.api import Schedule
from transgan.errors import PluginError, RecipeError
from transgan.plan import make_plan
from transgan.recipe import parse_recipe, read_recipe, write_recipe
from transgan.registry import Registry

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/methods/constants.md").read_text(encoding="utf-8")
RECIPES = sorted(path.name for path in (ROOT / "recipes").glob("*.toml"))
#: Kinds of plugins whose options have constants of a method.
KINDS = ("losses", "augmentations")

MINIMAL = """
data = { source = "folders" }
domains = { a = "a", b = "b" }
tasks = { t = { between = ["a", "b"] } }
train = { steps = 10 }
generators = { resnet = { per = "direction" } }
discriminators = { patch = true }
losses = { lsgan = 1.0, cycle = 10.0 }
"""


def rows(section: str) -> Iterator[tuple[str, Any]]:
    """Yield the key and our value of each row of a section's table."""
    (text,) = [part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE) if part.startswith(f"{section}\n")]
    for line in text.splitlines():
        if found := re.match(r"\| `([^`]+)` \| [^|]+ \| `([^`]+)` \| [^|]*\|$", line):
            yield found[1], tomllib.loads(f"value = {found[2]}")["value"]
        else:
            assert not line.startswith("| `"), f"cannot read the row {line!r}"


def written(recipe: str) -> dict[str, Any]:
    """Return what the file of a recipe says."""
    return tomllib.loads((ROOT / "recipes" / recipe).read_text(encoding="utf-8"))


@cache
def registry() -> Registry:
    return Registry.installed()


def resolved(recipe: str) -> dict[str, Any]:
    """Return a recipe with all defaults, or that of an empty one."""
    try:
        document = read_recipe(ROOT / "recipes" / recipe) if recipe else parse_recipe(MINIMAL)
        return tomllib.loads(write_recipe(document, make_plan(document, registry()).filled))
    except (PluginError, RecipeError) as error:
        if 'pip install "transgan[' in str(error):
            pytest.skip(str(error))
        raise


def at(table: Any, key: str) -> Any:
    for part in key.split("."):
        table = table[int(part)] if isinstance(table, list) else table[part]
    return table


def module_constant(key: str) -> Any:
    module, name = key.split(":")
    return getattr(importlib.import_module(module), name)


def assert_equal(key: str, found: Any, stated: Any) -> None:
    if isinstance(stated, dict) or isinstance(found, (dict, Schedule)):
        found, stated = (
            each if isinstance(each, Schedule) else Schedule.model_validate(each) for each in (found, stated)
        )
    assert found == stated, f"{key}: the page says {stated}, and it is {found}"


@pytest.mark.parametrize("recipe", RECIPES)
def test_our_constants_are_those_of_the_recipe(recipe: str) -> None:
    if "extends" in written(recipe) and f"## `recipes/{recipe}`\n" not in PAGE:
        return  # it has no constants but those of the recipe that it extends
    table, known = resolved(recipe), list(rows(f"`recipes/{recipe}`"))
    assert known
    for key, stated in known:
        assert_equal(key, module_constant(key) if ":" in key else at(table, key), stated)


def test_our_defaults_are_those_of_the_options() -> None:
    for key, stated in rows("Defaults of options"):
        if ":" in key:
            found = module_constant(key)
        else:
            kind, plugin, name = key.split(".")
            found = registry().get(kind, plugin).Options.model_fields[name].default
        assert_equal(key, found, stated)


def test_the_constants_of_the_fallback_are_those_of_the_schema() -> None:
    table = resolved("")
    for key, stated in rows("`[guard.fallback]`"):
        assert_equal(key, at(table, key), stated)


def test_every_loss_and_augmentation_with_constants_is_on_the_page() -> None:
    """The kind: a constant that is added to a method and compared with no source."""
    stated = {key for key, _ in rows("Defaults of options")}
    ours = {"layer"}  # `losses.cycle.layer` is in cyclegan_better's table
    for (kind, name), entry in registry().entries.items():
        if kind in KINDS and entry.package == "transgan":
            for option, field in entry.cls.Options.model_fields.items():
                if field.default is None or field.is_required():
                    continue  # what is to be chosen is no constant
                assert option in ours or f"{kind}.{name}.{option}" in stated, f"{kind}.{name}.{option} is missing"


@pytest.mark.parametrize("recipe", RECIPES)
def test_class_heads_and_complexion(recipe: str) -> None:
    """The kind: a class head behind a norm that removes what it reads; augmentation of what a label depends on."""
    table = resolved(recipe)
    for name, slot in table.get("discriminators", {}).items():
        assert not (slot.get("classes") and slot["norm"] == "instance"), name
        races = any("race" in domain for domain in table["domains"].values() if isinstance(domain, dict))
        assert not (races and "colour" in slot["augment"]), name
