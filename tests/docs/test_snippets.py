"""Every block of code of the pages works as it stands: Python runs, parts of it have known names, TOML fits.

Commands are in test_docs.py. A model of a snippet is a stand-in with the arguments of the real one; whether a model of
that recipe can do what is asked of it, its domains included, is compared with the recipe's plan.
"""

import ast
import json
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
import types
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pytest
from markdown_it import MarkdownIt
from PIL import Image

import transgan.api
from transgan import Translator
from transgan.errors import TransganError
from transgan.plan import Plan, make_plan, options_checker
from transgan.recipe import parse_recipe, read_recipe
from transgan.registry import Registry

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)])
#: What a block of code may be, and which tests run it. `text` is what a command prints.
LANGUAGES = {"shell", "bash", "python", "toml", "json", "text", "{toctree}", "{figure}", "{image}"}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def tokens(page: Path) -> list[Any]:
    return MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))


def blocks(page: Path, language: str) -> list[str]:
    return [each.content for each in tokens(page) if each.type == "fence" and each.info == language]


def having(*languages: str) -> Any:
    """Return the pages that have blocks of a language, as an argument of tests."""
    pages = [page for page in PAGES if any(blocks(page, each) for each in languages)]
    return pytest.mark.parametrize("page", pages, ids=name)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_says_what_it_is(page: Path) -> None:
    """So none escapes the tests, and each can be copied by a button."""
    for each in tokens(page):
        assert each.type != "code_block", f"line {each.map[0] + 1}: an indented block; put it in a fence"
        if each.type == "fence":
            assert each.info in LANGUAGES, f"line {each.map[0] + 1}: a block of {each.info or 'no language'}"


@having("bash")
def test_scripts_have_no_mistake_of_syntax(page: Path) -> None:
    for block in blocks(page, "bash"):
        done = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


@having("json")
def test_json_is_json(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block)


# TOML

#: What a recipe has where a block shows other tables.
OTHERWISE: dict[str, str] = {
    "data": '[data]\nsource = "folders"\nsize = 64\n',
    "train": "[train]\nsteps = 100\n",
    "generators": "[generators.resnet]\n",
    "discriminators": "[discriminators.patch]\n",
    "losses": "[losses]\nlsgan = 1.0\ncycle = 10.0\n",
}


def completed(text: str) -> str:
    """Return a recipe with the tables that a block omits."""
    table = tomllib.loads(text)
    if "project" in table or "extends" in table:
        return text
    for key, otherwise in OTHERWISE.items():
        if key == "data" and "data" in table:
            missing = [line for line in otherwise.splitlines()[1:] if line.partition(" ")[0] not in table["data"]]
            text = text.replace("[data]\n", "\n".join(["[data]", *missing]) + "\n", 1)
        elif key == "train" and "train" in table:
            missing = [] if "steps" in table["train"] else ["steps = 100"]
            text = text.replace("[train]\n", "\n".join(["[train]", *missing]) + "\n", 1)
        elif key not in table:
            text += f"\n{otherwise}"
    domains = list(table.get("domains", {}))
    if not domains:
        in_inputs = [each for table_ in table.get("inputs", {}).values() for each in table_["domains"]]
        in_tasks = [each for task in table.get("tasks", {}).values() for each in task["between"]]
        domains = in_inputs or in_tasks or ["young", "old"]
        text += "\n[domains]\n" + "".join(f'{each} = "{each}"\n' for each in domains)
    if "tasks" not in table:
        text += f"\n[tasks]\nage = {{ between = {json.dumps(domains[:2])} }}\n"
    return text


def with_plugins_of(page: Path) -> Registry:
    """Return the installed plugins, and those that a page shows; of two with one name the later one."""
    shown: dict[str, str] = {}
    for block in blocks(page, "python"):
        if "@hookimpl" in block:
            shown[re.search(r'register\("(\w+)"', block)[1]] = block  # type: ignore[index]
    found = Registry.installed()
    for each in shown.values():
        module = types.ModuleType("plugin_of_a_page")
        exec(each, module.__dict__)  # noqa: S102 - a page of this repository
        found.add(module, "of_a_page", "of-a-page", "0.1.0")
    return found


@having("toml")
def test_toml_has_only_keys_and_values_that_there_are(page: Path) -> None:
    registry = with_plugins_of(page)
    for block in blocks(page, "toml"):
        if {"project", "build-system"} & tomllib.loads(block).keys():
            groups = tomllib.loads(block)["project"].get("entry-points", {})
            assert set(groups) == {"transgan"}
            continue
        try:
            parse_recipe(completed(block), str(ROOT / "block.toml"), (), options_checker(registry))
        except TransganError as error:
            if 'pip install "transgan[' not in str(error):
                raise AssertionError(f"{error}\nin\n{completed(block)}") from error


# Python

