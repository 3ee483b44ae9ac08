"""Fixtures of tests of the pages."""

import re
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from transgan.registry import Registry


@pytest.fixture(scope="session")
def with_plugins_of() -> Callable[[Path], Registry]:
    """`with_plugins_of(page)`: the installed plugins and those that a page shows, of one name the last."""

    def registry(page: Path) -> Registry:
        shown: dict[str, str] = {}
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            if "@hookimpl" in block and (name := re.search(r'register\("(\w+)"', block)):
                shown[name[1]] = block
        found = Registry.installed()
        for name, block in shown.items():
            module = types.ModuleType(f"plugin_of_a_page_{name}")
            exec(block, module.__dict__)  # noqa: S102 - a page of this repository
            found.add(module, f"of_a_page_{name}", f"of-a-page-{name}", "0.1.0")
        return found

    return registry
