"""The tables of argument names are true: every name is given, as the type and in the shape that its table says."""

import re
import types
import typing
from collections.abc import Callable, Mapping
from inspect import Parameter, Signature
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transgan_standard.nodes import TranslationNodes

from transgan.api import (
    Clock,
    Conditions,
    DiscriminatorOutput,
    Loss,
    Metric,
    Register,
    Sample,
    Translation,
    hookimpl,
    node,
)
from transgan.api.names import BATCH_INPUTS, FURTHER_INPUTS, LOSS_ARGUMENTS, METRIC_ARGUMENTS, Argument
from transgan.data.domains import Domains
from transgan.data.inputs import Side, assemble_inputs, domain_index
from transgan.errors import RecipeError
from transgan.evaluation.evaluate import Evaluation
from transgan.graph import Step
from transgan.networks import Networks
from transgan.plan import Plan
from transgan.plan.plan import ROLES
from transgan.rng import CounterRng, ScopedRng
from transgan.training import Engine

WITHOUT_PLUGIN = """
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"] }
[train]
steps = 4
[conditionings]
embedding = { of = "domain", width = 4 }
[generators]
g = { use = "resnet", width = 4, downs = 0, blocks = 0 }
[discriminators]
d = { use = "patch", width = 4, layers = 1, per = "domain" }
[losses]
lsgan = 1.0
"""
RECIPE = f"""
nodes = "styled"
{WITHOUT_PLUGIN}
everything = 1.0
[metrics]
everything = true
"""
#: What only losses of generators can ask for.
OF_GENERATORS = {"source_outputs", "reconstruction_outputs", "fake_realness"}
#: What only losses of tasks with known pairs can ask for.
OF_PAIRS = {"pair_source", "pair_target", "pair_target_attributes"}
N = 3
TYPES: dict[str, Any] = {
    **{each.__name__: each for each in (Clock, Tensor, DiscriminatorOutput, Sample, Translation)},
    "Callable": Callable,
    "Mapping": Mapping,
    "SampleRng": CounterRng | ScopedRng,
}


