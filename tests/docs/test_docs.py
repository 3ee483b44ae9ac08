"""What the pages say is so: links lead somewhere, commands exist, recipes can be planned, references are current."""

import inspect
import re
import shlex
import sys
import types
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import typer

from transgan.api import hookspecs
from transgan.errors import TransganError
from transgan.plan import make_plan, options_checker
from transgan.recipe import parse_recipe, read_recipe
from transgan.registry import Registry

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)])
BLOCK = re.compile(r"^[ ]*```(\w*)\n(.*?)^[ ]*```", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def commands(page: Path) -> Iterator[list[str]]:
    """Every command line of the page's shell blocks, in words."""
    for block in blocks(page, "shell"):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split("&&"):
                if words := shlex.split(part, comments=True):
                    yield words


def transgan_commands(page: Path) -> Iterator[list[str]]:
    """What comes behind `transgan`, or behind a launcher's `-m transgan`."""
    for words in commands(page):
        if words[0] == "transgan":
            yield words[1:]
        elif "transgan" in words and words[words.index("transgan") - 1] == "-m":
            yield words[words.index("transgan") + 1 :]


@cache
def cli():
    from transgan import cli as module

    module._add_commands()
    return typer.main.get_command(module.app)


@cache
def registry() -> Registry:
    return Registry.installed()


def parsed(words: list[str]):
    """A command and its arguments; the errors are those of the command line itself."""
    group, rest = cli(), words
    while hasattr(group, "commands"):
        if rest and rest[0] == "--version":
            return group, {}
        word, *rest = rest
        assert word in group.commands, f"there is no command '{word}'; there are {', '.join(group.commands)}"
        group = group.commands[word]
    return group, group.make_context(group.name, list(rest)).params


def is_synopsis(words: list[str]) -> bool:
    return any(word.startswith("[") or word.endswith("...") for word in words)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_exists_with_its_options(page):
    for words in transgan_commands(page):
        if is_synopsis(words):
            optionals = [word.strip("[].") for word in words]
            words = [word for word in optionals if word]
            group, path = cli(), list(words)
            while hasattr(group, "commands"):
                assert path[0] in group.commands, f"there is no command '{path[0]}'"
                group = group.commands[path.pop(0)]
            known = {option for each in group.params for option in each.opts}
            named = {word for word in words if word.startswith("-")}
            assert named <= known, f"transgan {' '.join(words)}"
        else:
            parsed(words)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_in_the_text_exists(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for line in re.findall(r"`transgan ([a-z]+)[^`]*`", text):
        assert line in cli().commands


def test_the_reference_of_commands_is_complete():
    text = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)}
    for command, each in cli().commands.items():
        section = sections[f"`{command}`"]
        for leaf in getattr(each, "commands", {"": each}).values():
            for option in (parameter.opts[0] for parameter in leaf.params if parameter.opts[0].startswith("-")):
                if option != "--help":
                    assert option in section, f"{option} of transgan {command} is missing"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_launch_has_options_that_accelerate_knows(page):
    launches = [words for words in commands(page) if words[0] == "accelerate"]
    if launches:
        from accelerate.commands.launch import launch_command_parser

        for words in launches:
            arguments = launch_command_parser().parse_args(words[2:])
            assert arguments.module and arguments.training_script == "transgan"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_recipe_that_is_run_exists_and_can_be_planned_with_its_changes(page):
    written = {}
    for block in blocks(page, "toml"):
        if title := re.match(r"# (\w+\.toml)\n", block):
            written[title[1]] = block
    plugins = registry() if not (page.parent.name == "tutorial" and page.stem == "own_loss") else with_own_losses()
    for words in transgan_commands(page):
        if is_synopsis(words) or words[0] not in ("run", "check") or words[1] == "RECIPE":
            continue
        _, given = parsed(words)
        recipe, changes = str(given["recipe"]), given["set_"] or []
        wrong = any("cycel" in change for change in changes)
        try:
            if recipe in written:
                document = parse_recipe(written[recipe], recipe, changes, options_checker(plugins))
            else:
                document = read_recipe(ROOT / recipe, changes, options_checker(plugins))
            make_plan(document, plugins)
        except TransganError as error:
            assert wrong or 'pip install "transgan[' in str(error), error  # an extra that is not here
            continue
        assert not wrong


def own_losses() -> list[str]:
    return [text for text in blocks(ROOT / "docs/tutorial/own_loss.md", "python") if "hookimpl" in text]


def with_own_losses() -> Registry:
    """The registry with the plugin of the tutorial, as it is at its end."""
    module = types.ModuleType("transgan_brightness")
    exec(own_losses()[-1], module.__dict__)  # noqa: S102 - a page of this repository
    found = Registry.installed()
    found.add(module, "docs-brightness", "transgan-brightness", "0.1.0")
    return found


def test_the_losses_of_the_tutorial_and_the_readme_work():
    import torch

    sources = [*own_losses(), *(text for text in blocks(ROOT / "README.md", "python") if "hookimpl" in text)]
    assert len(sources) == 3
    for source in sources:
        module = types.ModuleType("brightness")
        exec(source, module.__dict__)  # noqa: S102 - a page of this repository
        x = torch.zeros(2, 3, 4, 4)
        assert module.Brightness(None).for_generator(x, x + 0.5) == 0.5
    twice = with_own_losses().get("losses", "twice")
    assert twice(twice.Options(power=2)).for_generator(x, x + 0.5) == 0.25


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_relative_link_leads_to_a_file(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:|#", link):
            assert (page.parent / link.partition("#")[0]).exists(), link


def test_every_page_is_in_the_index():
    text = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    listed = " ".join(re.findall(r"```{toctree}\n(.*?)```", text, re.DOTALL)).split()
    for page in PAGES:
        if page.parent != ROOT and page.name != "index.md":
            assert page.relative_to(ROOT / "docs").with_suffix("").as_posix() in listed


@pytest.fixture
def make_reference(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import make_reference

    yield make_reference
    sys.modules.pop("make_reference", None)


def test_the_generated_pages_are_current(make_reference):
    assert not [name(page) for page in make_reference.stale_pages()], "run python docs/make_reference.py"


def test_every_hook_is_documented_with_its_arguments():
    text = (ROOT / "docs/reference/plugins.md").read_text(encoding="utf-8")
    hooks = {name: each for name, each in vars(hookspecs).items() if hasattr(each, "transgan_spec")}
    assert hooks
    parts = re.split(r"^##+ ", text, flags=re.MULTILINE)
    sections = {part.partition("\n")[0]: part for part in parts}
    for hook, function in hooks.items():
        section = sections[f"`{hook}`"]
        signature = re.search(rf"```python\n{hook}\((.*)\) -> .*\n```", section)
        assert signature, hook
        shown = re.findall(r"(?:^|, )(\w+): ", signature[1])
        assert shown == list(inspect.signature(function).parameters), hook
        assert inspect.cleandoc(function.__doc__) in section, hook


def test_every_exit_code_is_documented():
    from transgan import errors

    text = (ROOT / "docs/reference/exit_codes.md").read_text(encoding="utf-8")
    classes = [each for each in vars(errors).values() if inspect.isclass(each) and issubclass(each, TransganError)]
    codes = {each.exit_code for each in classes}
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert documented == {0, *codes, errors.INTERRUPTED, errors.TERMINATED}
