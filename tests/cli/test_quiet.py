"""`--quiet`: errors and what was asked for, with the same exit code, for every command by one option."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from transgan import cli
from transgan.api import WeightFile
from transgan.cli.options import add_quiet
from transgan.registry import Registry
from transgan.text import is_quiet

Command = Callable[..., Any]


def test_every_command_has_the_option_once() -> None:
    cli._add_commands()

    def commands_of(command: Any) -> Iterator[Any]:
        for each in getattr(command, "commands", {}).values():
            yield from commands_of(each)
        if not hasattr(command, "commands"):
            yield command

    root = typer.main.get_command(cli.app)
    found = [each for name in root.commands for each in commands_of(root.get_command(None, name))]
    found += commands_of(add_quiet(typer.main.get_command(Registry.installed().commands["faces"])))
    assert len(found) >= 16
    for command in found:
        assert [each.opts for each in command.params].count(["--quiet", "-q"]) == 1, command.name


def test_only_the_result_is_printed(transgan: Command, model: Path, recipe: Path, write_image: Any) -> None:
    for name in "ab":
        write_image(Path(f"in/{name}.png"))
    plain = transgan("translate", model, "in", "--to", "old", "-o", "one")
    assert plain.out.startswith("2 of 2 translated") and not is_quiet()
    assert transgan("translate", model, "in", "--to", "old", "-o", "two", "-q") == (0, "two\n", "")
    assert Path("one/a.png").read_bytes() == Path("two/a.png").read_bytes()

    words = ("evaluate", model, "--set", "data.source={use='synthetic_faces',count=16}", "--set", "data.held_out=0.25")
    plain = transgan(*words, "-o", "one.json")
    quiet = transgan(*words, "-o", "two.json", "-q")
    assert (plain.code, quiet.code, quiet.err) == (0, 0, "")
    assert "measured on" in plain.out and "one.json" in plain.out
    before, _, rest = plain.out.partition(quiet.out)  # the table comes first
    assert before == "" and "cycle_error" in quiet.out and "measured on" not in quiet.out and "measured on" in rest

    assert transgan("check", recipe).out.endswith("It will run.\n")
    assert transgan("check", recipe, "--quiet") == (0, "", "")
    assert transgan("info", model, "-q") == transgan("info", model)
    assert transgan("recipes", "-q") == transgan("recipes")

    run = model.parent
    assert transgan("compare", run, run, "-q") == (0, "comparison.html\n", "")
    assert transgan("plugins", "new", "my_loss", "--kind", "loss", "-q") == (0, "my_loss\n", "")
    assert transgan("schema", "--out", "recipe.json", "-q") == (0, "recipe.json\n", "")
    write_image(Path("data/a/1.png"))
    Path("data/a/2.png").write_bytes(Path("data/a/1.png").read_bytes())
    found = transgan("data", "check", "data", "--strict", "-q")
    assert found.code == transgan("data", "check", "data", "--strict").code == 3
    assert found.out and all(line.startswith("warning: ") for line in found.out.splitlines())


def test_errors_are_printed_and_exit_codes_are_the_same(transgan: Command, recipe: Path) -> None:
    for words in (("run", "missing.toml"), ("check", recipe, "--set", "train.bach=3"), ("info", "nowhere")):
        plain, quiet = transgan(*words), transgan(*words, "-q")
        assert plain.code and plain == quiet and quiet.err.startswith("error: ")


def test_a_download_prints_its_path(transgan: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"
    (tmp_path / "server.bin").write_bytes(b"0123456789")
    registry = Registry()
    registry.weight_files["digits"] = WeightFile(
        "digits", "digits.bin", (tmp_path / "server.bin").as_uri(), digest, 10, "public domain"
    )
    monkeypatch.setattr(Registry, "installed", staticmethod(lambda: registry))
    assert transgan("download", "digits", "-q") == (0, f"{tmp_path}/.cache/digits.bin\n", "")


def test_quiet_ends_with_the_command(transgan: Command, recipe: Path) -> None:
    transgan("check", recipe, "-q")
    assert "It will run." in transgan("check", recipe).out
