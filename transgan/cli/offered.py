"""What installed plugins offer, by name, read from the source of their modules: nothing of them is imported.

This serves where importing them would take too long: suggestions and completion. A module that registers other names
than literal ones is read as far as that goes, and says so.
"""

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path


@dataclass
class Offered:
    """Names by hook without its `register_`: `losses`, `commands`, ..."""

    names: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    partial: set[str] = field(default_factory=set)
    """The hooks of which some names may be missing; of every hook where a module cannot be read: `*`."""

    def may_have(self, hook: str, name: str) -> bool:
        """Return whether a plugin may offer something of this name."""
        return name in self.names[hook] or not self.partial.isdisjoint((hook, "*"))


@cache
def offered() -> Offered:
    """Return what the installed plugins offer."""
    found = Offered()
    for point in entry_points(group="transgan"):
        path = _module(point.module)
        tree = _parsed(path) if path else None
        if tree is None:
            found.partial.add("*")
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("register_"):
                _read(node, found)
    return found


def _read(function: ast.FunctionDef, found: Offered) -> None:
    """Add the names that a hook registers: the literal first arguments of its calls of `register`."""
    hook = function.name.removeprefix("register_")
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "register":
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                found.names[hook].add(first.value)
            else:
                found.partial.add(hook)
        elif isinstance(node, (ast.For, ast.While, ast.comprehension)):
            found.partial.add(hook)


def _module(name: str) -> Path | None:
    """Return the file of a module whose parents need not be imported: one of the top level, or below one."""
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    for part in rest:
        folder = path.parent / part
        path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    return path


def _parsed(path: Path) -> ast.Module | None:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError):
        return None
