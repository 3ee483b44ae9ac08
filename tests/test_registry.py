"""Plugins are discovered; one that fails to load is reported, and disables nothing else."""

import re
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from transgan import registry as module
from transgan.api import (
    Augmentation,
    Hooks,
    Loss,
    Metric,
    Options,
    PluginError,
    Register,
    RunInfo,
    Source,
    hookimpl,
    hooks,
)
from transgan.api.version import VERSION
from transgan.plan import Plan
from transgan.registry import KINDS, Registry


class Mine(Loss):
    """A loss."""


class Other(Loss):
    """Another loss."""


def offering(**losses: Any) -> object:
    class Plugin:
        @hookimpl
        def register_losses(self, register: Register) -> None:
            for name, cls in losses.items():
                register(name, cls)

    return Plugin()


@pytest.fixture
def registry() -> Registry:
    found = Registry()
    found.add(offering(mine=Mine), "first", "first-package", "1.0")
    return found


class Point:
    """An entry point that loads in a given way."""

    value = "somewhere"

    def __init__(self, name: str, load: Callable[[], object], package: str = "strange"):
        self.name = name
        self.load = load
        self.dist = SimpleNamespace(name=package, version="0.3")


def failing(error: BaseException) -> Callable[[], object]:
    def load() -> object:
        raise error

    return load


def test_installed_plugins_are_found() -> None:
    installed = Registry.installed()
    assert installed.broken == {}
    assert {"resnet", "unet"} <= set(installed.names("generators"))
    assert installed.entries["generators", "resnet"].package == "transgan"


def test_a_broken_plugin_is_reported_with_its_error_and_disables_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    class HalfBroken:
        @hookimpl
        def register_losses(self, register: Register) -> None:
            register("half", Mine)

        @hookimpl
        def register_metrics(self, register: Register) -> None:
            raise KeyError("later")

    points: list[Point | EntryPoint] = [
        *module.entry_points(group="transgan"),
        Point("brittle", failing(ImportError("no module named\n'glass'"))),
        Point("leaving", failing(SystemExit("goodbye"))),
        Point("half", HalfBroken),
        Point("odd", lambda: offering(odd=3)),
        Point("whole", lambda: offering(whole=Mine)),
    ]
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    found = Registry.installed()
    assert found.broken == {
        "brittle (strange 0.3)": "ImportError: no module named 'glass'",
        "leaving (strange 0.3)": "SystemExit: goodbye",
        "half (strange 0.3)": "KeyError: 'later'",
        "odd (strange 0.3)": "TypeError: loss 'odd' is not a subclass of transgan.api.Loss",
    }
    assert found.get("losses", "whole") is Mine
    assert "half" not in found.names("losses")
    assert found.get("generators", "resnet")
    with pytest.raises(PluginError) as error:
        found.get("losses", "strange:half")
    why = "Package 'strange' is installed, and could not be loaded: ImportError: no module named 'glass'"
    assert str(error.value) == f"no loss 'strange:half'. {why}"
    with pytest.raises(
        PluginError, match=r"no loss 'half'.* Not loaded: brittle \(strange 0\.3\): ImportError: no module"
    ):
        found.get("losses", "half")


def test_every_kind_of_plugin_has_one_registration_hook() -> None:
    registration = {
        name for name, each in vars(hooks).items() if hasattr(each, "transgan_spec") and name.startswith("register_")
    } - {"register_weight_files", "register_commands", "register_examples", "register_starters"}
    assert {kind.hook for kind in KINDS.values()} == registration
    assert len({kind.hook for kind in KINDS.values()}) == len(KINDS)
    assert all(name == kind.name for name, kind in KINDS.items())


class Named(Options):
    use: str = ""


def test_an_option_cannot_have_the_name_of_a_key_of_its_slot(registry: Registry) -> None:
    class Files(Source[Named]):
        """A source."""

    class Weighted(Options):
        weight: float = 1.0

    class WeightedLoss(Loss[Weighted]):
        """A loss."""

    class WeightedAugmentation(Augmentation[Weighted]):
        """An augmentation, whose slot has no key `weight`."""

    class Plugin:
        def __init__(self, hook: str, cls: type[Any]):
            def implementation(register: Register) -> None:
                register("it", cls)

            setattr(self, hook, hookimpl(implementation))

    for hook, cls, key in (("register_sources", Files, "use"), ("register_losses", WeightedLoss, "weight")):
        with pytest.raises(TypeError, match=f"recipes have a key '{key}' beside the options; rename it"):
            registry.add(Plugin(hook, cls), hook)
    registry.add(Plugin("register_augmentations", WeightedAugmentation), "augmentation")
    assert registry.names("augmentations") == ["it"]
    assert registry.names("sources") == []


