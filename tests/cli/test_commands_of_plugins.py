"""Commands that plugins offer: loaded only where the command line names none of TransGAN's own."""

from collections.abc import Callable

import pytest
import typer

from transgan.api import RegisterCommands, UsageError, hookimpl
from transgan.registry import Registry


def greet() -> typer.Typer:
    app = typer.Typer(help="Be polite.")

    @app.command()
    def hello(name: str, loud: bool = False) -> None:
        if name == "nobody":
            raise UsageError("nobody cannot be greeted")
        print(f"hello {name.upper() if loud else name}")

    return app


class Plugin:
    @hookimpl
    def register_commands(self, register: RegisterCommands) -> None:
        register("greet", greet())
        register("check", greet())


class Odd:
    @hookimpl
    def register_commands(self, register: RegisterCommands) -> None:
        register("odd", "no app")  # type: ignore[arg-type]


class Broken:
    @hookimpl
    def register_commands(self, register: RegisterCommands) -> None:
        raise ImportError("no module named politeness")


@pytest.fixture
def registry(unread_plugins: None, monkeypatch: pytest.MonkeyPatch) -> Registry:
    found = Registry()
    found.add(Broken(), "broken", "broken-package", "1.0")
    found.add(Plugin(), "polite", "polite-package", "1.0")
    monkeypatch.setattr(Registry, "installed", classmethod(lambda cls: found))
    return found


def test_a_command_of_a_plugin_runs(transgan: Callable[..., object], registry: Registry) -> None:
    result = transgan("greet", "hello", "you", "--loud")
    assert (result.code, result.out) == (0, "hello YOU\n")  # type: ignore[attr-defined]
    assert transgan("greet", "hello", "nobody").error(2) == "nobody cannot be greeted"  # type: ignore[attr-defined]


def test_its_help_is_shown(transgan: Callable[..., object], registry: Registry) -> None:
    assert "hello" in transgan("greet", "--help").out  # type: ignore[attr-defined]
    assert "greet" in transgan("plugins").out  # type: ignore[attr-defined]


def test_commands_of_transgan_come_first(transgan: Callable[..., object], registry: Registry) -> None:
    assert "Check a recipe" in " ".join(transgan("check", "--help").out.split())  # type: ignore[attr-defined]


def test_what_is_no_command_is_answered_with_the_nearest(transgan: Callable[..., object], registry: Registry) -> None:
    result = transgan("great")
    assert result.code == 2 and "Did you mean 'greet'?" in result.err  # type: ignore[attr-defined]


def test_a_plugin_that_fails_keeps_no_other_from_its_commands(registry: Registry) -> None:
    assert list(registry.commands) == ["check", "greet"]
    assert registry.broken == {"commands of broken": "ImportError: no module named politeness"}


def test_what_is_no_group_of_commands_is_listed_as_broken() -> None:
    found = Registry()
    found.add(Odd(), "odd", "odd-package", "1.0")
    assert found.commands == {}
    assert found.broken == {"commands of odd": "TypeError: 'odd': found 'no app', expected a typer.Typer"}


def test_why_a_command_of_a_plugin_cannot_be_loaded_is_said(
    transgan: Callable[..., object], registry: Registry
) -> None:
    """Of `faces`, which an installed package offers, and the plugins of this test do not."""
    assert transgan("faces", "extract", "x").error(2) == (  # type: ignore[attr-defined]
        "the plugin with the command 'faces' fails to load. "
        "Not loaded: commands of broken: ImportError: no module named politeness."
    )


def test_neither_help_nor_own_commands_load_plugins(
    transgan: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(cls: type[Registry]) -> Registry:
        raise AssertionError("plugins were loaded")

    monkeypatch.setattr(Registry, "installed", classmethod(fail))
    for arguments in (["--help"], ["--version"], ["run", "--help"], ["data", "--help"]):
        assert transgan(*arguments).code == 0  # type: ignore[attr-defined]
    assert "further commands" in transgan("--help").out  # type: ignore[attr-defined]
