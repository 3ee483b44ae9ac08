"""Imports within transgan go one way: from a module to others of its room, or to rooms further down. No cycles."""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import transgan

PACKAGE = "transgan"
#: From the bottom up: the packages and modules of the core. `transgan/__init__.py` and `__main__.py` are outside.
ROOMS = (
    "text", "errors", "launcher", "arguments", "progress", "options", "schedule", "tree", "storage", "api", "rng",
    "graph", "recipe", "plugin_objects", "methods", "plugin_files", "registry", "plugin_errors", "plan", "data",
    "networks", "inference", "evaluation", "monitoring", "reporting", "training", "dry_run", "testing", "bench", "cli",
)  # fmt: skip
OUTSIDE = {PACKAGE, f"{PACKAGE}.__main__"}
HOOKS = f"{PACKAGE}.api.hooks"
#: The only modules outside `cli` that may import for type checking alone, and what: so that listing plugins, and
#: looking for a run or a model, imports no torch.
FOR_TYPES = {
    HOOKS: {"torch", f"{PACKAGE}.api.protocols"},
    f"{PACKAGE}.storage.checkpoints": {"torch"},
    f"{PACKAGE}.storage.serialization": {"torch"},
    f"{PACKAGE}.inference.places": {"torch"},
}


@dataclass(frozen=True)
class Import:
    """An import of one module by another."""

    importer: str
    imported: str
    line: int
    at_module_level: bool
    """Whether it is executed when the importer is imported."""
    for_type_checking: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules_in(root: Path) -> dict[str, ast.Module]:
    """Return the syntax trees of the modules of the package in folder `root`, by module name."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports_of(name: str, tree: ast.Module, known: Mapping[str, ast.Module]) -> Iterator[Import]:
    """Yield every import of a module, including those inside functions."""

    def visit(node: ast.AST, at_module_level: bool, for_type_checking: bool) -> Iterator[Import]:
        for target in _imported(node, name, known):
            yield Import(name, target, node.lineno, at_module_level, for_type_checking)  # type: ignore[attr-defined]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            at_module_level = False
        if isinstance(node, ast.If) and any(map(_names_type_checking, ast.walk(node.test))):
            for child in node.body:
                yield from visit(child, False, True)
            for child in node.orelse:
                yield from visit(child, at_module_level, for_type_checking)
            return
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_module_level, for_type_checking)

    yield from visit(tree, True, False)


def _imported(node: ast.AST, importer: str, known: Mapping[str, ast.Module]) -> list[str]:
    """Return the modules that a statement imports: a submodule where `from` names one, else the module itself."""
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    assert not node.level, f"{importer}:{node.lineno}: write an absolute import"
    found = []
    for each in node.names:
        submodule = f"{node.module}.{each.name}"
        lazy = node.module == PACKAGE and each.name != "__version__"  # what `transgan/__init__.py` imports on first use
        found.append(submodule if submodule in known or lazy else str(node.module))
    return list(dict.fromkeys(found))


def _names_type_checking(node: ast.AST) -> bool:
    return "TYPE_CHECKING" in (getattr(node, attribute, "") for attribute in ("id", "attr", "name"))


def room_of(module: str) -> str:
    return module.removeprefix(f"{PACKAGE}.").partition(".")[0]


def _height(module: str) -> int:
    """Return the index of a module's room; -1 where it is in none, which is reported for the module itself."""
    room = room_of(module)
    return ROOMS.index(room) if room in ROOMS else -1


def violations(modules: Mapping[str, ast.Module]) -> list[str]:
    """Return a line for each import that goes up, and for each use of `TYPE_CHECKING` where there may be none."""
    found = []
    for name, tree in modules.items():
        room = room_of(name)
        if name in OUTSIDE:
            continue
        if room not in ROOMS:
            found.append(f"{name}: the room '{room}' is not in ROOMS")
            continue
        if room != "cli" and name not in FOR_TYPES and any(map(_names_type_checking, ast.walk(tree))):
            found.append(f"{name} uses TYPE_CHECKING; import always, or move what both modules need further down")
        for each in imports_of(name, tree, modules):
            if name in FOR_TYPES and each.for_type_checking:
                if each.imported not in FOR_TYPES[name]:
                    found.append(f"{each} for type checking")
            elif each.imported.partition(".")[0] != PACKAGE or each.imported == PACKAGE:
                continue  # another package, or this one for its version
            elif each.imported not in modules:
                found.append(f"{each}; there is no such module")
            elif ROOMS.index(room) < _height(each.imported):
                found.append(f"{each}, which is further up: {room} < {room_of(each.imported)}")
    return found


