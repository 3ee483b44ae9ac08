"""Domains: statistics of each, pairs, and batches compared with what the media says of itself."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from transgan.api import Generator, Media, Register, Sample, Source, hookimpl
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.data.unreadable import exclude_unreadable
from transgan.errors import DataError, PluginFault, RecipeError
from transgan.plan import Plan


class CountingSource(Source):
    """Domains `a`, `b`, `c`: numbers from 0, 100 and 200 on."""

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        first = 100 * "abc".index(selection)
        return [
            Sample(f"{selection}{i}", lambda size, i=i: " ".join(str(first + x) for x in range(4 + i)))
            for i in range(6)
        ]


class Scale(Generator):
    """Multiplies every sample by a factor."""

    def __init__(self, options: Any, spec: Any):
        super().__init__(options, spec)
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


RECIPE = """
[data]
source = "counting"
media = "numbers"
size = 4
held_out = 0.0
[domains]
a = "a"
b = "b"
c = "c"
[tasks]
task = { between = ["a", "b", "c"], targets = "random" }
[train]
steps = 3
batch = 9
[generators.g]
use = "scale"
[losses]
identity = 1.0
[[phases]]
side = "generator"
"""


def test_each_sample_of_a_mixed_batch_uses_the_statistics_of_its_domain(
    planned: Callable[..., Plan], ragged_media: type[Media]
) -> None:
    class Plugin:
        @hookimpl
        def register_sources(self, register: Register) -> None:
            register("counting", CountingSource)

        @hookimpl
        def register_generators(self, register: Register) -> None:
            register("scale", Scale)

        @hookimpl
        def register_media(self, register: Register) -> None:
            register("numbers", ragged_media)

    plan = planned(RECIPE, Plugin())
    domains = Domains(plan)
    batches = Batches(plan, domains)
    # Samples are 0..3, 0..4, ..., 0..8 above the domain's first number: 117 over 39 numbers.
    mean = sum(sum(range(4 + i)) for i in range(6)) / sum(4 + i for i in range(6))
    (batch_inputs,) = batches.at(0)
    seen = {name: batch_inputs[plan.translations[0], name] for name in ("source", "target", "source_domain")}
    assert set(seen["source_domain"].tolist()) == {0, 1, 2}
    expected = torch.arange(4.0).expand(9, 1, 4) - mean
    assert torch.allclose(seen["source"], expected, atol=1e-4) and torch.allclose(seen["target"], expected, atol=1e-4)
    assert {name: float(known["mean"]) for name, known in domains.statistics.items()} == pytest.approx(
        {"a": mean, "b": 100 + mean, "c": 200 + mean}, rel=1e-5
    )
    domains.statistics["a"] = {"mean": torch.tensor([7.0])}
    domains.fit_statistics()
    assert float(domains.statistics["a"]["mean"]) == 7.0  # known statistics are not fitted again


class Noise(Media):
    """Batches of random numbers, of the shape that it says; tests change what it gives."""

    gives: Any = staticmethod(lambda x: x)

    @property
    def space(self) -> tuple[int, ...]:
        return (4, 4)

    def decode(self, location: Any) -> np.ndarray:
        return np.zeros((4, 4, 3), np.float32)

    def batch(self, decoded: Tensor, rng: Any, domains: Any) -> Tensor:
        x: Tensor = type(self).gives(torch.rand(len(decoded), 3, 4, 4) * 2 - 1)
        return x


class Noises:
    @hookimpl
    def register_sources(self, register: Register) -> None:
        register("counting", CountingSource)

    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("scale", Scale)

    @hookimpl
    def register_media(self, register: Register) -> None:
        register("numbers", Noise)


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        (lambda x: x[..., 1:], r"\(9, 3, 4, 3\) for data.size = 4, expected \(N, channels, \*space\) = \(9, 3, 4, 4\)"),
        (lambda x: x[:, :1], r"\(9, 1, 4, 4\) for data.size = 4, expected \(N, channels, \*space\) = \(9, 3, 4, 4\)"),
        (lambda x: x[1:], r"\(8, 3, 4, 4\) for data.size = 4, expected \(N, channels, \*space\) = \(9, 3, 4, 4\)"),
        (lambda x: x.flatten(2), r"\(9, 3, 16\) for data.size = 4, expected \(N, channels, \*space\) = \(9, 3, 4, 4\)"),
        (lambda x: (x * 127).to(torch.uint8), "torch.uint8, expected floating-point numbers"),
        (lambda x: x.numpy(), "ndarray, expected a tensor"),
        (lambda x: x / 0, "values that are not finite"),
    ],
)
def test_a_batch_that_is_not_what_the_media_says_is_refused(
    planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, gives: Any, message: str
) -> None:
    """The kind: any batch that a run would convert, broadcast or train on without a word."""
    monkeypatch.setattr(Noise, "gives", staticmethod(gives))
    plan = planned(RECIPE, Noises())
    with pytest.raises(PluginFault, match=rf"Noise: batch returned {message}") as caught:
        Batches(plan, Domains(plan)).at(0)
    assert caught.value.plugin is Noise and "making a batch of domain" in caught.value.__notes__[0]


def test_values_far_outside_of_the_range_are_reported_once_for_each_domain(
    planned: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Noise, "gives", staticmethod(lambda x: (x + 1) * 127.5))
    plan = planned(RECIPE, Noises())
    domains = Domains(plan)
    for step in range(2):
        Batches(plan, domains).at(step)
    assert len(domains.warnings) == 3
    assert [warning.partition(":")[0] for warning in sorted(domains.warnings)] == [f"domain '{each}'" for each in "abc"]
    assert ") gives values from " in domains.warnings[0] and "expected from -1 to 1" in domains.warnings[0]
    monkeypatch.setattr(Noise, "bounded", False)
    unbounded = Domains(plan)
    Batches(plan, unbounded).at(0)
    assert not unbounded.warnings


PAIRS = """
[data]
source = "folders"
root = "{root}"
size = 4
[domains]
a = "a"
b = "b"
[tasks]
task = {{ from = "a", to = "b", paired = true }}
[train]
steps = 1
[generators.g]
use = "resnet"
width = 2
blocks = 0
downs = 0
[losses]
cycle = 1.0
[[phases]]
side = "generator"
"""


@pytest.mark.parametrize(
    ("one", "other", "hint"),
    [
        (unicodedata.normalize("NFC", "Zo\u00eb"), unicodedata.normalize("NFD", "Zo\u00eb"), True),
        ("IMG_1", "img_1", True),
        ("one", "two", False),
    ],
)
def test_names_that_look_alike_are_reported(
    planned: Callable[..., Plan], tmp_path: Path, one: str, other: str, hint: bool
) -> None:
    """The kind: names that a person takes for the same, from disks that store them in another form."""
    for folder, name in (("a", one), ("b", other)):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / folder / f"{name}.png")
    with pytest.raises(DataError) as error:
        Domains(planned(PAIRS.format(root=tmp_path)))
    assert "2 samples have no partner of the same name" in str(error.value)
    assert ("2 of these names look alike and differ by Unicode form (NFC, NFD) or case" in str(error.value)) == hint


def test_names_of_any_bytes_are_sampled(planned: Callable[..., Plan], tmp_path: Path) -> None:
    """The kind: names that are no valid Unicode, as archives of other systems leave them."""
    for folder in "ab":
        (tmp_path / folder).mkdir()
        for name in (b"caf\xe9", b"\xff\xfe", "na\u00efve".encode()):
            Image.new("RGB", (4, 4)).save(tmp_path / "some.png")
            (tmp_path / "some.png").rename(tmp_path / folder / os.fsdecode(name + b".png"))
    plan = planned(PAIRS.format(root=tmp_path))
    for _ in range(2):  # the second time with what is known from the first
        domains = Domains(plan)
        exclude_unreadable(domains)
        assert len(domains["a"].samples) + len(domains["a"].held_out) == 3
        Batches(plan, domains).at(0)


LABELLED = """
[data]
source = "labelled_faces"
default = { use = "synthetic_faces", count = 12 }
size = 16
[domains]
young = { agee = [20, 30] }
old = { age = [60, 50] }
white = { race = "White" }
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "old"] }
[train]
steps = 1
[generators]
main = { use = "unet", width = 8, downs = 2 }
[losses]
cycle = 1.0
"""


def test_selections_that_are_wrong_are_reported_together_each_at_its_line_or_override(
    planned: Callable[..., Plan],
) -> None:
    with pytest.raises(RecipeError) as error:
        Domains(planned(LABELLED, None, ("domains.white.race=Wite",)))
    first, second, third = error.value.problems
    assert (first.file, first.line, first.key) == ("recipe", 7, "domains.young")
    assert first == "recipe:7: [domains] young: there is no label 'agee'. Did you mean 'age'?"
    assert second == "recipe:8: [domains] old: age = [60, 50] ends before it begins"
    assert third.startswith("overrides=")
    assert third.endswith(": there is no race 'Wite'. Did you mean 'White'?")


def test_folders_that_are_missing_are_reported_together_with_the_folder_that_was_searched(
    planned: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = PAIRS.format(root=tmp_path).replace(f'root = "{tmp_path}"', "")
    assert "root" not in recipe
    lines = recipe.splitlines()
    with pytest.raises(DataError) as error:
        Domains(planned(recipe))
    for name in "ab":
        line = 1 + next(i for i, each in enumerate(lines) if each.startswith(f"{name} = "))
        assert f"recipe:{line}: [domains] {name}: there is no folder '{name}'. '.' has no folders" in str(error.value)
    assert "data.root is not set, so the working folder was searched" in str(error.value)
