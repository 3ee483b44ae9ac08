"""The pages agree with the code: links, commands, recipes, error messages, plugins, imports, generated references."""

import ast
import dataclasses
import inspect
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

import pytest
import torch
import typer

from transgan.api import RunInfo, hooks
from transgan.errors import TransganError
from transgan.plan import make_plan
from transgan.recipe import parse_recipe, read_recipe
from transgan.registry import Registry
from transgan.storage import Checkpoint

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)])
TUTORIAL, HOOKS = ROOT / "docs/tutorial/own_loss.md", ROOT / "docs/howto/hooks.md"
BLOCK = re.compile(r"^[ ]*```(\w*)\n(.*?)^[ ]*```", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def commands(page: Path) -> Iterator[list[str]]:
    """Yield every command line of the page's shell blocks, split into words."""
    for block in blocks(page, "shell"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                if words := shlex.split(part, comments=True):
                    yield words


def transgan_commands(page: Path) -> Iterator[list[str]]:
    """Yield the words after `transgan`, or after a launcher's `-m transgan`."""
    for words in commands(page):
        if words[0] == "transgan":
            yield words[1:]
        elif "transgan" in words and words[words.index("transgan") - 1] == "-m":
            yield words[words.index("transgan") + 1 :]


@cache
def cli() -> Any:
    from transgan import cli as module

    module._add_commands()
    group: Any = typer.main.get_command(module.app)
    group.commands |= {name: typer.main.get_group(app) for name, app in Registry.installed().commands.items()}
    return group


def parsed(words: list[str]) -> dict[str, Any]:
    """Parse a command line; return its arguments. Errors are those of the command line itself."""
    group, rest = cli(), words
    while hasattr(group, "commands"):
        if rest and rest[0] == "--version":
            return {}
        word, *rest = rest
        assert word in group.commands, f"there is no command '{word}'; there are {', '.join(group.commands)}"
        group = group.commands[word]
    arguments: dict[str, Any] = group.make_context(group.name, list(rest)).params
    return arguments


def is_synopsis(words: list[str]) -> bool:
    return any(word.startswith("[") or word.endswith("...") for word in words)


# Commands


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_exists_with_its_options(page: Path) -> None:
    for words in transgan_commands(page):
        if is_synopsis(words):
            words = [word for each in words if (word := each.strip("[]."))]
            group, path = cli(), list(words)
            while hasattr(group, "commands"):
                assert path[0] in group.commands, f"there is no command '{path[0]}'"
                group = group.commands[path.pop(0)]
            known = {option for each in group.params for option in each.opts}
            assert {word for word in words if word.startswith("-")} <= known, f"transgan {' '.join(words)}"
        else:
            parsed(words)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_in_the_text_exists(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for command in re.findall(r"`transgan ([a-z]+)[^`]*`", text):
        assert command in cli().commands


def test_the_reference_of_commands_is_complete() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)}
    for command, each in cli().commands.items():
        section = sections[f"`{command}`"]
        for single in getattr(each, "commands", {"": each}).values():
            for option in (parameter.opts[0] for parameter in single.params if parameter.opts[0].startswith("-")):
                if option != "--help":
                    assert option in section, f"{option} of transgan {command} is missing"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_launch_has_options_that_accelerate_knows(page: Path) -> None:
    launches = [words for words in commands(page) if words[0] == "accelerate"]
    if launches:
        from accelerate.commands.launch import launch_command_parser

        for words in launches:
            arguments = launch_command_parser().parse_args(words[2:])
            assert arguments.module and arguments.training_script == "transgan"


# Recipes


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_recipe_that_is_run_exists_and_can_be_planned_with_its_changes(page: Path, registry: Registry) -> None:
    written = {title[1]: block for block in blocks(page, "toml") if (title := re.match(r"# (\w+\.toml)\n", block))}
    plugins = with_losses_of_the_tutorial() if page == TUTORIAL else registry
    for words in transgan_commands(page):
        if is_synopsis(words) or words[0] not in ("run", "check") or words[1] == "RECIPE":
            continue
        arguments = parsed(words)
        if arguments["plugin"]:
            continue  # a file that is not here
        recipe, overrides = str(arguments["recipe"]), arguments["set_"] or []
        invalid = any("cycel" in override for override in overrides)
        try:
            if recipe in written:
                document = parse_recipe(written[recipe], str(ROOT / recipe), overrides)
            else:
                document = read_recipe(ROOT / recipe, overrides)
            make_plan(document, plugins)
        except TransganError as error:
            absent = ('pip install "transgan[', "run 'transgan download ")  # an extra or weights that are not here
            assert invalid or any(each in str(error) for each in absent), error
            continue
        assert not invalid


def test_recipes_of_data_sets_extend_what_their_page_says() -> None:
    page = (ROOT / "docs/howto/data_sets.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+\.toml)` \| [^|]+ \| (?:`(\w+\.toml)` )?\|", page, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| `", page, re.MULTILINE)) > 10
    for recipe, base in rows:
        assert tomllib.loads((ROOT / "recipes" / recipe).read_text(encoding="utf-8")).get("extends", "") == base, recipe


def test_what_check_prints_is_quoted_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_cli: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = ROOT / "recipes/conditional_face.toml"
    assert run_cli("check", recipe) == 0
    printed = capsys.readouterr().out
    quoted = next(text for text in blocks(ROOT / "docs/tutorial/first_run.md", "text") if "translations" in text)
    assert textwrap.dedent(quoted) in printed
    page = ROOT / "docs/explanation/conditions.md"
    (words,) = transgan_commands(page)
    assert run_cli("check", recipe, *words[2:]) == 0
    (warning,) = blocks(page, "text")
    assert " ".join(warning.split()) in capsys.readouterr().out


# Plugins


def plugins_of(page: Path) -> list[str]:
    return [text for text in blocks(page, "python") if "@hookimpl" in text]


def as_module(source: str) -> types.ModuleType:
    module = types.ModuleType("plugin_of_a_page")
    exec(source, module.__dict__)  # noqa: S102 - a page of this repository
    return module


def with_losses_of_the_tutorial() -> Registry:
    """Return the installed plugins and that of the tutorial, as it is at its end."""
    found = Registry.installed()
    found.add(as_module(plugins_of(TUTORIAL)[-1]), "tutorial", "transgan-brightness", "0.1.0")
    return found


def test_the_losses_of_the_tutorial_and_the_readme_work() -> None:
    sources = [*plugins_of(TUTORIAL), *plugins_of(ROOT / "README.md")]
    assert len(sources) == 3
    x = torch.zeros(2, 3, 4, 4)
    for source in sources:
        loss = as_module(source).Brightness
        assert loss(loss.Options()).for_generator(x, x + 0.5) == 0.5
    smoothness = with_losses_of_the_tutorial().get("losses", "smoothness")
    assert smoothness(smoothness.Options(noise=0.1)).for_generator(x, x + 0.25) == 0.25


@pytest.mark.slow  # mypy takes a quarter of a minute
@pytest.mark.parametrize("page", [TUTORIAL, HOOKS], ids=name)
def test_plugins_of_pages_pass_mypy_strict(page: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    path = tmp_path / "plugin_of_a_page.py"
    path.write_text(plugins_of(page)[-1])
    command = [sys.executable, "-m", "mypy", "--strict", path.name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


STANDS_STILL = """
[train]
steps = 20
batch = 2
[optimizers]
generator.lr = 0.0
[generators.resnet]
width = 4
downs = 1
blocks = 1
[losses]
cycle = 1.0
[metrics]
counterpart_error = true
[evaluate]
every = 2
[hooks.early_stopping]
figure = "counterpart_error"
"""


def test_the_plugin_for_early_stopping_stops_a_run_that_does_not_improve(
    tmp_path: Path, recipe_file: Callable[[str], Path], trained: Callable[..., Checkpoint]
) -> None:
    (source,) = plugins_of(HOOKS)
    checkpoint = trained(recipe_file(STANDS_STILL), tmp_path / "run", plugin=as_module(source))
    assert checkpoint.step == 8  # of 2, 4, 6 and 8, the last three are no better than the first
    assert json.loads((tmp_path / "run/result.json").read_text())["steps"] == 8
    assert (tmp_path / "run/model/model.safetensors").is_file()
    log = (tmp_path / "run/log.txt").read_text()
    assert "step 8: stopped by a plugin: counterpart_error has not improved for 3 evaluations\n" in log


# Links and generated pages


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:|#", link):
            assert (page.parent / link.partition("#")[0]).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_file_of_this_repository_that_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"\b(?:tests|docs|recipes|plugins|transgan)/[\w/]+\.(?:py|md|toml|png)\b", text):
        assert (ROOT / path).exists(), path


def test_every_page_is_in_the_index() -> None:
    text = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    listed = " ".join(re.findall(r"```{toctree}\n(.*?)```", text, re.DOTALL)).split()
    for page in PAGES:
        if page.parent != ROOT and page.name != "index.md":
            assert page.relative_to(ROOT / "docs").with_suffix("").as_posix() in listed


@pytest.fixture
def make_reference(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(ROOT / "docs")
    import make_reference

    yield make_reference
    sys.modules.pop("make_reference", None)


def test_the_generated_pages_are_current(make_reference: Any) -> None:
    assert not [name(page) for page in make_reference.stale_pages()], "run python docs/make_reference.py"


def test_every_hook_is_documented_with_its_arguments() -> None:
    text = (ROOT / "docs/reference/plugins.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0]: part for part in re.split(r"^##+ ", text, flags=re.MULTILINE)}
    specifications = {each: function for each, function in vars(hooks).items() if hasattr(function, "transgan_spec")}
    assert specifications
    for hook, function in specifications.items():
        section = sections[f"`{hook}`"]
        signature = re.search(rf"```python\n{hook}\((.*)\) -> .*\n```", section)
        assert signature, hook
        shown = re.findall(r"(?:^|, )(\w+): ", signature[1])
        assert shown == list(inspect.signature(function).parameters), hook
        assert inspect.cleandoc(function.__doc__).partition("\n\n")[0] in section, hook
    for field in dataclasses.fields(RunInfo):
        assert f"- `{field.name}: " in sections["`RunInfo`"]


def test_every_exit_code_is_documented() -> None:
    from transgan import errors

    text = (ROOT / "docs/reference/exit_codes.md").read_text(encoding="utf-8")
    classes = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, TransganError)]
    codes = {each.exit_code for each in classes}
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert documented == {0, *codes, errors.HUNG_UP, errors.INTERRUPTED, errors.TERMINATED}


# Architecture


def test_the_architecture_lists_the_packages_in_the_order_of_their_imports() -> None:
    text = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    table = text.partition("| package | content |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(order_of_imports())


def order_of_imports() -> tuple[str, ...]:
    """Return the packages from the bottom up: `ROOMS` of tests/test_layers.py, which checks all imports."""
    for each in ast.parse((ROOT / "tests/test_layers.py").read_text(encoding="utf-8")).body:
        if isinstance(each, ast.Assign) and [ast.unparse(target) for target in each.targets] == ["ROOMS"]:
            found: tuple[str, ...] = ast.literal_eval(each.value)
            return found
    raise AssertionError("tests/test_layers.py has no ROOMS")
