"""`transgan plugins new`: packages of every kind that pass their own tests, lint, types and two steps as they come."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from transgan.cli.new_plugin import write_package
from transgan.registry import KINDS, Registry
from transgan.testing import CHECKERS


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of each kind."""
    folder = tmp_path_factory.mktemp("packages")
    registry = Registry.installed()
    for kind in KINDS:
        write_package(f"own_{kind}", kind, folder, registry)
    return folder


def done(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(each for each in sys.path if each)
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([*map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_it_is_formatted_and_has_no_lint(packages: Path) -> None:
    pytest.importorskip("ruff")
    for words in (("check", "."), ("format", "--check", ".")):
        result = done(sys.executable, "-m", "ruff", *words, cwd=packages)
        assert result.returncode == 0, result.stdout


def test_its_types_are_right(packages: Path) -> None:
    pytest.importorskip("mypy")
    modules = [path for kind in KINDS for path in sorted((packages / f"own_{kind}").glob("*.py"))]
    assert len(modules) == 2 * len(KINDS)
    result = done(sys.executable, "-m", "mypy", "--strict", *modules, cwd=packages)
    assert result.returncode == 0, result.stdout


def test_its_tests_pass(packages: Path, forked: Any, tmp_path: Path) -> None:
    folders = [packages / f"own_{kind}" for kind in KINDS]
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *folders)
    process = forked(words, (os.devnull, tmp_path / "printed", tmp_path / "printed"), packages)
    process.join()
    assert process.exitcode == 0, (tmp_path / "printed").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_its_recipe_runs_two_steps(transgan: Any, packages: Path, kind: str, tmp_path: Path) -> None:
    folder = packages / f"own_{kind}"
    plugin = folder / f"own_{kind}.py"
    result = transgan("run", folder / "recipe.toml", "--plugin", plugin, "--out", tmp_path / "run", "-q")
    assert result.code == 0, result.err
    assert (tmp_path / "run/model/model.safetensors").is_file()
    used = (tmp_path / "run/env.json").read_text()
    assert (f"own_{kind}.py" in used) == (kind not in ("region_detectors", "containers"))  # which no recipe names


def test_it_is_a_package_with_an_entry_point(packages: Path) -> None:
    for kind in KINDS:
        project = tomllib.loads((packages / f"own_{kind}" / "pyproject.toml").read_text())["project"]
        name = f"own_{kind}"
        assert project["entry-points"]["transgan"] == {name: name}
        assert project["name"] == name.replace("_", "-")
        assert name in (packages / name / "README.md").read_text()


def test_the_command_writes_into_a_new_folder_and_says_what_to_do_next(transgan: Any, tmp_path: Path) -> None:
    result = transgan("plugins", "new", "some_loss", "--kind", "loss")
    assert result.code == 0, result.err
    assert "cd some_loss && pip install -e '.[test]' && pytest && transgan run recipe.toml" in result.out
    assert sorted(path.name for path in (tmp_path / "some_loss").iterdir()) == [
        "README.md",
        "pyproject.toml",
        "recipe.toml",
        "some_loss.py",
        "test_some_loss.py",
    ]
    before = {path: path.read_bytes() for path in (tmp_path / "some_loss").iterdir()}
    assert "some_loss exists; nothing was written" in transgan("plugins", "new", "some_loss", "--kind", "loss").error(2)
    assert {path: path.read_bytes() for path in (tmp_path / "some_loss").iterdir()} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("new",), "expected transgan plugins new NAME --kind KIND"),
        (("new", "mine"), "expected transgan plugins new NAME --kind KIND"),
        (("new", "mine", "--kind", "los"), "--kind los: no such kind of plugin. Did you mean 'loss'?"),
        (("new", "cycle", "--kind", "loss"), "there is a loss 'cycle' already"),
        (("new", "torch", "--kind", "loss"), "there is a module 'torch' already"),
        (("new", "class", "--kind", "loss"), "is a word of Python"),
        (("new", "../mine", "--kind", "loss"), "expected a name of small letters"),
        (("cycle", "mine"), "belong to 'transgan plugins new NAME --kind KIND'"),
        (("cycle", "--kind", "loss"), "belong to 'transgan plugins new NAME --kind KIND'"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(transgan: Any, tmp_path: Path, words: Any, message: str) -> None:
    assert message in transgan("plugins", *words).error(2)
    assert not [path for path in tmp_path.iterdir() if path.name != ".cache"]


def test_every_kind_has_a_template() -> None:
    folder = Path(sys.modules["transgan.cli.new_plugin"].__file__ or "").parent / "templates"
    assert {path.name.removesuffix(".py.txt") for path in folder.glob("*.py.txt")} == {*CHECKERS, "test"}