def test_two_packages_may_have_entry_points_of_the_same_name(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        Point("losses", lambda: offering(one=Mine), "one-package"),
        Point("losses", lambda: offering(two=Mine), "two-package"),
    ]
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    found = Registry.installed()
    assert (found.names("losses"), found.broken) == (["one", "two"], {})


def test_a_name_that_two_packages_register_is_an_error(registry: Registry) -> None:
    registry.add(offering(mine=Other, other=Other), "second", "second-package", "2.0")
    with pytest.raises(
        PluginError, match="loss 'mine' is registered by first-package and by second-package; uninstall one"
    ):
        registry.get("losses", "mine")
    assert registry.get("losses", "other") is Other


def test_a_recipe_can_say_of_which_package_a_plugin_is(registry: Registry) -> None:
    """Of the kind: names that two, three packages share, in any kind, and the same package twice."""
    registry.add(offering(mine=Other), "second", "second-package", "2.0")
    assert registry.get("losses", "first-package:mine") is Mine
    assert registry.get("losses", "second-package:mine") is Other
    assert registry.names("losses") == ["first-package:mine", "second-package:mine"]
    with pytest.raises(PluginError, match='write "first-package:mine" or "second-package:mine"'):
        registry.get("losses", "mine")
    with pytest.raises(
        PluginError, match=r"no loss 'third:mine'\. Did you mean '(first|second)-package:mine'\?|Known: "
    ):
        registry.get("losses", "third:mine")
    registry.add(offering(mine=Third), "again", "second-package", "2.0")
    with pytest.raises(PluginError, match="second-package registers 2 classes as loss 'mine'"):
        registry.get("losses", "second-package:mine")


class Third(Loss):
    """Another loss."""


def test_the_same_class_may_be_registered_twice(registry: Registry) -> None:
    registry.add(offering(mine=Mine), "second", "second-package", "2.0")
    assert registry.get("losses", "mine") is Mine


def test_a_misspelt_hook_is_rejected(registry: Registry) -> None:
    class Misspelt:
        @hookimpl
        def register_loses(self, register: Register) -> None:
            register("misspelt", Other)

    with pytest.raises(PluginError, match=r"there is no hook 'register_loses'\. Did you mean 'register_losses'\?"):
        registry.add(Misspelt(), "misspelt")
    assert registry.names("losses") == ["mine"]
    registry.add(offering(other=Other), "after")
    assert registry.names("losses") == ["mine", "other"]


def test_hooks_of_runs_are_methods_of_a_class(registry: Registry) -> None:
    class Early:
        @hookimpl
        def step_finished(self, run: RunInfo) -> None: ...

    class Misspelt(Hooks):
        """Hooks."""

        def step_finish(self, run: RunInfo) -> None: ...

    class Plugin:
        @hookimpl
        def register_hooks(self, register: Register) -> None:
            register("misspelt", Misspelt)

    with pytest.raises(PluginError, match=r"'step_finished' is a method of a class, transgan.api.Hooks, .*hooks.NAME"):
        registry.add(Early(), "early")
    with pytest.raises(TypeError, match=r"no run calls 'step_finish'\. Did you mean 'step_finished'\?"):
        registry.add(Plugin(), "plugin")


def test_a_hook_with_an_unknown_argument_is_rejected(registry: Registry) -> None:
    class Unknown:
        @hookimpl
        def register_losses(self, registr: Register) -> None:
            raise AssertionError

    with pytest.raises(Exception, match="registr"):
        registry.add(Unknown(), "unknown")
    registry.add(offering(other=Other), "unknown")
    assert registry.names("losses") == ["mine", "other"]


@pytest.mark.parametrize(
    ("name", "hint"), [("mien", "Did you mean 'mine'?"), ("something", "Known: mine."), ("", "Known: mine.")]
)
def test_an_unknown_name_gets_a_hint(registry: Registry, name: str, hint: str) -> None:
    with pytest.raises(PluginError) as raised:
        registry.get("losses", name)
    installed = "Or its package is not installed (transgan plugins lists what is, pip install adds others)"
    assert str(raised.value) == f"no loss '{name}'. {hint} {installed}"


