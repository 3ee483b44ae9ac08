"""`transgan plugins`: list plugins, describe what one asks for, provides and has as options, list argument names."""

from collections.abc import Generator as Passes
from typing import Any

import pytest
from torch import Tensor, nn

from transgan.api import (
    Call,
    Conditioning,
    Conditions,
    Generator,
    Loss,
    Metric,
    NetworkSpec,
    Nodes,
    Options,
    Register,
    Schedule,
    Translation,
    constant,
    hookimpl,
    node,
)
from transgan.api.names import BATCH_INPUTS, FURTHER_INPUTS, LOSS_ARGUMENTS, METRIC_ARGUMENTS
from transgan.registry import KINDS, Registry
from transgan.reporting.plugins import nodes_of


@pytest.fixture(autouse=True)
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be 80 columns wide."""
    monkeypatch.setenv("COLUMNS", "80")


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


class Sketchy(Loss):
    """Compares sketches.

    Two figures matter, and this is a line that has to be broken in two at the width
    of a terminal:

    - `one`: an item that has to be broken as well, since it is longer than the terminal
      is wide;
    - `two`.

    Raises:
        ValueError: the samples have too few channels to be sketched at all by this loss.
    """

    def networks(self, spec: NetworkSpec) -> dict[str, nn.Module]:
        return {"pencil": nn.Conv2d(spec.channels, 1, 1)}

    @node
    def sketch(self, source: Tensor) -> Call:
        """Sketch the source,
        (N, 1, *space), in grey.

        By pencil.
        """
        return Call("pencil", source)

    @node
    def noted(self):  # type: ignore[no-untyped-def]
        return 1

    @node
    def twice(self, sketch: Tensor, to_target: Conditions) -> Passes[Call, Tensor, Tensor]:
        """Sketch it again."""
        y = yield Call("pencil", sketch)
        return y

    def for_discriminator(self, real_output: Any, buffers: Any = None) -> Tensor:
        raise NotImplementedError

    def for_generator(self, sketch: Tensor, twice: Tensor) -> Tensor:
        raise NotImplementedError


class Stubborn(Fancy):
    """Cannot be built without options."""

    def networks(self, spec: NetworkSpec) -> dict[str, nn.Module]:
        return {f"n{i}": nn.Identity() for i in range(self.options.power)}


class Fewer(Nodes):
    """Two nodes."""

    @node
    def second(self) -> Tensor:
        """Return it."""
        raise NotImplementedError

    @node
    def first(self, second: Tensor) -> Call | Tensor:
        """Return that."""
        raise NotImplementedError


class Fewest(Fewer):
    """One node less, and one more."""

    second = None  # type: ignore[assignment]

    @node
    def third(self) -> dict[str, Tensor] | None:
        """Return those."""
        raise NotImplementedError

    @node
    def fourth(self) -> Any:
        """Return fewer, (N, 7)."""
        raise NotImplementedError


class Picky(Generator):
    """Has conditions."""

    def forward(self, x: Tensor, mood: Tensor | None = None, *, hat: str) -> Tensor:
        raise NotImplementedError


class Plain(Generator):
    """Has none."""

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Moody(Conditioning):
    """Takes any condition."""

    def forward(self, x: Tensor, style: Tensor | None, mood: Tensor, **others: Any) -> Any:
        raise NotImplementedError


class Beauty(Metric):
    """A figure of two."""

    direction = {"beauty": "higher", "effort": "lower"}

    def update(self, translation: Translation, fake: Tensor) -> None:
        raise NotImplementedError


class Plugin:
    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("fancy", Fancy)
        register("sketchy", Sketchy)
        register("stubborn", Stubborn)

    @hookimpl
    def register_nodes(self, register: Register) -> None:
        register("fewest", Fewest)

    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("picky", Picky)
        register("plain", Plain)

    @hookimpl
    def register_conditionings(self, register: Register) -> None:
        register("moody", Moody)

    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("beauty", Beauty)


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
    assert kinds.pop().startswith("examples (")
    assert kinds.pop().startswith("commands (")
    assert kinds == [kind for kind in KINDS if kind in kinds]
    assert set(kinds) >= set(KINDS) - {"encoders", "hooks"}
    (fancy,) = [line for line in lines if line.startswith("  fancy ")]
    assert fancy.split(maxsplit=1) == ["fancy", "A loss of this test. (fancy-losses 3.1)"]
    (resnet,) = [line for line in lines if line.startswith("  resnet ")]
    assert "(transgan" not in resnet
    assert lines[-1] == "not loaded: brittle (brittle-nets 0.2): ImportError: no module named 'glass'"


@pytest.mark.usefixtures("with_fancy")
def test_options_of_a_plugin_are_shown_in_toml(transgan: Any) -> None:
    assert (
        transgan("plugins", "fancy").out
        == """\
fancy: a loss of fancy-losses 3.1

A loss of this test.

With a second paragraph.

no inputs

options
  power: a whole number, required
      The exponent.
  weight_of_age: a number, or a schedule such as {from = 1.0, to = 0.0},
    default 2.0
      How much age counts.
  name_of_file: a string, default none
  keep: a list of strings, default ["a", "b"]
  on: true or false, default true
"""
    )
    assert "no options" in transgan("plugins", "paired").out


@pytest.mark.usefixtures("with_fancy")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "sketchy",
            """\
Compares sketches.

Two figures matter, and this is a line that has to be broken in two at the width
of a terminal:

- `one`: an item that has to be broken as well, since it is longer than the
  terminal is wide;
- `two`.

Raises:
    ValueError: the samples have too few channels to be sketched at all by this
        loss.

inputs (transgan plugins --names describes them)
  for_discriminator: real_output
      with some options: buffers
  for_generator: sketch, twice

