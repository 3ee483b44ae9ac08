"""What sources and media return wrongly is a fault of theirs, in one line that names them, before anything uses it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from transgan.api import Generator, Media, Options, Register, Sample, Source, hookimpl
from transgan.data.batches import Batches
from transgan.data.domains import Domains, samples_of
from transgan.errors import DataError, PluginFault
from transgan.evaluation.evaluate import counterparts
from transgan.evaluation.unmeasured import true_translations
from transgan.plan import Plan
from transgan.plugin_errors import as_plugin_error
from transgan.registry import Registry


class Mine(Source):
    """Six samples of every domain; tests change what it gives."""

    gives: Any = staticmethod(lambda samples: samples)
    skips: Any = {}
    true: Any = None

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        self.skipped = type(self).skips
        found: list[Sample] = type(self).gives([Sample(f"{i}", lambda size, i=i: i) for i in range(6)])
        return found

    def counterpart(self, sample: Sample, source: Any, target: Any) -> Sample | None:
        found: Sample | None = type(self).true
        return found() if callable(found) else found


class Plain(Media):
    """Squares of zeros; tests change what it decodes."""

    gives: Any = staticmethod(lambda location: np.zeros((4, 4, 3), np.float32))
    fits: Any = {}

    @property
    def space(self) -> tuple[int, ...]:
        return (4, 4)

    def decode(self, location: Any) -> np.ndarray:
        decoded: np.ndarray = type(self).gives(location)
        return decoded

    def fit_statistics(self, decoded: Any) -> Any:
        return type(self).fits

    def batch(self, decoded: Tensor, rng: Any, domains: Any) -> Tensor:
        return decoded.permute(0, 3, 1, 2)


class Scale(Generator):
    def __init__(self, options: Any, spec: Any):
        super().__init__(options, spec)
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


class Plugin:
    @hookimpl
    def register_sources(self, register: Register) -> None:
        register("mine", Mine)

    @hookimpl
    def register_media(self, register: Register) -> None:
        register("plain", Plain)

    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("scale", Scale)


@pytest.fixture
def plan(planned: Callable[..., Plan]) -> Plan:
    return planned(
        """
        [data]
        source = "mine"
        media = "plain"
        size = 4
        [domains]
        a = "a"
        b = "b"
        [tasks.there]
        from = "a"
        to = "b"
        [train]
        steps = 1
        batch = 2
        [generators.g]
        use = "scale"
        [losses]
        identity = 1.0
        [[phases]]
        side = "generator"
        """,
        Plugin(),
    )


def missing(*_: object) -> Any:
    return Path("no/such/list.txt").read_text()


def without_a_file(*_: object) -> Any:
    raise OSError("the network is down")


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("gives", lambda found: [Sample("a", found[0].location, None)], "sample 'a' with None as its attributes"),  # type: ignore[arg-type]
        ("gives", lambda found: [Sample(3, found[0].location)], "one whose key is 3, expected a text"),  # type: ignore[arg-type]
        ("gives", lambda found: [*found, found[2]], "several of the key '2', expected one of each"),
        ("gives", lambda found: [Sample("1", Path(f"{i}/1.png")) for i in "xy"], "several of the key '1'"),
        ("gives", lambda found: tuple(found), "samples returned tuple, expected a list"),
        ("skips", "abc", "skipped is 'abc', expected reasons by path"),
        ("skips", {"a.png": "hidden"}, "skipped is {'a.png': 'hidden'}, expected reasons by path"),
        ("gives", missing, "no/such/list.txt: No such file or directory"),
        ("gives", without_a_file, "the network is down"),
    ],
)
def test_what_a_source_finds(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, attribute: str, value: Any, message: str
) -> None:
    monkeypatch.setattr(Mine, attribute, staticmethod(value) if callable(value) else value)
    with pytest.raises(PluginFault) as caught:
        Domains(plan)
    said = str(as_plugin_error(caught.value, Registry()))
    assert message in said and said.startswith("the plugin Mine: ")
    assert said.endswith(", while finding the samples of domain 'a'")


def test_a_source_that_cannot_be_opened(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mine, "__init__", missing)
    with pytest.raises(PluginFault, match=r"^Mine: no/such/list.txt: No such file or directory\n"):
        Domains(plan)


def test_files_that_differ_in_their_suffix_may_share_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of pictures kept in two formats is no fault of the source that finds both."""
    both = [Sample("a", Path("a.jpg")), Sample("a", Path("a.png"))]
    monkeypatch.setattr(Mine, "gives", staticmethod(lambda found: both))
    assert samples_of(Mine(Options(), None), "a", "a") == both


@pytest.mark.parametrize(
    ("true", "message"),
    [(3, "counterpart returned int, expected a transgan.api.Sample, or None"), (missing, "no/such/list.txt: No such")],
)
def test_the_true_translation_of_a_source(plan: Plan, monkeypatch: pytest.MonkeyPatch, true: Any, message: str) -> None:
    domains = Domains(plan)
    monkeypatch.setattr(Mine, "true", staticmethod(true) if callable(true) else true)
    with pytest.raises(PluginFault, match=f"^Mine: {message}") as caught:
        true_translations(domains, plan.translations[0], domains["a"].samples)
    assert caught.value.plugin is Mine


@pytest.mark.parametrize(
    ("gives", "message"),
    [
        (None, "None, expected a numpy array"),
        (np.full((4, 4, 3), None), "an array of type object, expected numbers of a type that tensors have"),
        (np.full((4, 4, 3), "a"), "an array of type <U1, expected numbers"),
        (np.zeros((4, 4, 3), np.longdouble), f"an array of type {np.dtype(np.longdouble)}, expected numbers"),
        (np.zeros((4, 4, 3), ">f4"), "an array of type >f4, expected numbers"),
    ],
)
def test_what_a_media_decodes(plan: Plan, monkeypatch: pytest.MonkeyPatch, gives: Any, message: str) -> None:
    monkeypatch.setattr(Plain, "gives", staticmethod(lambda location: gives))
    domains = Domains(plan)
    with pytest.raises(PluginFault) as caught:
        Batches(plan, domains).at(0)
    assert str(caught.value).startswith(f"Plain: decode returned {message}")
    with pytest.raises(PluginFault, match=r"^Plain: decode returned "):  # true translations come past the cache
        counterparts(domains, plan.directions[0], [domains["b"].samples[0]], {}, "cpu")


@pytest.mark.parametrize("fits", [None, [1], {"mean": 3.0}])
def test_the_statistics_of_a_media(plan: Plan, monkeypatch: pytest.MonkeyPatch, fits: Any) -> None:
    monkeypatch.setattr(Plain, "fits", fits)
    with pytest.raises(PluginFault, match=r"^Plain: fit_statistics returned .*, expected tensors by name\n"):
        Batches(plan, Domains(plan)).at(0)


def test_a_file_of_the_user_that_cannot_be_read_is_no_fault_of_the_media(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Plain, "gives", staticmethod(missing))
    with pytest.raises((OSError, DataError), match=r"no/such/list.txt"):
        Batches(plan, Domains(plan)).at(0)
