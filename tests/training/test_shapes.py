"""The shape pass: lazy modules of a loss's own networks get the shapes of what they will see."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import Call, Clock, Loss, NetworkSpec, Register, hookimpl, node
from transgan.dry_run import describe
from transgan.errors import UsageError
from transgan.training import Engine

RECIPE = """
[train]
steps = 4
batch = 4
[generators.g]
use = "resnet"
width = 4
blocks = 1
[discriminators.d]
use = "patch"
width = 4
layers = 1
[losses]
lsgan = 1.0
anything = { use = "projected", weight = 1.0 }
"""


class Projected(Loss):
    """Distance of features that a lazy head projects; the source's carry no gradient to the head."""

    def networks(self, spec: NetworkSpec) -> dict[str, nn.Module]:
        return {"head": nn.Sequential(nn.LazyConv2d(5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3))}

    @node
    def features(self, source: Tensor) -> Call:
        return Call("generator", source, {"layers": [4]})

    @node
    def query(self, features: list[Tensor]) -> Call:
        return Call("head", features[0])

    @node
    def key(self, features: list[Tensor]) -> Call:
        return Call("head", features[0].flip(0), frozen=True)

    def for_generator(self, query: Tensor, key: Tensor) -> Tensor:
        return (query - key).square().mean()


class Unused(Loss):
    def networks(self, spec: NetworkSpec) -> dict[str, nn.Module]:
        return {"head": nn.LazyLinear(3)}

    def for_generator(self, fake: Tensor) -> Tensor:
        return fake.mean()


class Plugin:
    def __init__(self, loss: type[Loss] = Projected):
        self.loss = loss

    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("projected", self.loss)


def test_lazy_modules_get_shapes_and_weights_that_follow_from_the_seed(planned: Any) -> None:
    engine, again = Engine(planned(RECIPE, Plugin())), Engine(planned(RECIPE, Plugin()))
    other = Engine(planned(RECIPE, Plugin(), ("train.seed=1",)))
    head = engine.networks["anything/head"]
    assert [tuple(p.shape) for p in head.parameters()] == [(5, 8, 1, 1), (5,), (3, 5), (3,)]
    for mine, same, differs in zip(
        head.parameters(),
        again.networks["anything/head"].parameters(),
        other.networks["anything/head"].parameters(),
        strict=True,
    ):
        assert torch.equal(mine, same) and not torch.equal(mine, differs)


def test_a_loss_finds_its_networks_by_their_short_name_and_trains_them(
    planned: Any, double_engine: Any, random_samples: Any, micro_batches: Any
) -> None:
    plan = planned(RECIPE, Plugin())
    engine, copies = double_engine(plan)
    clock = Clock()
    engine.train_step(micro_batches(plan, random_samples(plan, 0), 1, clock), clock)
    before, after = copies["anything/head"].state_dict(), engine.networks["anything/head"].state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before if name.endswith("weight"))


def test_networks_of_losses_stay_out_of_the_model(planned: Any) -> None:
    plan = planned(RECIPE, Plugin())
    assert "anything/head" in plan.networks and plan.generator_side == ["g"]


def test_check_counts_the_parameters_of_lazy_modules(planned: Any) -> None:
    lines = list(describe(planned(RECIPE, Plugin())))
    assert next(line for line in lines if "anything/head" in line).startswith(
        "  anything/head: anything, 63 parameters"
    )
    assert lines[-1] == "It will run."


def test_a_lazy_module_that_nothing_uses_is_an_error(planned: Any) -> None:
    with pytest.raises(
        UsageError, match="'anything/head' of 'anything': its LazyLinear is a lazy module that no phase uses"
    ):
        Engine(planned(RECIPE, Plugin(Unused)))


@pytest.mark.parametrize("weight", ["0.0", "{ from = 0.0, curve = 'constant' }"])
def test_a_loss_without_a_weight_has_no_networks(planned: Any, weight: str) -> None:
    plan = planned(RECIPE.replace("weight = 1.0", f"weight = {weight}"), Plugin())
    assert set(Engine(plan).networks) == {"g", "d.young", "d.old"}
    assert list(describe(plan))[-1] == "It will run."
