"""Messages name options in the words of whoever reads them: as arguments in Python, as flags on the command line."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer

import transgan
from transgan import cli
from transgan.api import Blank, option
from transgan.cli.flags import as_flag
from transgan.registry import Registry
from transgan.text import spelling_options

CORE = Path(transgan.__file__).parent
PLUGINS = CORE.parent / "plugins"
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
#: A command that is written out whole has its flags.
COMMAND = re.compile(r"(transgan [a-z]+|pip install)\b.*", re.DOTALL)
#: Arguments of functions that no command calls with a value of its user.
NO_FLAG = {"batch_size"}


def modules() -> Iterator[Path]:
    """Yield every module but those that write commands: `transgan/cli`, and modules called commands and examples."""
    for path in [*CORE.rglob("*.py"), *PLUGINS.rglob("*.py")]:
        if (
            "cli" not in path.relative_to(CORE.parent).parts
            and path.name not in ("commands.py", "examples.py")  # the latter show commands to try
            and "example" not in path.parts
        ):
            yield path


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the strings of a module with their lines, without docstrings; of an f-string its constant parts."""
    docstrings = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield (
                node.lineno,
                "".join(str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values),
            )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inside:
            yield node.lineno, node.value


def test_no_flag_stands_outside_of_the_command_line() -> None:
    found = []
    for path in modules():
        for line, text in texts(ast.parse(path.read_text(encoding="utf-8"))):
            if flags := FLAG.findall(COMMAND.sub("", text)):
                found.append(f"{path.relative_to(CORE.parent)}:{line}: {', '.join(flags)}")
    assert not found


def test_a_flag_is_found() -> None:
    tree = ast.parse('"""a --docstring"""\nf"{x}: give --native, or {y}"\ng("--faces")\nh("transgan translate --to b")')
    assert [FLAG.findall(COMMAND.sub("", text)) for _, text in texts(tree)].count([]) == 1
    assert {flag for _, text in texts(tree) for flag in FLAG.findall(COMMAND.sub("", text))} == {"--native", "--faces"}


def test_every_option_that_a_message_names_is_one_of_a_command() -> None:
    cli._add_commands()
    group = typer.main.get_command(cli.app)
    groups = [group, *(typer.main.get_group(app) for app in Registry.installed().commands.values())]
    commands = [each for one in groups for each in one.commands.values()]  # type: ignore[attr-defined]
    commands += [each for one in commands for each in getattr(one, "commands", {}).values()]
    known = {flag for command in commands for parameter in command.params for flag in parameter.opts}
    names = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "option":
                names |= {str(each.value) for each in node.args[:1] if isinstance(each, ast.Constant)}
    assert len(names) > 15
    assert {name for name in names - NO_FLAG if as_flag(name) not in known} == set()


@pytest.mark.parametrize(
    ("name", "value", "argument", "flag"),
    [
        ("to", (), "to", "--to"),
        ("source", (), "source", "--from"),
        ("native", (True,), "native=True", "--native"),
        ("device", ("cpu",), 'device="cpu"', "--device cpu"),
        ("strength", (11.0,), "strength=11.0", "--strength 11"),
        ("attributes", ({"age": 50},), 'attributes={"age": 50}', "--with age=50"),
        ("overrides", ({"data.root": Blank("FOLDER")},), 'overrides={"data.root": FOLDER}', "--set data.root=FOLDER"),
        ("media_options", ({"max_pixels": 9},), 'media_options={"max_pixels": 9}', "--set media.max_pixels=9"),
        ("plugins", ([Path("a.py"), Path("b.py")],), 'plugins=["a.py", "b.py"]', "--plugin a.py --plugin b.py"),
        ("regions", ("faces",), 'regions="faces"', "--faces"),
        ("batch_size", (2,), "batch_size=2", "--batch-size 2"),
    ],
)
def test_both_spellings(name: str, value: tuple[object, ...], argument: str, flag: str) -> None:
    assert option(name, *value) == argument
    with spelling_options(as_flag):
        assert option(name, *value) == flag
    assert option(name, *value) == argument


def test_a_command_shows_its_flags_and_leaves_python_its_words(
    run_cli: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = "cyclegan"
    assert run_cli("check", recipe, "--set", "train.stepz=3") == 2
    assert "error: --set train.stepz=3: unknown key" in capsys.readouterr().err
    with pytest.raises(transgan.UsageError) as caught:
        transgan.train(recipe, {"train.stepz": 3}, quiet=True)
    assert str(caught.value).startswith('overrides={"train.stepz": 3}: unknown key')
