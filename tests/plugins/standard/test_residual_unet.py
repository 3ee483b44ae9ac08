"""The generator `residual_unet`."""

import math

import pytest
import torch
from transgan_standard.residual_unet import ResidualUnet, ResidualUnetOptions

from transgan.api import NetworkSpec, UsageError

SPEC = NetworkSpec(3, 3, 4, (32, 32), ("a", "b"), ("t",))


def test_it_starts_as_the_identity_and_its_style_matters_afterwards() -> None:
    torch.manual_seed(0)
    network = ResidualUnet(ResidualUnetOptions(width=8, factors=[1, 2, 2]), SPEC)
    x, style = torch.rand(2, 3, 32, 32) * 2 - 1, torch.randn(2, 4)
    torch.testing.assert_close(network(x, style), x)
    torch.nn.init.normal_(network.last.weight, 0, 0.1)
    first, second = network(x, style), network(x, style.flip(0))
    assert float((first - second).detach().abs().max()) > 1e-4
    assert float(first.detach().abs().max()) <= 1


def test_a_warp_starts_as_the_identity_and_moves_by_what_it_predicts() -> None:
    torch.manual_seed(0)
    network = ResidualUnet(ResidualUnetOptions(width=8, factors=[1, 2], warp=True), SPEC)
    x, style = torch.rand(2, 3, 32, 32) * 2 - 1, torch.randn(2, 4)
    torch.testing.assert_close(network(x, style), x, atol=1e-5, rtol=0)
    assert network.warp is not None
    with torch.no_grad():
        network.warp.last.bias[2] = math.atanh(0.25 / 0.5)  # by 4 of 32 pixels: an eighth of an axis from -1 to 1
    moved = network(x, style)
    torch.testing.assert_close(moved[..., :-4], x[..., 4:], atol=1e-4, rtol=0)
    torch.testing.assert_close(moved[..., -4:], x[..., -1:].expand(2, 3, 32, 4), atol=1e-4, rtol=0)
    moved.sum().backward()
    assert network.warp.last.weight.grad is not None and float(network.warp.last.weight.grad.abs().max()) > 0


def test_layers_are_the_levels_of_the_u() -> None:
    network = ResidualUnet(ResidualUnetOptions(width=8, factors=[1, 2, 4], blocks=2), SPEC)
    x, style = torch.rand(1, 3, 32, 32), torch.randn(1, 4)
    shapes = [tuple(y.shape[1:]) for y in network(x, style, layers=[0, 1, 2, 3, 4, 5, 6])]
    sides = [(8, 32, 32), (16, 16, 16), (32, 8, 8), (16, 16, 16), (8, 32, 32)]
    assert shapes == [(3, 32, 32), *sides, (3, 32, 32)]
    assert network.stride == 4


def test_parameters_are_counted_by_hand() -> None:
    network = ResidualUnet(ResidualUnetOptions(width=8, factors=[1, 2]), SPEC)

    def conv(i: int, o: int, k: int) -> int:
        return i * o * k * k + o

    def block(i: int, o: int) -> int:
        film, norm = 4 * 2 * o + 2 * o, 2 * o
        return conv(i, o, 3) + conv(o, o, 3) + film + norm + (conv(i, o, 1) if i != o else 0)

    expected = conv(3, 8, 3) + block(8, 8) + block(8, 16) + block(24, 8) + conv(8, 3, 3)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_factors_below_one_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        ResidualUnet(ResidualUnetOptions(factors=[1, 0]), SPEC)
