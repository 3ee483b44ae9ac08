"""What tests of several folders share: the installed plugins, and recipes small enough for any machine."""

from collections.abc import Callable

import pytest

from transgan.plan import Plan, make_plan
from transgan.recipe import parse_recipe
from transgan.registry import Registry

Planned = Callable[..., Plan]

HEAD = """
[data]
source = { use = "drawn_faces", count = 24 }
size = 16
"""


@pytest.fixture(scope="session")
def registry() -> Registry:
    return Registry.installed()


@pytest.fixture
def planned(registry: Registry) -> Planned:
    """`planned(text, plugin, overrides)`: the plan of a recipe, whose `[data]` may be left out."""

    def plan(text: str, plugin: object = None, overrides: tuple[str, ...] = ()) -> Plan:
        known = registry
        if plugin is not None:
            known = Registry.installed()
            known.add(plugin, "of_this_test")
        return make_plan(parse_recipe(text if "data" in text else HEAD + text, "recipe", overrides), known)

    return plan