def cycles(modules: Mapping[str, ast.Module]) -> list[str]:
    """Return the cycles of module-level imports, each once."""
    edges = {
        name: {
            each.imported
            for each in imports_of(name, tree, modules)
            if each.at_module_level and each.imported in modules
        }
        for name, tree in modules.items()
        if name not in OUTSIDE
    }
    found: list[str] = []
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            found.append(" -> ".join((*path[path.index(name) :], name)))
        elif name not in finished:
            for each in sorted(edges.get(name, ())):
                visit(each, (*path, name))
            finished.add(name)

    for name in edges:
        visit(name, ())
    return found


@pytest.fixture(scope="module")
def core() -> dict[str, ast.Module]:
    return modules_in(Path(transgan.__file__).parent)


def test_imports_go_down(core: dict[str, ast.Module]) -> None:
    assert violations(core) == []


def test_modules_do_not_import_each_other_in_a_cycle(core: dict[str, ast.Module]) -> None:
    assert cycles(core) == []


def test_every_room_exists(core: dict[str, ast.Module]) -> None:
    assert {room_of(name) for name in core} - {PACKAGE, "__main__"} == set(ROOMS)


@pytest.mark.parametrize(
    ("module", "source", "line"),
    [
        ("errors", "import transgan.api", "errors:1 imports transgan.api, which is further up: errors < api"),
        ("plan/plan", "from transgan.data.batches import Batches", "plan.plan:1 imports transgan.data.batches, which"),
        ("plan/plan", "from transgan.data import batches", "imports transgan.data.batches, which is further up"),
        ("plan/plan", "def f():\n    from transgan import data", "plan.plan:2 imports transgan.data, which is further"),
        ("data/batches", "class A:\n    if True:\n        import transgan.cli", "data.batches:3 imports transgan.cli"),
        ("data/batches", "from typing import TYPE_CHECKING", "transgan.data.batches uses TYPE_CHECKING"),
        ("data/batches", "import typing\nif typing.TYPE_CHECKING:\n    import torch", "uses TYPE_CHECKING"),
        ("data/batches", "from transgan import __version__", None),
        ("data/batches", "from transgan import Translator", "imports transgan.Translator; there is no such module"),
        ("api/hooks", "if TYPE_CHECKING:\n    import transgan.plan.plan", "transgan.plan.plan for type checking"),
        ("api/hooks", "if TYPE_CHECKING:\n    import torch\n    import transgan.api.protocols", None),
        ("cli/run", "if TYPE_CHECKING:\n    from transgan.cli import run", None),
        ("cli/run", "from transgan.data.batches import Batches\nimport transgan", None),
        ("strange", "import os", "transgan.strange: the room 'strange' is not in ROOMS"),
    ],
)
def test_an_import_that_goes_up_is_found(tmp_path: Path, module: str, source: str, line: str | None) -> None:
    packages = ("__init__", "api/__init__", "data/__init__", "cli/__init__")
    for name in (*packages, "errors", "api/hooks", "api/protocols", "plan/plan", "data/batches", "cli/run", module):
        path = tmp_path / PACKAGE / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source if name == module else "")
    found = violations(modules_in(tmp_path / PACKAGE))
    assert len(found) == (line is not None)
    assert line is None or line in found[0]


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("from transgan.plan.first import x", ["transgan.plan.first -> transgan.plan.second -> transgan.plan.first"]),
        ("from transgan.plan import first", ["transgan.plan.first -> transgan.plan.second -> transgan.plan.first"]),
        ("def f():\n    from transgan.plan.first import x", []),
        ("if TYPE_CHECKING:\n    from transgan.plan.first import x", []),
        ("import transgan.errors", []),
    ],
)
def test_a_cycle_is_found(tmp_path: Path, second: str, expected: list[str]) -> None:
    (tmp_path / PACKAGE / "plan").mkdir(parents=True)
    sources = {"errors": "", "plan/__init__": "import transgan.plan.first", "plan/second": second}
    sources["plan/first"] = "import transgan.plan.second"
    for name, source in sources.items():
        (tmp_path / PACKAGE / f"{name}.py").write_text(source)
    assert cycles(modules_in(tmp_path / PACKAGE)) == expected
