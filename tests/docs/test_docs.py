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
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

from transgan.api import RunInfo, hooks
from transgan.errors import TransganError
from transgan.evaluation.model import MEASURED
from transgan.plan import Plan, make_plan
from transgan.recipe import parse_recipe, read_recipe
from transgan.recipe.collection import installed_recipes
from transgan.recipe.diagnostics import Problems
from transgan.recipe.overrides import apply_overrides
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
    """Yield every command line of the page's shell blocks, split into words; of a loop the first round."""
    for block in blocks(page, "shell", "bash", "powershell"):
        values: dict[str, str] = {}
        for line in whole_lines(block):
            if given := re.match(r"for (\w+) in (\S+)|(\w+)='([^']*)'$", line):
                values[f"${given[1] or given[3]}"] = given[2] or given[4]
                continue
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                for variable, value in values.items():
                    words = [word.replace(variable, value) for word in words]
                yield from (words_of(words),) if words else ()


def whole_lines(block: str) -> Iterator[str]:
    """Yield the lines of a block, those joined that a backslash or a quotation goes on over."""
    line = ""
    for each in block.replace("\\\n", " ").splitlines():
        line = f"{line}\n{each}" if line else each
        try:
            shlex.split(line, comments=True)
        except ValueError:  # no closing quotation yet
            continue
        yield line
        line = ""
    assert not line, f"a quotation without end: {line}"


def words_of(words: list[str]) -> list[str]:
    """Return the words of a command that another one hands to a shell, else those of the command itself."""
    inner = words[words.index("-c") + 1] if "-c" in words and "bash" in words else ""
    return shlex.split(inner) if "transgan" in inner else words


def transgan_commands(page: Path) -> Iterator[list[str]]:
    """Yield the words after `transgan`: at the beginning, after `-m`, or behind another command that runs it."""
    for words in commands(page):
        at = [i + 1 for i, word in enumerate(words[:-1]) if word == "transgan" and words[i + 1] in cli().commands]
        if words[0] == "transgan":
            yield words[1:]
        elif at and words[0] not in ("pip", "cd"):
            yield words[at[-1] :]


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


@pytest.fixture(autouse=True)
def _plugin_files_need_not_be_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transgan.cli.run.check_files", lambda paths: list(paths or ()))


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
def test_every_command_in_the_text_exists_with_its_options(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    for command, rest in re.findall(r"`transgan ([a-z]+)([^`]*)`", text):
        assert command in cli().commands
        each = cli().commands[command]
        every = [each, *getattr(each, "commands", {}).values()]
        known = {option for one in every for parameter in one.params for option in parameter.opts} | {
            "--help",
            "--quiet",
        }
        known |= {option for one in every for option in getattr(one, "further_options", ())}
        given = re.findall(r"(?<= )--[a-z][a-z-]*", rest.partition(" -- ")[0])
        assert set(given) <= known, f"transgan {command}{rest}"


def test_the_reference_of_commands_is_complete() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    sections = {part.partition("\n")[0]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)}
    for command, each in cli().commands.items():
        section = sections[f"`{command}`"]
        for single in getattr(each, "commands", {"": each}).values():
            for option in (parameter.opts[0] for parameter in single.params if parameter.opts[0].startswith("-")):
                if option not in ("--help", "--quiet"):  # every command has these
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


