"""`freeze`: patterns of networks or parameters that a run, or a stage of it, does not train.

Of the kind: what is frozen is equal bit for bit after training, with running statistics and spectral norms, under
weight decay and `after_step`; the rest is trained.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import Clock, Generator, NetworkSpec, Options, Register, hookimpl
from transgan.errors import RecipeError
from transgan.training import Engine

RECIPE = """
[train]
steps = 6
batch = 4
ema = 0.5
[optimizers]
generator = { use = "adamw", lr = 1e-2, weight_decay = 0.5 }
discriminator = { use = "adamw", lr = 1e-2, weight_decay = 0.5 }
[generators.g]
use = "shrinking"
per = "domain"
[discriminators.patch]
width = 4
layers = 2
norm = "none"
spectral = true
[losses]
lsgan = 1.0
"""


class Shrinking(Generator):
    """A generator with batch norm, whose weights shrink after each step."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.first = nn.Sequential(nn.Conv2d(spec.inputs, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.last = nn.Conv2d(4, spec.channels, 1)

    def after_step(self) -> None:
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.mul_(0.99)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.first(x).relu()).tanh()
        return y


class Plugin:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("shrinking", Shrinking)


@pytest.fixture
def trained(planned: Any, random_samples: Any, micro_batches: Any) -> Any:
    """`trained(text, overrides)`: train; return the engine, and the networks' states before each step and at last."""

    def train(text: str, *overrides: str) -> tuple[Engine, list[dict[str, Tensor]]]:
        plan = planned(text, Plugin(), overrides)
        engine = Engine(plan)
        states = [copied(engine)]
        for step in range(plan.recipe.train.steps):
            clock = Clock(step=step, run=step / plan.recipe.train.steps)
            samples = {key: x.float() for key, x in random_samples(plan, step).items()}
            inputs = [
                {k: v.float() if isinstance(v, Tensor) and v.is_floating_point() else v for k, v in each.items()}
                for each in micro_batches(plan, samples, 1, clock)
            ]
            engine.train_step(inputs, clock)
            states.append(copied(engine))
        return engine, states

    return train


def copied(engine: Engine) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in engine.networks.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {key for key in before if not torch.equal(before[key], after[key])}


def test_frozen_networks_and_layers_stay_as_they_are_bit_for_bit(trained: Any) -> None:
    engine, states = trained(RECIPE, "train.freeze=['g.old', 'g.young|first*', 'patch*|scales.0.layers.0*']")
    begun, *_, last = states
    frozen = {
        key
        for key in begun
        if key.startswith(("g.old|", "g.young|network.first")) or (key.startswith("patch") and "layers.0." in key)
    }
    assert {key.rpartition(".")[2] for key in frozen} >= {"running_mean", "num_batches_tracked", "_u", "original"}
    constant = {key for key in begun if key.endswith("last.parametrizations.weight.0._u")}  # of a single row: 1
    assert changed(begun, last) == begun.keys() - frozen - constant
    assert engine.average is not None
    averaged = {key: value for key, value in engine.average.state_dict().items() if key in frozen}
    assert averaged and all(torch.equal(value, begun[key]) for key, value in averaged.items())
    state = engine.optimizers.state_dict()
    assert state and not any(key.rpartition("|")[0] in frozen for key in state)


def test_a_stage_freezes_and_a_later_one_trains_again(trained: Any) -> None:
    stages = """
    [[stages]]
    share = 0.34
    [[stages]]
    share = 0.33
    freeze = ["g.old", "patch*"]
    [[stages]]
    share = 0.33
    """
    engine, states = trained(RECIPE + stages, "train.freeze=['*|scales.0.layers.1*']")
    assert [(stage.first, stage.last) for stage in engine.plan.stages] == [(0, 2), (2, 4), (4, 6)]
    first, second, third = (changed(states[i], states[i + 2]) for i in (0, 2, 4))
    assert {key.partition("|")[0] for key in first} == {"g.old", "g.young", "patch.old", "patch.young"}
    assert {key.partition("|")[0] for key in second} == {"g.young"}
    assert first == third and not any("layers.1." in key for key in first)
    modes = {name: {m.training for m in network.modules()} for name, network in engine.networks.items()}
    assert modes["g.old"] == {True}


def test_an_engine_without_what_is_frozen_would_train_the_rest_alike(trained: Any) -> None:
    """Freezing one network changes the others only by what they see of it: here a generator's twin, nothing."""
    one = changed_values(*trained(RECIPE, "train.freeze=['g.old', 'patch.old']")[1])
    two = changed_values(*trained(RECIPE)[1])
    assert one.keys() < two.keys() and all(torch.equal(value, two[key]) for key, value in one.items())


def changed_values(*states: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: states[-1][key] for key in changed(states[0], states[-1])}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "train.freeze=['patches*']",
            "'patches*' matches none. Known: g.old, g.young, patch.old, patch.young.",
        ),
        (
            "train.freeze=['patch*|scales.0.last.parametrizations.weight']",
            "'patch*|scales.0.last.parametrizations.weight' matches none. "
            "Did you mean 'scales.0.last.parametrizations.weight.original'?",
        ),
        ("train.freeze=['*']", "nothing is left to train; expected patterns of some networks or parameters only"),
        ("stages=[{share=0.5}, {share=0.5, freeze=['h']}]", "'h' matches none. Known: g.old, g.young, patch.old, "),
    ],
)
def test_a_pattern_that_matches_nothing_is_one_line_of_the_plan(planned: Any, override: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        planned(RECIPE, Plugin(), (override,))
    (line,) = caught.value.problems
    assert message in line