nodes of its own
  sketch: output of a network, (N, 1, *space)
      Sketch the source, in grey.
      Computed from source.
  noted
  twice: Tensor
      Sketch it again.
      Computed from sketch, to_target.

networks of its own
  pencil

no options
""",
        ),
        (
            "fewest",
            """\
One node less, and one more.

nodes
  first: output of a network or Tensor
      Return that.
      Computed from second.
  third: dict[str, Tensor] or None
      Return those.
  fourth: (N, 7)
      Return fewer.

no options
""",
        ),
        ("picky", "Has conditions.\n\nconditions\n  mood: Tensor | None\n  hat: str\n\nno options\n"),
        ("plain", "Has none.\n\nno conditions\n\nno options\n"),
        ("moody", "Takes any condition.\n\nconditions\n  mood: Tensor\n  **others: Any\n\nno options\n"),
        (
            "beauty",
            """\
A figure of two.

inputs (transgan plugins --names describes them)
  update: translation, fake

figures
  beauty: higher is better
  effort: lower is better

no options
""",
        ),
    ],
)
def test_what_a_plugin_asks_for_and_provides(transgan: Any, name: str, expected: str) -> None:
    assert transgan("plugins", name).out.partition("\n\n")[2] == expected


@pytest.mark.usefixtures("with_fancy")
def test_networks_that_depend_on_options_are_mentioned(transgan: Any) -> None:
    assert "networks of its own\n  as its options and the samples require\n" in transgan("plugins", "stubborn").out


@pytest.mark.usefixtures("with_fancy")
def test_a_name_that_several_kinds_have_is_described_for_each(transgan: Any) -> None:
    out = transgan("plugins", "translation").out
    augmentation, nodes = out.split("\n\ntranslation: a set of nodes of transgan")
    assert augmentation.startswith("translation: an augmentation of transgan") and "share: a number" in augmentation
    assert "\n  reconstruction: output of a network, (N, C, *space)\n" in nodes


@pytest.mark.usefixtures("with_fancy")
def test_all_argument_names_are_listed(transgan: Any) -> None:
    """Of each table, with its type, shape and meaning, and the nodes of each set."""
    code, out, err = transgan("plugins", "--names")
    assert (code, err) == (0, "")
    parts = [part.splitlines() for part in out.split("\n\n")]
    heads = [[line[2:] for line in part[1:] if not line.startswith("    ")] for part in parts]
    for part, names, table in zip(
        parts, heads, (BATCH_INPUTS | FURTHER_INPUTS, LOSS_ARGUMENTS, METRIC_ARGUMENTS), strict=False
    ):
        assert names == [f"{name}: {each.type}{', ' * bool(each.shape)}{each.shape}" for name, each in table.items()]
        text = " ".join(line.strip() for line in part)
        assert all(f" {each.meaning}" in text for each in table.values())
    registry = Registry.installed()
    sets = [part[0].partition(' with nodes = "')[2].rstrip('"') for part in parts[3:]]
    assert sets == registry.names("nodes") and {"fewest", "translation"} <= set(sets)
    for name, names in zip(sets, heads[3:], strict=True):
        assert [each.partition(":")[0] for each in names] == [
            each.name for each in nodes_of(registry.get("nodes", name))
        ]
    fewest = transgan("plugins", "--names", "fewest").out
    assert fewest.startswith("\n\n".join(out.split("\n\n")[:3])) and fewest.count("\n\n") == 3
    assert "no set of nodes 'fewst'. Did you mean 'fewest'?" in transgan("plugins", "--names", "fewst").error(2)


@pytest.mark.parametrize("columns", [80, 132])
def test_lines_fit_the_terminal(transgan: Any, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    registry = Registry.installed()
    monkeypatch.setattr(Registry, "installed", lambda: registry)
    names = {f"{entry.package}:{entry.name}" for entry in registry.candidates()}
    for words in ((), ("--names",), *((name,) for name in sorted(names))):
        lines = transgan("plugins", *words).out.splitlines()
        assert not [line for line in lines if len(line) > min(columns, 120) and not line.startswith("not loaded")]


def test_every_option_of_resnet_has_type_default_and_help(transgan: Any) -> None:
    from transgan_standard.generators import ResnetOptions

    lines = transgan("plugins", "resnet").out.splitlines()
    for name in ResnetOptions.model_fields:
        at = next(i for i, line in enumerate(lines) if line.startswith(f"  {name}: "))
        assert ", default " in lines[at]
        assert len(lines[at + 1]) > 20 and lines[at + 1].startswith("      ")
    assert "  padding: one of 'reflect', 'zero', 'replicate', default \"reflect\"" in lines


def test_unknown_plugin(transgan: Any) -> None:
    assert transgan("plugins", "resnett").error(2) == (
        "no plugin 'resnett'. Did you mean 'resnet'? Or its package is not installed "
        "(transgan plugins lists what is, pip install adds others)"
    )


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
    assert [line.split()[-2] for line in lines] == ["(fancy-losses", "(gilded-losses"]
    both = transgan("plugins", "fancy").out
    assert "fancy: a loss of fancy-losses 3.1" in both and "fancy: a loss of gilded-losses 1.0" in both
    assert "gilded-losses" in transgan("plugins", "gilded-losses:fancy").out
    assert "fancy-losses 3.1" not in transgan("plugins", "gilded-losses:fancy").out
    message = transgan("check", recipe, "--set", "losses.fancy=1").error(2)
    assert 'write "fancy-losses:fancy" or "gilded-losses:fancy"' in message
    message = transgan("check", recipe, "--set", "losses.fancy.use='gilded-losses:fancy'").error(2)
    assert "would never be evaluated" in message  # it is found
