"""Channels last: which networks compute so, that results are the same, and that no other code sees it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import (
    Conditioning,
    Discriminator,
    DiscriminatorOutput,
    Generator,
    Loss,
    NetworkSpec,
    Options,
    Register,
    hookimpl,
)
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.networks import Networks
from transgan.networks.memory_format import pays
from transgan.plan import Conditioned
from transgan.schedule import Clock
from transgan.training.engine import Engine

CPU = torch.device("cpu")
LAST = torch.channels_last
RECIPE = """
[train]
steps = 2
[generators]
g = "{generator}"
[discriminators]
d = "{discriminator}"
[losses]
cycle = 1.0
lsgan = 1.0
viewing = 1.0
"""


class Taking(nn.Sequential):
    channels_last = True


def large(*more: nn.Module) -> nn.Sequential:
    return Taking(nn.Conv2d(340, 340, 3), *more)  # 1.04 million weights


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (large(), True),
        (large(nn.BatchNorm2d(340)), True),
        (Taking(nn.Conv2d(320, 320, 3)), False),  # 0.92 million
        (large(nn.GroupNorm(4, 340)), False),
        (large(nn.InstanceNorm2d(340)), False),
        (Taking(nn.Linear(2000, 2000)), False),
        (large(nn.Conv3d(4, 4, 3)), False),
        (Taking(nn.Conv1d(1000, 1000, 3)), False),
        (nn.Conv2d(340, 340, 3), False),  # says nothing
    ],
)
def test_large_convolutions_without_slow_norms_have_channels_last_on_a_cpu(network: nn.Module, expected: bool) -> None:
    assert pays(network, CPU, None) == pays(network, CPU, torch.bfloat16) == expected


def test_a_gpu_has_channels_last_in_16_bits_alone() -> None:
    for network in (large(), Taking(nn.Conv2d(3, 3, 3)), large(nn.GroupNorm(4, 340))):
        assert pays(network, torch.device("cuda"), torch.bfloat16)
        assert not pays(network, torch.device("cuda"), None)
    assert not pays(nn.Conv2d(3, 3, 3), torch.device("cuda"), torch.bfloat16)


class Silent(Conditioning[Options]):
    """A conditioning that does not say that it takes channels last."""


def test_the_conditionings_of_a_network_take_channels_last_too() -> None:
    spec = NetworkSpec(3, 3, 0, (16, 16), ("a", "b"), ("task",))
    silent = Silent(Options(), spec)
    assert pays(Conditioned(large(), []), CPU, None)
    assert not pays(Conditioned(large(), [silent]), CPU, None)


class Viewed(torch.autograd.Function):
    """The identity, whose gradient is viewed as one with rows last alone can be viewed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient.view(len(gradient), -1).view(gradient.shape)


class Viewing(Generator[Options]):
    """A large network whose code views tensors, and their gradients, as only those with rows last can be viewed."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.first = nn.Conv2d(spec.inputs, 340, 3, padding=1)
        self.middle = nn.Conv2d(340, 340, 3, padding=1)
        self.last = nn.Conv2d(340, spec.channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = Viewed.apply(self.middle(self.first(x.view(len(x), -1).view(x.shape))))
        assert isinstance(y, Tensor)
        return torch.tanh(self.last(y.view(len(y), -1).view(y.shape)))


class Reshaping(Viewing):
    """The same, which takes any memory format, and says so."""

    channels_last = True

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.last(self.middle(self.first(x))))


class LargeDiscriminator(Discriminator[Options]):
    """One that takes channels last, and returns features."""

    channels_last = True

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.first = nn.Conv2d(spec.inputs, 340, 3)
        self.middle = nn.Conv2d(340, 340, 3)
        self.last = nn.Conv2d(340, 2, 3)

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        first = self.first(x)
        middle = self.middle(first)
        return DiscriminatorOutput([self.last(middle)[:, :1]], features=[first, middle])


class ViewingDiscriminator(LargeDiscriminator):
    """One that views what a generator returns."""

    channels_last = False

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        x = x.view(len(x), -1).view(x.shape)
        return super().forward(x)


class ViewingLoss(Loss[Options]):
    """Views samples, their gradients, and features."""

    def for_generator(self, fake: Tensor, fake_output: DiscriminatorOutput) -> Tensor:
        viewed = Viewed.apply(fake)
        assert isinstance(viewed, Tensor)
        of_features = sum(each.view(len(each), -1).square().mean() for each in fake_output.features)
        return viewed.view(len(viewed), -1).square().mean() + of_features


class Plugin:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("viewing", Viewing)
        register("reshaping", Reshaping)

    @hookimpl
    def register_discriminators(self, register: Register) -> None:
        register("large", LargeDiscriminator)
        register("viewing", ViewingDiscriminator)

    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("viewing", ViewingLoss)


def networks_of(planned: Any, generator: str, discriminator: str = "large") -> Networks:
    return Networks(planned(RECIPE.format(generator=generator, discriminator=discriminator), Plugin()))


def test_a_network_that_takes_channels_last_gives_the_same_with_rows_last(planned: Any) -> None:
    taking, viewing = networks_of(planned, "reshaping"), networks_of(planned, "viewing")
    assert "g" in taking.channels_last
    assert "g" not in viewing.channels_last
    assert any(p.is_contiguous(memory_format=LAST) and not p.is_contiguous() for p in taking["g"].parameters())
    x = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)
    y, expected = taking("g", x, {}), viewing("g", x, {})
    assert y.is_contiguous()
    torch.testing.assert_close(y, expected)


@pytest.mark.parametrize("generator", ["viewing", "reshaping"])
@pytest.mark.parametrize("discriminator", ["viewing", "large"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_code_that_views_tensors_trains_beside_networks_with_channels_last(
    planned: Any, generator: str, discriminator: str, precision: str
) -> None:
    recipe = RECIPE.format(generator=generator, discriminator=discriminator)
    plan = planned(recipe, Plugin(), (f'train.precision="{precision}"',))
    engine = Engine(plan)
    assert ("g" in engine.networks.channels_last) == (generator == "reshaping")
    losses = engine.train_step(Batches(plan, Domains(plan)).at(0), Clock())
    assert all(torch.isfinite(value) for value in losses.values())
    with engine.networks.evaluating(), torch.no_grad():
        assert engine.networks("g", torch.zeros(2, 3, 16, 16), {}).is_contiguous()