#: What a part of a module is written among: the names of the plugin API, torch's, and `Any`.
AROUND = (
    f"from transgan.api import {', '.join(sorted(each for each in transgan.api.__all__))}\n"
    "from typing import Any\nimport torch\nfrom torch import nn, Tensor\n"
)


def imports(source: str) -> bool:
    return any(isinstance(each, (ast.Import, ast.ImportFrom)) for each in ast.walk(ast.parse(source)))


def python_blocks(page: Path) -> Iterator[str]:
    for block in blocks(page, "python"):
        if not re.fullmatch(r"\w+\(.*\) -> .*\n", block):  # a signature, see test_docs.py
            yield textwrap.dedent(block)


@having("python")
def test_no_name_in_python_is_unknown(page: Path) -> None:
    pytest.importorskip("ruff")
    for block in python_blocks(page):
        whole = block if imports(block) else AROUND + block
        command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821,F811,E9", "--quiet", "-"]
        done = subprocess.run(command, input=whole, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + block


@having("python")
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Callable[..., int]) -> None:
    monkeypatch.chdir(tmp_path)
    for words in new_plugins_of(page):
        assert run_cli(*words) == 0
        monkeypatch.syspath_prepend(tmp_path / words[2])
    use_stand_in(monkeypatch, page)
    for block in python_blocks(page):
        make_files(block)
        module = types.ModuleType("block_of_a_page")
        monkeypatch.setitem(sys.modules, module.__name__, module)  # dataclasses look there
        try:
            exec(compile(block if imports(block) else AROUND + block, page.name, "exec"), module.__dict__)  # noqa: S102
            for each, value in list(vars(module).items()):
                if each.startswith("test_"):
                    value()
        except ModuleNotFoundError as error:
            pytest.skip(str(error))
        except TransganError as error:
            if 'pip install "transgan[' in str(error):
                pytest.skip(str(error))
            raise


def new_plugins_of(page: Path) -> Iterator[list[str]]:
    """Yield the words of a page's commands that write a plugin."""
    for block in blocks(page, "shell"):
        for line in block.splitlines():
            if line.startswith("transgan plugins new "):
                yield shlex.split(line)[1:]


def make_files(block: str) -> None:
    """Write the clips that a block opens."""
    for each in ast.walk(ast.parse(block)):
        if (
            isinstance(each, ast.Call)
            and ast.unparse(each.func) == "open_clip"
            and isinstance(each.args[0], ast.Constant)
        ):
            pytest.importorskip("av")
            from fractions import Fraction

            from transgan_video.reading import Frame
            from transgan_video.writing import ClipWriter

            path = Path(str(each.args[0].value))
            path.parent.mkdir(exist_ok=True)
            with ClipWriter(path) as writer:
                for i in range(3):
                    pixels = np.full((32, 48, 3), 40 * i, np.uint8)
                    writer.write(Frame(pixels, Fraction(i, 25), Fraction(1, 25)))


def use_stand_in(monkeypatch: pytest.MonkeyPatch, page: Path) -> None:
    """Let `Translator` have the arguments of the real one, and answer with pictures and sounds of no model."""

    def from_pretrained(path: str, *args: Any, **more: Any) -> Any:
        model = create_autospec(Translator, instance=True)
        known = plans_of(Path(path).name, page)

        def answer(item: Any, to: str | None = None, *args: Any, **how: Any) -> Any:
            for plan in known:
                assert to is None or to in plan.recipe.domains, f"{path} has no domain '{to}'"
                for given, needs in (("samples", "latents"), ("reference", "reference"), ("strength", "strength")):
                    assert how.get(given) is None or plan.varies_by(needs), f"{path} has no {given}"
                assert set(how.get("attributes") or {}) <= set(plan.recipe.attributes)
            if isinstance(item, str) and item.endswith(".wav"):
                from transgan_voice.audio import Sound

                return Sound(np.zeros(160, np.float32), 16_000)
            side = item.shape[1::-1] if isinstance(item, np.ndarray) else (8, 8)
            pictures = [Image.new("RGB", side) for _ in range(how.get("samples") or 1)]
            return pictures if how.get("samples") else pictures[0]

        model.side_effect = answer
        return model

    double = create_autospec(Translator.from_pretrained, side_effect=from_pretrained)
    monkeypatch.setattr(Translator, "from_pretrained", double)


def plans_of(run: str, page: Path) -> list[Plan]:
    """Return the plan of the recipe that a run is named after, where a page or the repository has such a recipe."""
    recipe = re.sub(r"-\d+$", "", run)
    on_page = [each for each in blocks(page, "toml") if each.startswith(f"# {recipe}.toml\n")]
    file = ROOT / "recipes" / f"{recipe}.toml"
    try:
        if on_page:
            return [make_plan(parse_recipe(on_page[0], str(ROOT / f"{recipe}.toml")), Registry.installed())]
        return [make_plan(read_recipe(file), Registry.installed())] if file.is_file() else []
    except TransganError as error:
        assert 'pip install "transgan[' in str(error), error
        return []
