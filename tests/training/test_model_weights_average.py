"""The moving average of the generators' weights: its closed form, when it is updated, and the model made of it."""

from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from transgan import storage
from transgan.api import Clock
from transgan.training.engine import Engine
from transgan.training.model_weights import MovingAverage

RECIPE = """
[train]
steps = 4
batch = 4
ema = 0.5
[generators]
g = { use = "resnet", per = "direction", width = 4, blocks = 0, norm = "batch" }
[discriminators]
d = { use = "patch", width = 4, layers = 1 }
[losses]
lsgan = 1.0
cycle = 10.0
[[phases]]
side = "discriminator"
[[phases]]
side = "generator"
every = 2
"""


def filled(number: float) -> nn.Module:
    network = nn.Linear(2, 1).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(number)
    return network


@pytest.mark.parametrize("decay", [0.999, 0.3])
def test_under_constant_weights_the_share_of_the_initial_weights_is_the_product_of_the_decays(decay: float) -> None:
    network = filled(0.0)
    average = MovingAverage({"g": network}, decay)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1.0)
    for count in (1, 2, 3, 30, 300):
        while average.updates < count:
            average.update()
        initial = prod(min(decay, (1 + n) / (10 + n)) for n in range(1, count + 1))
        for parameter in average["g"].parameters():
            torch.testing.assert_close(parameter, torch.full_like(parameter, 1 - initial), rtol=0, atol=1e-12)


def test_under_changing_weights_it_is_the_sum_weighted_by_the_decays() -> None:
    network = filled(0.0)
    average = MovingAverage({"g": network}, 0.9)
    expected = 0.0
    for n in range(1, 40):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(float(n * n % 7))
        average.update()
        decay = min(0.9, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * (n * n % 7)
    for parameter in average["g"].parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, expected), rtol=0, atol=1e-12)


def test_it_is_a_separate_copy_without_gradients_in_evaluation_mode() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))
    average = MovingAverage({"g": network}, 0.9)["g"]
    assert not average.training
    assert network.training
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
    theirs = {parameter.data_ptr() for parameter in network.parameters()}
    assert theirs.isdisjoint(parameter.data_ptr() for parameter in average.parameters())


def test_buffers_are_copied_and_not_averaged() -> None:
    network = nn.BatchNorm1d(3)
    average = MovingAverage({"g": network}, 0.999)
    network(torch.randn(8, 3, generator=torch.Generator().manual_seed(0)) + 5)
    average.update()
    for ours, theirs in zip(average["g"].buffers(), network.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_an_engine_averages_its_generators_after_the_steps_that_train_them(
    planned: Any, random_samples: Any, micro_batches: Any, double_engine: Any
) -> None:
    plan = planned(RECIPE)
    engine: Engine = double_engine(plan)[0]
    engine.average = MovingAverage({n: engine.networks[n] for n in ("g.forward", "g.backward")}, 0.5)
    assert set(Engine(plan).average or ()) == {"g.forward", "g.backward"}
    expected = {key: value.clone() for key, value in engine.networks["g.forward"].state_dict().items()}
    for step in range(4):
        clock = Clock(step=step, run=step / 4)
        engine.train_step(micro_batches(plan, random_samples(plan, step), 1, clock), clock)
        updates = (step + 1) // 2
        assert engine.average.updates == updates
        if step % 2:
            decay = min(0.5, (1 + updates) / (10 + updates))
            for key, parameter in engine.networks["g.forward"].named_parameters():
                expected[key] = decay * expected[key] + (1 - decay) * parameter.detach()
    average = dict(engine.average["g.forward"].named_parameters())
    for key, parameter in average.items():
        torch.testing.assert_close(parameter, expected[key], rtol=0, atol=1e-12)


def test_a_recipe_without_ema_has_no_average(planned: Any) -> None:
    assert Engine(planned(RECIPE, overrides=("train.ema=0.0",))).average is None


def test_the_model_of_a_run_is_the_average(trained: Any, recipe_file: Any, tmp_path: Path) -> None:
    checkpoint = trained(recipe_file(RECIPE), tmp_path / "run")
    model, _ = storage.read_model(tmp_path / "run" / "model")
    assert model.keys() == checkpoint.groups["ema"].keys()
    assert all(torch.equal(model[name], checkpoint.groups["ema"][name]) for name in model)
    weights = [name for name in model if name.endswith("weight")]
    assert any(not torch.equal(model[name], checkpoint.groups["networks"][name]) for name in weights)
