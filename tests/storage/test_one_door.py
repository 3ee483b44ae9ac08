"""One module does every write that replaces or removes something: no other calls what would do it behind its back."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Methods of paths, and functions of modules, that replace or remove files.
METHODS = {"write_text", "write_bytes", "unlink", "rmdir", "touch", "symlink_to", "hardlink_to"}
FUNCTIONS = {
    *(("os", name) for name in ("remove", "unlink", "rename", "replace", "rmdir", "truncate", "link", "symlink")),
    *(("shutil", name) for name in ("copy", "copy2", "copyfile", "copytree", "move", "rmtree")),
}
#: Places that may: the module itself, one that removes a lock of its own, two that open the null device, and checks of
#: plugins, which write into temporary folders.
ALLOWED = {
    ("transgan/storage/atomic.py", None),
    ("transgan/storage/run_folder.py", "unlink"),
    ("transgan/text.py", "open"),
    ("transgan/cli/completion.py", "open"),
    ("transgan/testing/samples.py", "write_bytes"),
    ("transgan/testing/steps.py", "touch"),
}


def writes(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and name of each call that may replace or remove a file."""
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        owner, name = "", ""
        if isinstance(call.func, ast.Attribute):
            owner, name = getattr(call.func.value, "id", ""), call.func.attr
        elif isinstance(call.func, ast.Name):
            name = call.func.id
        place = 1 if owner == "" and isinstance(call.func, ast.Name) else 0
        modes = [*call.args[place : place + 1], *(each.value for each in call.keywords if each.arg == "mode")]
        opens = name == "open" and any(
            isinstance(each, ast.Constant) and set("wxa+") & set(str(each.value)) for each in modes
        )
        if opens or (owner, name) in FUNCTIONS or (name in METHODS and owner != "storage" and owner):
            yield call.lineno, name


def test_the_search_finds_writes() -> None:
    found = "p.write_text('a')\nopen('a', 'w')\nq.open(mode='ab')\nos.replace(a, b)\nshutil.rmtree(a)\np.unlink()"
    assert [line for line, _ in writes(found)] == [1, 2, 3, 4, 5, 6]
    assert not list(writes("storage.write_text(a, b)\nopen('a')\ntext.replace(a, b)\nImage.open(path)"))


@pytest.mark.parametrize("folder", ["transgan", "plugins"])
def test_nothing_else_replaces_or_removes_files(folder: str) -> None:
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        found += [
            f"{name}:{line}: {call}"
            for line, call in writes(path.read_text(encoding="utf-8"))
            if not {(name, None), (name, call)} & ALLOWED
        ]
    assert found == []