def test_a_package_that_is_not_installed_is_named(registry: Registry) -> None:
    with pytest.raises(PluginError) as raised:
        registry.get("losses", "third:mine")
    assert str(raised.value).endswith(" Package 'third' is not installed, or has no plugins")
    with pytest.raises(PluginError, match="Or its package is not installed"):
        registry.get("generators", "first-package:mine")


def test_a_recipe_that_does_not_use_a_broken_plugin_is_planned(
    monkeypatch: pytest.MonkeyPatch, planned: Callable[..., Plan]
) -> None:
    points = [*module.entry_points(group="transgan"), Point("brittle", failing(ImportError("no glass")))]
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    text = """
        [train]
        steps = 1
        [generators.resnet]
        width = 4
        blocks = 1
        [losses]
        identity = 1.0
        [[phases]]
        side = "generator"
    """
    plan = planned(text, offering(mine=Mine))
    assert {term.loss for term in plan.terms} == set(plan.losses) == {"identity"}


def test_options_and_directions_of_the_wrong_kind_are_named() -> None:
    class Plain(Loss):
        class Options:  # type: ignore[assignment]
            pass

    class Upwards(Metric):
        direction = {"m": "up"}

    class Plugin:
        @hookimpl
        def register_losses(self, register: Register) -> None:
            register("plain", Plain)

    class Other:
        @hookimpl
        def register_metrics(self, register: Register) -> None:
            register("upwards", Upwards)

    with pytest.raises(TypeError, match=r"the options of loss 'plain', .*, are no subclass of transgan\.api\.Options"):
        Registry().add(Plugin(), "plain")
    with pytest.raises(TypeError, match=r"metric 'upwards': direction 'up'; expected 'lower' or 'higher'"):
        Registry().add(Other(), "upwards")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (VERSION + 1, f"made for version {VERSION + 1} of transgan.api, .*install a newer transgan"),
        (VERSION - 1, f"made for version {VERSION - 1} of transgan.api, .*install a newer version of the plugin"),
        ("one", "requires_api = .one.; expected a whole number"),
    ],
)
def test_a_plugin_that_is_made_for_another_version_of_the_api_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch, wanted: object, message: str
) -> None:
    class Plugin:
        requires_api = wanted

        @hookimpl
        def register_losses(self, register: Register) -> None:
            raise AssertionError("of another version")

    monkeypatch.setattr(module, "entry_points", lambda group: [Point("other", Plugin)])
    found = Registry.installed()
    (why,) = found.broken.values()
    assert re.search(message, why) and found.entries == {}


def test_a_plugin_that_is_made_for_this_version_of_the_api_is_loaded(registry: Registry) -> None:
    plugin = offering(other=Other)
    plugin.requires_api = VERSION  # type: ignore[attr-defined]
    registry.add(plugin, "of_this_version")
    assert registry.get("losses", "other") is Other


@pytest.mark.parametrize(
    "words",
    [
        ("run", "recipe.toml"),
        ("check", "recipe.toml"),
        ("translate", "model", "a.png", "--to", "b", "--xyzzy"),
        ("download", "nothing"),
        ("plugins", "nothing"),
        ("import", "weights.bin", "-o", "out"),
    ],
    ids=lambda words: words[0],
)
def test_every_command_names_what_failed_to_load_where_something_is_missing(
    monkeypatch: pytest.MonkeyPatch,
    run_cli: Callable[..., int],
    recipe_file: Callable[[str], Path],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    words: tuple[str, ...],
) -> None:
    points = [*module.entry_points(group="transgan"), Point("brittle", failing(ImportError("no glass")))]
    monkeypatch.setattr(module, "entry_points", lambda group: points)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(b"no weights")
    (tmp_path / "a.png").touch()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    text = recipe_file("[train]\nsteps = 1\n[generators.resnet]\nwidth = 4\n[losses]\nglassy = 1.0\n").read_text()
    (tmp_path / "recipe.toml").write_text(text)
    assert run_cli(*words) != 0
    assert "brittle (strange 0.3): ImportError: no glass" in capsys.readouterr().err
