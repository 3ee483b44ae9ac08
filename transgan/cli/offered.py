"""What installed plugins offer, by name, read from the source of their modules: nothing of them is imported.

This serves where importing them would take too long: suggestions and completion. A module that registers other names
than literal ones, or elsewhere, is read as far as that goes, and says so.
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
        if tree is None or point.attr:  # the class of an object may be defined anywhere
            found.partial.add("*")
        for node in ast.walk(tree) if tree else ():
            if isinstance(node, ast.FunctionDef) and node.name.startswith("register_"):
                _read(node, found)
            elif isinstance(node, ast.alias) and (name := node.asname or node.name).startswith(("register_", "*")):
                found.partial.add(name.removeprefix("register_"))
    return found


def _read(function: ast.FunctionDef, found: Offered) -> None:
    """Add the names that a hook registers: the literal first arguments of its calls of `register`."""
    hook = function.name.removeprefix("register_")
    uses = 0
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Name("register"), args=[ast.Constant(str(name)), *_]):
                found.names[hook].add(name)
                uses -= 1
            case ast.Name("register"):
                uses += 1
    if uses:  # with other names, or by another function
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
