"""Channels last: which networks compute so, that results are the same, and what becomes of those that refuse."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import Generator, NetworkSpec, Options, Register, hookimpl
from transgan.networks import Networks
from transgan.networks.memory_format import pays

CPU = torch.device("cpu")
LAST = torch.channels_last
RECIPE = """
[train]
steps = 2
[generators]
g = "{name}"
[losses]
cycle = 1.0
"""


def large(*more: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(340, 340, 3), *more)  # 1.04 million weights


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (large(), True),
        (large(nn.BatchNorm2d(340)), True),
        (nn.Conv2d(320, 320, 3), False),  # 0.92 million
        (large(nn.GroupNorm(4, 340)), False),
        (large(nn.InstanceNorm2d(340)), False),
        (nn.Linear(2000, 2000), False),
        (large(nn.Conv3d(4, 4, 3)), False),
        (nn.Conv1d(1000, 1000, 3), False),
    ],
)
def test_large_convolutions_without_slow_norms_have_channels_last_on_a_cpu(network: nn.Module, expected: bool) -> None:
    assert pays(network, CPU, None) == pays(network, CPU, torch.bfloat16) == expected


def test_a_gpu_has_channels_last_in_16_bits_alone() -> None:
    for network in (large(), nn.Conv2d(3, 3, 3), large(nn.GroupNorm(4, 340))):
        assert pays(network, torch.device("cuda"), torch.bfloat16)
        assert not pays(network, torch.device("cuda"), None)


class Viewing(Generator[Options]):
    """A network whose code views a tensor as one with rows last alone can be viewed."""

    def __init__(self, options: Options, spec: NetworkSpec):
        super().__init__(options, spec)
        self.first = nn.Conv2d(spec.inputs, 340, 3, padding=1)
        self.norm = nn.BatchNorm2d(340)
        self.drop = nn.Dropout(0.5)
        self.middle = nn.Conv2d(340, 340, 3, padding=1)
        self.last = nn.Conv2d(340, spec.channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.middle(self.drop(self.norm(self.first(x))))
        means = self.flat(y).mean(-1)
        return torch.tanh(self.last(y + means[:, :, None, None]))

    def flat(self, y: Tensor) -> Tensor:
        return (y.view(len(y), -1) if self.views else y.reshape(len(y), -1)).view(len(y), 340, -1)

    views = True


class Reshaping(Viewing):
    """The same, which takes any memory format."""

    views = False


class Broken(Viewing):
    """A network whose code is wrong in any memory format."""

    def flat(self, y: Tensor) -> Tensor:
        return y.transpose(1, 2).view(len(y), 340, -1)


class Plugin:
    @hookimpl
    def register_generators(self, register: Register) -> None:
        register("viewing", Viewing)
        register("reshaping", Reshaping)
        register("broken", Broken)


def networks_of(planned: Any, name: str) -> Networks:
    return Networks(planned(RECIPE.format(name=name), Plugin()))


def first_pass(networks: Networks) -> tuple[Tensor, dict[str, Tensor]]:
    x = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)
    torch.manual_seed(1)
    y = networks("g", x, {})
    return y, {name: each.clone() for name, each in networks["g"].named_buffers()}


def test_a_network_that_refuses_channels_last_computes_as_if_they_had_not_been_tried(planned: Any) -> None:
    refusing, rows_last = networks_of(planned, "viewing"), networks_of(planned, "viewing")
    rows_last.channels_last.clear()
    rows_last._untried.clear()
    rows_last["g"].to(memory_format=torch.contiguous_format)
    (y, buffers), (expected, expected_buffers) = map(first_pass, (refusing, rows_last))
    assert torch.equal(y, expected)
    assert not refusing.channels_last
    for name, each in expected_buffers.items():
        assert torch.equal(buffers[name], each), name
    assert int(buffers["network.norm.num_batches_tracked"]) == 1
    assert all(p.is_contiguous() for p in refusing["g"].parameters())


def test_a_network_that_takes_channels_last_gives_the_same(planned: Any) -> None:
    taking, refusing = networks_of(planned, "reshaping"), networks_of(planned, "viewing")
    for each in (taking, refusing):
        each["g"].eval()  # the mask of dropout is drawn in the order of memory
    (y, _), (expected, _) = map(first_pass, (taking, refusing))
    assert taking.channels_last == {"g"}
    assert y.is_contiguous(memory_format=LAST)
    torch.testing.assert_close(y, expected)


def test_code_that_is_wrong_in_any_format_still_fails(planned: Any) -> None:
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        first_pass(networks_of(planned, "broken"))
