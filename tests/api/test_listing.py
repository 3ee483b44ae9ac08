"""What plugins import is listed in `listing.txt`, so that a change of it is seen, and decided on.

Where this test fails: something added needs a line in CHANGELOG.md; something that is removed or changed raises
`transgan.api.VERSION` too. `python tests/api/test_listing.py` writes the list.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transgan import api, testing

LISTING = Path(__file__).with_name("listing.txt")


def listing() -> str:
    """Return every name of `transgan.api` and `transgan.testing`, with its signature, or what a class has."""
    lines = [f"transgan.api, version {api.VERSION}", ""]
    for name in sorted(api.__all__, key=str.lower):
        lines += _lines(name, getattr(api, name))
    lines += ["", "transgan.testing", ""]
    for name in sorted(testing.__all__, key=str.lower):
        lines += _lines(name, getattr(testing, name))
    return "\n".join(lines) + "\n"


def _lines(name: str, value: Any) -> Iterator[str]:
    if not (inspect.isclass(value) or inspect.isfunction(value)) or value.__module__.partition(".")[0] != "transgan":
        kind = f"{value.__module__}.{value.__name__}" if inspect.isclass(value) else type(value).__name__
        yield f"{name}: {kind}" if not isinstance(value, int) else f"{name} = {value}"
        return
    tree = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    if isinstance(tree, ast.FunctionDef):
        yield _signature(tree)
        return
    assert isinstance(tree, ast.ClassDef)
    yield f"class {name}({', '.join(map(ast.unparse, tree.bases))})"
    for each in tree.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and not each.target.id.startswith("_"):
            default = f" = {ast.unparse(each.value)}" if each.value else ""
            yield f"    {each.target.id}: {ast.unparse(each.annotation)}{default}"
        elif isinstance(each, ast.FunctionDef) and (not each.name.startswith("_") or each.name in _SPECIAL):
            marks = {ast.unparse(mark) for mark in each.decorator_list} & {"property", "classmethod", "staticmethod"}
            yield f"    {''.join(f'@{mark} ' for mark in marks)}{_signature(each)}"


_SPECIAL = {"__init__", "__call__"}


def _signature(tree: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(tree.returns)}" if tree.returns else ""
    return f"{tree.name}({ast.unparse(tree.args)}){returns}"


def test_the_listing_is_that_of_the_code() -> None:
    assert LISTING.read_text(encoding="utf-8") == listing(), __doc__


def test_the_listing_says_the_version() -> None:
    assert LISTING.read_text(encoding="utf-8").startswith(f"transgan.api, version {api.VERSION}\n")


def test_every_name_is_there() -> None:
    assert all(hasattr(api, name) for name in api.__all__)
    names = re.findall(r"^(?:class )?(\w+)", LISTING.read_text(encoding="utf-8").partition("\n\n")[2], re.MULTILINE)
    assert set(api.__all__) <= set(names)


if __name__ == "__main__":
    LISTING.write_text(listing(), encoding="utf-8")