def asks_for(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a method these arguments, as if it were written with them."""

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ("self", *names)]
        method.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        return method

    return decorate


class Styled(TranslationNodes):
    """Translations that depend on everything that a user can give, as far as evaluation asks."""

    @node
    def to_target(
        self, task: Tensor, target_domain: Tensor, target_attributes: Conditions, reference: Tensor | None
    ) -> Conditions:
        """Return the usual conditions."""
        return super().to_target(task, target_domain, target_attributes)  # type: ignore[no-any-return]


class EveryLoss(Loss):
    """Asks for all that losses can ask for."""

    def __init__(self, options: Any):
        super().__init__(options)
        self.received: dict[str, list[dict[str, Any]]] = {"generator": [], "discriminator": []}

    @asks_for(*BATCH_INPUTS.keys() - OF_PAIRS, *LOSS_ARGUMENTS, "fake")
    def for_generator(self, **given: Any) -> Tensor:
        self.received["generator"].append(given)
        return typing.cast(Tensor, given["fake"].mean())

    @asks_for(*BATCH_INPUTS.keys() - OF_PAIRS, *LOSS_ARGUMENTS.keys() - OF_GENERATORS)
    def for_discriminator(self, **given: Any) -> Tensor:
        self.received["discriminator"].append(given)
        given["buffers"]["count"] = torch.ones(())
        return typing.cast(Tensor, given["real_output"].logits[0].mean())


class EveryMetric(Metric):
    """Asks for all that metrics can ask for."""

    def reset(self) -> None:
        self.received: list[dict[str, Any]] = []

    @asks_for("translation", *METRIC_ARGUMENTS, "source", "fake")
    def update(self, **given: Any) -> None:
        self.received.append(given)

    def compute(self) -> dict[Translation, dict[str, float]]:
        return {}


class Plugin:
    @hookimpl
    def register_nodes(self, register: Register) -> None:
        register("styled", Styled)

    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("everything", EveryLoss)

    @hookimpl
    def register_metrics(self, register: Register) -> None:
        register("everything", EveryMetric)


@pytest.fixture
def plan(planned: Any) -> Plan:
    found: Plan = planned(RECIPE, Plugin())
    return found


def everything(plan: Plan) -> dict[tuple[Translation, str], Any]:
    """Return the batch inputs of every translation, where the data and the user provide all that they can."""

    def side(name: str, other: bool = True) -> Side:
        x, domain = torch.rand(N, 3, 16, 16) * 2 - 1, domain_index(plan, name, N, "cpu")
        return Side(x, domain, {"age": torch.rand(N, 2)}, other=side(name, other=False) if other else None)

    inputs: dict[tuple[Translation, str], Any] = {}
    for each in plan.translations:
        rng = CounterRng(0, np.zeros(N), np.arange(N))
        inputs |= assemble_inputs(
            plan,
            each,
            side(each.source),
            side(each.target),
            rng,
            Clock(step=1),
            training=True,
            pairs=(side(each.source), side(each.target)),
            reference=torch.zeros(N, 3, 16, 16),
            strength=1.0,
            passes=2,
        )
    return inputs


def difference(value: Any, argument: Argument, **sizes: int) -> str:
    """Say how a value differs from what a table says of its argument; an empty text where it does not."""
    kind = eval(argument.type, TYPES)  # noqa: S307 - a table of this package
    if not is_a(value, kind):
        return f"{type(value)}, expected {argument.type}"
    if argument.shape == "N":
        return "" if len(value) == sizes["N"] else f"length {len(value)}"
    shape = argument.shape.removesuffix(" each").strip("()")
    for x in value.values() if isinstance(value, Mapping) else [value]:
        if isinstance(x, Tensor) and argument.shape:
            letters = [letter for letter in shape.split(",") if letter.strip()]
            axes = x.dim() >= len(letters) if "*" in shape else x.dim() == len(letters)
            if not axes or any(sizes.get(a.strip(), b) != b for a, b in zip(letters, x.shape, strict=False)):
                return f"shape {tuple(x.shape)}, expected {argument.shape}"
    return ""


def is_a(value: Any, kind: Any) -> bool:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return any(is_a(value, each) for each in parts)
    if origin is None or origin is typing.get_origin(Callable[[], Any]):
        return isinstance(value, origin or kind)
    elements = value.items() if isinstance(value, Mapping) else ((each,) for each in value)
    return isinstance(value, origin) and all(is_a(a, b) for each in elements for a, b in zip(each, parts, strict=True))


def test_batch_inputs_are_those_of_the_table(plan: Plan) -> None:
    inputs = everything(plan)
    for each in plan.translations:
        assert {name for translation, name in inputs if translation == each} == set(BATCH_INPUTS)
        for name, argument in BATCH_INPUTS.items():
            assert not difference(inputs[each, name], argument, N=N, K=2, C=3), name


def test_further_inputs_are_those_of_the_table() -> None:
    ((name, argument),) = FURTHER_INPUTS.items()
    assert {name, *re.findall(r"`(\w+)`", argument.meaning)} == {f"{role}_NAME" for role in ROLES}


def test_losses_are_given_what_the_tables_say(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: set[str] = set()
    original = Step.arguments

    def spied(self: Step, translation: Any, names: Any, owner: str, more: Any, detach: bool = False) -> Any:
        handed.update(more)
        return original(self, translation, names, owner, more, detach)

    monkeypatch.setattr(Step, "arguments", spied)
    engine = Engine(plan)
    for step in range(2):
        engine.train_step([everything(plan)], Clock(step=step))
    assert not engine.skipped
    assert handed - {"rng", "clock"} == set(LOSS_ARGUMENTS)  # those two are batch inputs that losses get their own of
    received = plan.losses["everything"].received  # type: ignore[attr-defined]
    tables = BATCH_INPUTS | LOSS_ARGUMENTS
    expected = {"generator": {*tables, "fake"} - OF_PAIRS, "discriminator": tables.keys() - OF_PAIRS - OF_GENERATORS}
    for side, names in expected.items():
        assert len(received[side]) == 2 * len(plan.translations)
        for given in received[side]:
            assert set(given) == names
            for name in names - {"fake"}:
                assert not difference(given[name], tables[name], N=N, K=2, C=3), name
            for function in (given["discriminator"], *given["other_discriminators"]):
                assert isinstance(function(given["real_input"]), DiscriminatorOutput)
            assert len(given["other_discriminators"]) == 2  # those of the other task's two domains
    assert [len(given["source_outputs"]) for given in received["generator"]] == [1] * 8
    assert received["generator"][0]["buffers"] == {}
    assert received["discriminator"][-1]["buffers"]["count"] == 1


def test_metrics_are_given_what_the_tables_say(plan: Plan) -> None:
    evaluation = Evaluation(plan, Domains(plan))
    evaluation(Networks(plan), Clock())
    received = plan.metrics["everything"].received  # type: ignore[attr-defined]
    assert {given["translation"] for given in received} == {each.translation for each in plan.directions}
    for given in received:
        count = len(given["keys"])
        for name, argument in METRIC_ARGUMENTS.items():
            assert not difference(given[name], argument, N=count, C=3), name
        torch.testing.assert_close(given["resample"](0), given["fake"])
        torch.testing.assert_close(given["translate"](given["source"][:1], row=0), given["fake"][:1])


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *[("losses", name) for name in ("cosmos", *METRIC_ARGUMENTS)],
        *[("metrics", name) for name in ("cosmos", *LOSS_ARGUMENTS)],
    ],
)
def test_what_is_not_in_the_tables_cannot_be_asked_for(planned: Any, kind: str, name: str) -> None:
    """So nothing else can be given either."""

    class OneLoss(Loss):
        @asks_for("fake", name)
        def for_generator(self, **given: Any) -> Tensor:
            raise NotImplementedError

    class OneMetric(Metric):
        @asks_for("translation", name)
        def update(self, **given: Any) -> None:
            raise NotImplementedError

        def reset(self) -> None: ...

        def compute(self) -> Any: ...

    class One:
        @hookimpl
        def register_losses(self, register: Register) -> None:
            register("one", OneLoss)

        @hookimpl
        def register_metrics(self, register: Register) -> None:
            register("one", OneMetric)

    with pytest.raises(RecipeError, match=f"needs '{name}'; there is no such node or batch input"):
        planned(WITHOUT_PLUGIN + ("one = 1.0" if kind == "losses" else "[metrics]\none = true"), One())
