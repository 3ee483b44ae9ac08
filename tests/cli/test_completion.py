"""Completion as shells ask for it: by environment variables, in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from transgan.cli import offered as module
from transgan.cli.completion import _joined
from transgan.cli.offered import offered
from transgan.cli.plugins import _KINDS
from transgan.recipe import installed_recipes
from transgan.registry import KINDS, Registry

#: Says on stderr's number 3 what was imported; the completion itself has no stderr.
PROGRAM = """
import atexit, os, sys
atexit.register(lambda: os.write(2, b"torch" if "torch" in sys.modules else b""))
from transgan.cli import main
main()
"""
CONFIG = {
    "recipe": {
        "domains": {"young": {}, "old": {}},
        "tasks": {"age": {"between": ["young", "old"]}},
        "attributes": {"years": {"low": 1, "high": 2}},
    }
}


def asked(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.stderr == "", "torch was imported, or something was said"
    return done


def bash(*words: str) -> list[str]:
    """Return what bash is answered behind these words; the last one is incomplete."""
    variables = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    return asked({**variables, "_TRANSGAN_COMPLETE": "complete_bash"}).stdout.split()


@pytest.fixture(autouse=True)
def places(tmp_path: Path) -> None:
    """Make a run, a model and a recipe in the working folder."""
    (tmp_path / "runs/x-1/model").mkdir(parents=True)
    (tmp_path / "runs/x-1/model/config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "runs/x-1/recipe.toml").write_text('name = "x"\n[tasks.age]\nbetween = ["young", "old"]\n')
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported/config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/config.json").write_text("{")
    (tmp_path / "mine.toml").write_text('name = "mine"\n[generators.g]\nuse = "resnet"\nwidth = 8\n')
    (tmp_path / "notes.txt").touch()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("transgan tra", ["translate"]),
        ("transgan fac", ["faces"]),
        ("transgan run cut_", ["cut_shapes"]),
        ("transgan run mi", ["mine.toml"]),
        ("transgan check fastcut_sh", ["fastcut_shapes"]),
        ("transgan recipes wgan", ["wgan_gp"]),
        ("transgan resume run", ["runs/", "runs/x-1"]),
        ("transgan resume runs/", ["runs/x-1"]),
        ("transgan info exp", ["exported"]),
        ("transgan translate runs/x-1 a.png --to ", ["old", "young"]),
        ("transgan translate exported a.png --to y", ["young"]),
        ("transgan translate exported a.png --to = y", ["young"]),  # bash splits words at `=`
        ("transgan translate runs/x-1 --from ", ["old", "young"]),
        ("transgan translate exported a.png --fa", ["--faces"]),
        ("transgan translate runs/x-1 a.png --task ", ["age"]),
        ("transgan translate runs/x-1 a.png --with ", ["years="]),
        ("transgan translate runs/x-1 a.png --regions ", ["faces"]),
        ("transgan evaluate runs/x-1 --metric cycle_e", ["cycle_error"]),
        ("transgan run mine.toml --set train.st", ["train.steps="]),
        ("transgan run mine.toml --set generators.", ["generators.g.use=", "generators.g.width="]),
        ("transgan run --set train.steps = 5 cut_", ["cut_shapes"]),
        ("transgan plugins lsg", ["lsgan"]),
        ("transgan plugins new x --kind los", ["loss"]),
        ("transgan evaluate runs/x-1 --dev", ["--device"]),
        ("transgan data check data --media la", ["label_map"]),
        # Nothing of its own: the shell completes files, or nothing.
        ("transgan translate damaged a.png --to ", []),
        ("transgan translate nowhere a.png --to ", []),
        ("transgan translate", ["translate"]),
        ("transgan faces extract ", []),
        ("transgan nonsense a", []),
        ("transgan run nothing/of/the/kind", []),
    ],
)
def test_bash(words: str, expected: Sequence[str]) -> None:
    assert bash(*words.split(" ")) == list(expected)


def test_everything_is_listed() -> None:
    listed = bash("transgan", "run", "")
    assert set(listed) == {*installed_recipes(), "mine.toml", "runs/", "exported/", "damaged/"}
    assert {"run", "translate", "faces", "data"} <= set(bash("transgan", ""))
    keys = bash("transgan", "check", "mine.toml", "--set", "")
    assert {"train.steps=", "data.size=", "generators.g.width=", "evaluate.samples="} <= set(keys)


def test_zsh_and_fish() -> None:
    words = {"_TYPER_COMPLETE_ARGS": "transgan translate runs/x-1 a.png --to "}
    assert asked({**words, "_TRANSGAN_COMPLETE": "complete_zsh"}).stdout == '_arguments \'*: :(("old"\n"young"))\'\n'
    fish = {**words, "_TRANSGAN_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert asked(fish).stdout == "old\nyoung\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_printed_and_installed(shell: str, tmp_path: Path) -> None:
    def transgan(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "transgan", *words],
            env={
                **os.environ,
                "HOME": str(tmp_path),
                "SHELL": f"/bin/{shell}",
                "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert f"_TRANSGAN_COMPLETE=complete_{shell}" in transgan("--show-completion", shell)
    assert "completion installed in" in transgan("--install-completion", shell)
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file() and "transgan" in path.name]
    assert any(f"_TRANSGAN_COMPLETE=complete_{shell}" in text for text in written)


def test_bash_itself_completes(tmp_path: Path) -> None:
    """Of the shell: its own words, split as it splits them."""
    wrapper = tmp_path / "bin/transgan"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m transgan "$@"\n')
    wrapper.chmod(0o755)
    script = """
