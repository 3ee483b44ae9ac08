"""Phases: intervals count a phase's own steps, discriminators' losses may name nodes, spectral norms iterate once."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from transgan.api import Call, Clock, DiscriminatorOutput, Loss, NetworkSpec, Options, Register, hookimpl, node
from transgan.errors import PluginRuntimeError
from transgan.training.trace import trace_phases

RECIPE = """
[train]
steps = 40
batch = 4
[generators.g]
use = "resnet"
width = 4
blocks = 1
per = "direction"
[discriminators.d]
use = "patch"
width = 4
layers = 1
[losses]
lsgan = 1.0
"""


class NamesNodes(Loss):
    """A discriminator's loss over nodes and its output."""

    def for_discriminator(self, fake: Tensor, source: Tensor, fake_output: DiscriminatorOutput) -> Tensor:
        return (fake - source).abs().mean() * fake_output.logits[0].mean()


class Flat(Loss):
    """A loss that returns a number for each sample."""

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.flatten(1).mean(1)


class Counting(Loss):
    """A loss with an interval."""

    interval = 4

    def for_discriminator(self, real_output: DiscriminatorOutput, clock: Clock) -> Tensor:
        return real_output.logits[0].mean() * 0 + clock.phase_step


class Projecting(Loss):
    """A loss with a network of its own, which its node calls by its short name."""

    def networks(self, spec: NetworkSpec) -> dict[str, torch.nn.Module]:
        return {"projection": torch.nn.Conv2d(spec.channels, 2, 1)}

    @node
    def projected(self, fake: Tensor) -> Call:
        return Call("projection", fake)

    def for_generator(self, projected: Tensor) -> Tensor:
        return projected.square().mean()


class Plugin:
    @hookimpl
    def register_losses(self, register: Register) -> None:
        for cls in (NamesNodes, Flat, Counting, Projecting):
            register(cls.__name__.lower(), cls)


def train(planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any, text: str, steps: int) -> Any:
    plan = planned(text, Plugin())
    engine, _ = double_engine(plan)
    logged = []
    for step in range(steps):
        clock = Clock(step=step, run=step / plan.recipe.train.steps)
        inputs = micro_batches(plan, random_samples(plan, step), plan.recipe.train.accumulate, clock)
        logged.append(engine.train_step(inputs, clock))
    return engine, logged


@pytest.fixture
def trained_engine(planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any) -> Any:
    return lambda text, steps=1: train(planned, double_engine, random_samples, micro_batches, text, steps)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_discriminators_loss_may_name_nodes(trained_engine: Any, accumulate: int) -> None:
    """Kind: any node in any loss of the side whose phase comes second; it carries no gradient there."""
    text = RECIPE.replace("batch = 4", f"batch = 4\naccumulate = {accumulate}") + "namesnodes = 0.1\n"
    engine, logged = trained_engine(text, 2)
    assert not engine.skipped
    assert logged[-1]["age: young -> old/loss_D/namesnodes"].isfinite()


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_lazy_loss_counts_its_phases_own_steps_and_logs_its_last_value(trained_engine: Any, every: int) -> None:
    """Kind: intervals of losses under phases that are not due at every step, and logs between two evaluations."""
    phases = f'[[phases]]\nside = "generator"\n[[phases]]\nside = "discriminator"\nevery = {every}\n'
    _, logged = trained_engine(RECIPE + "counting = 1.0\n" + phases, 10 * every)
    name = "age: young -> old/loss_D/counting"
    due = [float(losses[name]) for losses in logged if name in losses]
    assert due == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8]  # the phase's steps 0 to 9


def test_r1_is_applied_as_often_as_it_says(planned: Any) -> None:
    plan = planned(RECIPE + "r1 = { weight = 1.0, every = 16 }\n", Plugin())
    [term] = [term for term in plan.terms if term.loss == "r1"][:1]
    phase = plan.recipe.phases[1].model_copy(update={"every": 2})
    due = [step for step in range(1, 100, 2) if plan.is_due(term, phase, Clock(step=step))]
    assert due == [1, 33, 65, 97]


@pytest.mark.parametrize("change", ['train.merge="never"', "train.accumulate=2"])
def test_spectral_norms_do_not_depend_on_the_number_of_passes(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any, assert_same_weights: Any, change: str
) -> None:
    """Kind: state that a pass changes; merging and accumulating must not show in the result."""
    text = RECIPE.replace("layers = 1", "layers = 1\nspectral = true")
    engines = []
    for overrides in (('train.merge="always"',), (change,)):
        plan = planned(text, overrides=overrides)
        engine, _ = double_engine(plan)
        for step in range(2):
            clock = Clock(step=step, run=step / 40)
            count = plan.recipe.train.accumulate
            engine.train_step(micro_batches(plan, random_samples(plan, step), count, clock), clock)
        engines.append(engine)
    assert_same_weights(engines[0], copy.deepcopy(dict(engines[1].networks)))


def test_the_older_spectral_norm_is_iterated_once_a_step_too(planned: Any) -> None:
    from transgan.networks import Networks

    layer = torch.nn.utils.spectral_norm(torch.nn.Conv2d(3, 3, 3))
    networks = Networks(planned(RECIPE), "cpu", {"d": layer})
    before = layer.weight_u.clone()
    layer(torch.rand(1, 3, 8, 8))
    assert torch.equal(layer.weight_u, before)
    networks.begin_step()
    assert not torch.equal(layer.weight_u, before)


def test_each_slot_of_a_loss_has_its_own_network(trained_engine: Any) -> None:
    """Kind: names of a loss's own networks, in slots of any name and number."""
    text = RECIPE + '[losses.a]\nuse = "projecting"\n[losses.b]\nuse = "projecting"\nweight = 3.0\n'
    engine, logged = trained_engine(text)
    names = [name for name in engine.networks if name.endswith("/projection")]
    assert names == ["a/projection", "b/projection"]
    a, b = (logged[0][f"age: young -> old/loss_G/{name}"] for name in ("a", "b"))
    assert float(a) != float(b)


def test_a_loss_with_a_shape_is_named(planned: Any) -> None:
    plan = planned(RECIPE + "flat = 1.0\n", Plugin())
    expected = r"Flat: for_generator returned a tensor \(4,\), expected a scalar tensor.*'flat'"
    with pytest.raises(PluginRuntimeError, match=expected):
        trace_phases(plan, plan.stages[0])


def test_a_loss_that_begins_at_zero_is_traced(planned: Any) -> None:
    """Kind: losses, tasks and stages whose weight is 0 when a run begins."""
    text = RECIPE + "flat = { from = 0.0, to = 1.0, between = [0.5, 1.0] }\n"
    plan = planned(text, Plugin())
    with pytest.raises(PluginRuntimeError, match="'flat'"):
        trace_phases(plan, plan.stages[0])
    silent = planned(RECIPE + "flat = 0.0\n", Plugin())
    traces = trace_phases(silent, silent.stages[0])
    assert all("flat" not in trace.losses for trace in traces)


def test_options_are_the_type_argument() -> None:
    assert Flat.Options is Options
