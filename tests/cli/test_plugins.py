"""`transgan plugins`: list plugins, and describe each option of one with its type, default and help."""

from typing import Any

import pytest

from transgan.api import Loss, Options, Register, Schedule, constant, hookimpl
from transgan.registry import KINDS, Registry


class FancyOptions(Options):
    power: int
    """The exponent."""
    weight_of_age: Schedule = constant(2.0)
    """How much
    age counts."""
    name_of_file: str | None = None
    keep: list[str] = ["a", "b"]
    on: bool = True


class Fancy(Loss[FancyOptions]):
    """A loss of this test.

    With a second paragraph.
    """


class Plugin:
    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("fancy", Fancy)


@pytest.fixture
def with_fancy(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry.installed()
    registry.add(Plugin(), "fancy", "fancy-losses", "3.1")
    registry.broken["brittle (brittle-nets 0.2)"] = "ImportError: no module named 'glass'"
    monkeypatch.setattr(Registry, "installed", lambda: registry)


@pytest.mark.usefixtures("with_fancy")
def test_plugins_are_listed_by_kind_with_their_package(transgan: Any) -> None:
    code, out, err = transgan("plugins")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    kinds = [line for line in lines if not line.startswith((" ", "not loaded"))]
    assert kinds == [kind for kind in KINDS if kind in kinds]
    assert set(kinds) >= set(KINDS) - {"encoders"}
    (fancy,) = [line for line in lines if line.startswith("  fancy ")]
    assert fancy.split() == ["fancy", "A", "loss", "of", "this", "test.", "fancy-losses", "3.1"]
    (resnet,) = [line for line in lines if line.startswith("  resnet ")]
    assert resnet.endswith("transgan 0.1.0")
    assert lines[-1] == "not loaded: brittle (brittle-nets 0.2): ImportError: no module named 'glass'"


@pytest.mark.usefixtures("with_fancy")
def test_options_of_a_plugin_are_shown_in_toml(transgan: Any) -> None:
    assert (
        transgan("plugins", "fancy").out
        == """\
fancy: a loss of fancy-losses 3.1

A loss of this test.

With a second paragraph.

options
  power: a whole number, required
      The exponent.
  weight_of_age: a number, or a schedule such as {from = 1.0, to = 0.0}, default 2.0
      How much age counts.
  name_of_file: a string, default none
  keep: a list of strings, default ["a", "b"]
  on: true or false, default true
"""
    )
    assert "no options" in transgan("plugins", "paired").out


def test_every_option_of_resnet_has_type_default_and_help(transgan: Any) -> None:
    from transgan_standard.generators import ResnetOptions

    lines = transgan("plugins", "resnet").out.splitlines()
    for name in ResnetOptions.model_fields:
        at = next(i for i, line in enumerate(lines) if line.startswith(f"  {name}: "))
        assert ", default " in lines[at]
        assert len(lines[at + 1]) > 20 and lines[at + 1].startswith("      ")
    assert any(
        line.startswith("  padding: one of 'reflect', 'zero', 'replicate', default \"reflect\"") for line in lines
    )


def test_unknown_plugin(transgan: Any) -> None:
    assert transgan("plugins", "resnett").error(2) == "no plugin 'resnett'. Did you mean 'resnet'?"


class Fancier(Loss):
    """A loss of another package."""


class OtherPlugin:
    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("fancy", Fancier)


@pytest.mark.usefixtures("with_fancy")
def test_plugins_of_one_name_are_all_shown(transgan: Any, recipe: Any) -> None:
    Registry.installed().add(OtherPlugin(), "fancier", "gilded-losses", "1.0")
    lines = [line for line in transgan("plugins").out.splitlines() if line.startswith("  fancy ")]
    assert [line.split()[-2] for line in lines] == ["fancy-losses", "gilded-losses"]
    both = transgan("plugins", "fancy").out
    assert "fancy: a loss of fancy-losses 3.1" in both and "fancy: a loss of gilded-losses 1.0" in both
    assert "gilded-losses" in transgan("plugins", "gilded-losses:fancy").out
    assert "fancy-losses 3.1" not in transgan("plugins", "gilded-losses:fancy").out
    message = transgan("check", recipe, "--set", "losses.fancy=1").error(2)
    assert 'write "fancy-losses:fancy" or "gilded-losses:fancy"' in message
    message = transgan("check", recipe, "--set", "losses.fancy.use='gilded-losses:fancy'").error(2)
    assert "would never be evaluated" in message  # it is found