eval "$(_TRANSGAN_COMPLETE=source_bash transgan)"
COMP_WORDS=(transgan translate runs/x-1 a.png --to "")
COMP_CWORD=5
_transgan_completion transgan
printf '%s\\n' "${COMPREPLY[@]}"
"""
    environment = {**os.environ, "PATH": f"{wrapper.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("old\nyoung\n", "")


def test_words_that_bash_has_split_are_joined() -> None:
    assert _joined("a\n--set\nx\n=\n1\nb", 5) == ("a\n--set\nx=1\nb", "3")
    assert _joined("a\n--to\n=\ny", 3) == ("a\n--to\ny", "2")
    assert _joined("a\n--to\n=", 2) == ("a\n--to\n=", "2")
    assert _joined("a\nb\n", 2) == ("a\nb\n", "2")


@pytest.mark.parametrize(
    ("source", "attribute", "names", "partial"),
    [
        ("def register_losses(register): register('a', A); register('b', B)", "", {"a", "b"}, set()),
        ("def register_losses(register):\n for each in (A, B): register(each.name, each)", "", set(), {"losses"}),
        ("def register_losses(register): register('a', A); register_more(register)", "", {"a"}, {"losses"}),
        ("from package.hooks import register_losses", "", set(), {"losses"}),
        ("from package.hooks import *", "", set(), {"*"}),
        ("from package.hooks import plugin", "plugin", set(), {"*"}),
        ("def register_losses(", "", set(), {"*"}),
    ],
)
def test_what_cannot_be_read_is_known(
    source: str, attribute: str, names: set[str], partial: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_plugin.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    value = f"odd_plugin:{attribute}".rstrip(":")
    monkeypatch.setattr(module, "entry_points", lambda group: [EntryPoint("odd", value, group)])
    found = offered.__wrapped__()
    assert (found.names.get("losses", set()), found.partial) == (names, partial)


def test_what_is_read_from_source_is_what_is_registered() -> None:
    """Of the first-party plugins, and no class of theirs needs more than reading."""
    registry, found = Registry.installed(), offered()
    for kind in KINDS:
        installed = {each.name for each in registry.candidates(kind) if not each.package.endswith(".py")}
        assert found.names.get(kind, set()) == installed, kind
    assert found.names["commands"] == set(registry.commands)
    assert found.partial <= {"weight_files", "examples", "starters"}


def test_every_kind_of_plugin_is_completed() -> None:
    words = [each.singular.removeprefix("set of ").replace(" ", "_") for each in KINDS.values()]
    assert list(_KINDS) == words