def is_absent(error: TransganError) -> bool:
    """Return whether an error says that an extra or a file of weights is not here."""
    return any(each in str(error) for each in ('pip install "transgan[', "run 'transgan download ", ": no such file"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_recipe_that_is_run_exists_and_can_be_planned_with_its_changes(
    page: Path, with_plugins_of: Callable[[Path], Registry]
) -> None:
    written = {title[1]: block for block in blocks(page, "toml") if (title := re.match(r"# (\w+\.toml)\n", block))}
    plugins = with_plugins_of(page)
    for words in transgan_commands(page):
        if is_synopsis(words) or not (words[0] in ("run", "check") or words[:2] == ["data", "check"]):
            continue
        arguments = parsed(words)
        if arguments.get("plugin") or "RECIPE" in words:
            continue  # a file that is not here
        recipe, overrides = str(arguments.get("recipe", arguments.get("data"))), arguments.get("set_") or []
        if words[0] == "data" and not recipe.endswith(".toml"):
            continue  # a folder
        invalid = any(mistake in override for override in overrides for mistake in ("cycel", "noise = -1"))
        try:
            if recipe in written:
                document = parse_recipe(written[recipe], str(ROOT / recipe), overrides)
            else:
                file = ROOT / recipe
                document = read_recipe(file if file.exists() else Path(recipe), overrides)  # or an installed one's name
            make_plan(document, plugins)
        except TransganError as error:
            assert invalid or is_absent(error), error
            continue
        assert not invalid


def recipes_of_runs(page: Path, registry: Registry) -> dict[str, list[Plan]]:
    """Return the plans of the runs that a page may speak of, by name: of its own recipes, and of those there are.

    A run may be of a recipe as it is, or of one that a command of the page changes.
    """
    written = {title[1]: block for block in blocks(page, "toml") if (title := re.match(r"# (\w+)\.toml\n", block))}
    runs: dict[str, list[Plan]] = {}

    def add(name: str, overrides: Sequence[str] = (), run: str = "") -> None:
        path = ROOT / "recipes" / f"{name}.toml"
        if name not in written and not path.is_file():
            return
        try:
            file = str(ROOT / f"{name}.toml")
            document = parse_recipe(written[name], file, overrides) if name in written else read_recipe(path, overrides)
            runs.setdefault(run or name, []).append(make_plan(document, registry))
        except TransganError:
            pass  # the test of recipes reports it

    for words in transgan_commands(page):
        if words[0] == "run" and not is_synopsis(words) and "--plugin" not in words:
            arguments = parsed(words)
            name = Path(str(arguments["recipe"])).name.removesuffix(".toml")
            add(name, arguments["set_"] or [], Path(arguments["out"]).name if arguments["out"] else "")
    for name in set(re.findall(r"runs/(\w+?)-\d", page.read_text(encoding="utf-8"))):
        add(name)
    return runs


def run_of(path: Any) -> str:
    """Return the name of the run that a path leads to: `runs/NAME-1`, `runs/NAME`, or what is inside."""
    found = re.match(r"runs/([\w.]+?)(?:-\d+)?(?:/|$)", str(path))
    return found[1] if found else ""


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_translation_is_one_that_the_model_can_make(page: Path, registry: Registry) -> None:
    runs = recipes_of_runs(page, registry)
    for words in transgan_commands(page):
        if words[0] != "translate" or is_synopsis(words):
            continue
        given = parsed(words)
        check_settings_of_translate(given["settings"] or [], bool(given["detector"]), registry)
        plans = runs.get(run_of(given["model"]), [])
        if plans:
            assert any(can_make(plan, given) for plan in plans), f"no run of this name can: transgan {' '.join(words)}"


def can_make(plan: Plan, given: Mapping[str, Any]) -> bool:
    recipe = plan.recipe
    ends = {(each.translation.task, each.translation.source, each.translation.target) for each in plan.directions}
    asked = (given["task"], given["source"], given["to"])
    return (
        any(all(a in (None, b) for a, b in zip(asked, each, strict=True)) for each in ends)
        and {each.partition("=")[0] for each in given["attributes"] or ()} <= set(recipe.attributes)
        and {each.partition("=")[0] for each in given["further"] or ()} <= set(recipe.inputs)
        and (given["samples"] is None or plan.varies_by("latents"))
        and (given["reference"] is None or plan.varies_by("reference"))
        and (given["strength"] is None or plan.varies_by("strength"))
        and (given["passes"] is None or plan.varies_by("passes"))
    )


def check_settings_of_translate(settings: Sequence[str], regions: bool, registry: Registry) -> None:
    """Check values of `--set` after `translate`: of a container, of the media, or of the region detector."""
    for each in settings:
        kind = each.partition(".")[0] if "." in each.partition("=")[0] else ""
        if kind == "media":
            option = each.partition("=")[0].partition(".")[2]
            assert any(option in registry.get("media", name).options_at_use for name in registry.names("media")), each
            continue
        table: dict[str, Any] = {kind: {}} if kind else {}
        problems = Problems(each)
        apply_overrides(table, [each], problems)
        assert kind or regions, f"{each}: an option of the region detector, without --faces"
        plugin = registry.get("containers", kind) if kind else registry.get("region_detectors", "faces")
        problems.validate(plugin.Options, table[kind] if kind else table, ())
        problems.stop()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_measurement_has_metrics_and_keys_that_there_are(page: Path, registry: Registry) -> None:
    for words in transgan_commands(page):
        if words[0] == "evaluate" and not is_synopsis(words):
            given = parsed(words)
            metrics = [f"metrics.{each}" if "=" in each else f"metrics.{each}=true" for each in given["metric"] or ()]
            recipe = ROOT / "recipes" / f"{run_of(given['model']) or 'conditional_face'}.toml"
            if recipe.is_file():
                keys = {each.partition(".")[0].partition("=")[0] for each in given["set_"] or ()}
                assert keys <= {*MEASURED, "nodes"}, words
                try:
                    make_plan(read_recipe(recipe, [*(given["set_"] or ()), *metrics]), registry)
                except TransganError as error:
                    assert is_absent(error), error


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_name_after_a_command_is_known(page: Path, registry: Registry) -> None:
    known: dict[str, Callable[[str], bool]] = {
        "recipes": lambda name: name in installed_recipes(),
        "download": lambda name: name in registry.weight_files,
        "plugins": lambda name: any(each == name for _, each in registry.entries) or name in of_page,
    }
    of_page = set(re.findall(r'register\("(\w+)"|plugins new (\w+)', page.read_text(encoding="utf-8")))
    of_page = {each for pair in of_page for each in pair}
    for words in transgan_commands(page):
        if words[0] in known and not is_synopsis(words) and len(words) > 1 and words[1] != "new":
            each = words[1]
            assert each.startswith("-") or each.isupper() or known[words[0]](each), f"transgan {' '.join(words)}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_other_command_names_extras_files_and_options_that_there_are(page: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for words in commands(page):
        for extras in re.findall(r"(?:transgan|\.)\[([\w,]+)\]", " ".join(words)) if words[0] == "pip" else ():
            assert set(extras.split(",")) <= set(project["optional-dependencies"]), words
        if words[0] in ("pytest", "python") and len(words) > 1 and not words[1].startswith("-m"):
            files = [word for word in words[1:] if re.match(r"(tests|docs)/", word)]
            assert all((ROOT / file).exists() for file in files), words
            if words[0] == "python" and files:
                script = (ROOT / files[0]).read_text(encoding="utf-8")
                known = set(re.findall(r"add_argument\(\s*\"(--[\w-]+)\"", script))
                used = {word for word in words[1:] if word.startswith("--")}
                assert used <= known | {"--help"}, f"{files[0]} has no {', '.join(used - known)}"


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


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as MyST and GitHub make them."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.strip().lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_to_a_section_leads_to_one(page: Path) -> None:
    for link, anchor in re.findall(r"\]\(([^)\s#]*)#([^)\s]+)\)", BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if not re.match(r"[a-z]+:", link):
            assert anchor in anchors_of((page.parent / link) if link else page), f"{link}#{anchor}"


def test_every_page_is_linked_from_the_text_of_another() -> None:
    """The index lists all of them; whoever reads a page that leads to one finds it there too."""
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", page.read_text(encoding="utf-8")))
    }
    pages = [page for page in PAGES if page.parent != ROOT and page.name != "index.md" and "api" not in page.parts]
    assert not [name(page) for page in pages if page not in linked]


def test_pictures_are_small_used_and_described() -> None:
    found = [path for path in (ROOT / "docs/pictures").rglob("*") if path.is_file()]
    for path in found:
        assert path.stat().st_size <= 300_000, f"{name(path)} is large"
    assert sum(path.stat().st_size for path in found) < 2_500_000
    used = set()
    for page in PAGES:
        for alt, link in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            assert len(alt) > 20, f"{name(page)}: {link}: say what the picture shows, for those who do not see it"
            used.add((page.parent / link).resolve())
        for link in re.findall(r'src="([^"]+)"', page.read_text(encoding="utf-8")):
            file = page.parent / link.replace("_static/", "static/")
            assert file.is_file(), f"{name(page)}: {link}"
            used.add(file.resolve())
    assert not [name(path) for path in found if path.resolve() not in used]


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


def test_every_extra_is_on_the_page_of_installing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "docs/howto/install.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE) == list(project["optional-dependencies"])


def test_every_plugin_package_is_in_the_architecture() -> None:
    text = (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
    for package in (path.parent.name for path in (ROOT / "plugins").glob("*/__init__.py")):
        assert f"`{package}`" in text
