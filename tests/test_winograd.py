"""Winograd's convolutions: those of PyTorch, in float64, within the rounding of fp32; and where they are used."""

import copy

import pytest
import torch
from torch import Tensor, nn

from transgan import winograd
from transgan.winograd import WinogradConv2d, use_winograd


def pair(channels: int, outputs: int, padding: int, mode: str = "zeros") -> tuple[nn.Conv2d, nn.Conv2d]:
    """Return a layer in float64, and the same as a Winograd convolution in fp32."""
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, outputs, 3, padding=padding, padding_mode=mode)
    fast = copy.deepcopy(layer)
    fast.__class__ = WinogradConv2d
    return layer.double(), fast


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "TILES", 0)
    monkeypatch.setattr(winograd, "CHANNELS", 1)


@pytest.mark.parametrize("size", [(4, 4), (6, 10)])
@pytest.mark.parametrize(("padding", "mode"), [(0, "zeros"), (1, "zeros"), (1, "reflect"), (1, "circular")])
def test_outputs_and_gradients_are_those_of_the_direct_convolution(
    size: tuple[int, int], padding: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, fast = pair(5, 7, padding, mode)
    used: list[bool] = []
    tiles = winograd._tiles
    monkeypatch.setattr(winograd, "_tiles", lambda x: (used.append(True), tiles(x))[1])  # type: ignore[func-returns-value]
    for turn in range(2):  # memory that is used again changes nothing
        x = torch.randn(3, 5, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(turn))
        both = []
        for each, start in ((layer, x), (fast, x.float())):
            each.zero_grad()
            start = start.requires_grad_()
            y = each(start)
            (y * torch.arange(y.numel(), dtype=y.dtype).view_as(y).sin()).sum().backward()
            both.append([y, start.grad, each.weight.grad, each.bias.grad])
        for expected, found in zip(*both, strict=True):
            assert found.shape == expected.shape
            assert torch.allclose(found.double(), expected, rtol=1e-5, atol=1e-5)
    assert len(used) == 4


def test_gradients_can_be_differentiated_again() -> None:
    layer, fast = pair(3, 4, 1)
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def penalty(each: nn.Conv2d, x: Tensor) -> Tensor:
        x = x.requires_grad_()
        (gradient,) = torch.autograd.grad(each(x).square().sum(), x, create_graph=True)
        (each(x).sum() + gradient.square().sum()).backward()
        assert each.weight.grad is not None and x.grad is not None
        return torch.cat([each.weight.grad.flatten(), x.grad.flatten()])

    assert torch.allclose(penalty(fast, x.float()).double(), penalty(layer, x), rtol=1e-4, atol=1e-4)


def test_frozen_weights_and_inputs_without_gradients_get_none() -> None:
    _, fast = pair(3, 4, 1)
    fast.requires_grad_(False)
    x = torch.ones(1, 3, 4, 4, requires_grad=True)
    fast(x).sum().backward()
    assert x.grad is not None and fast.weight.grad is None
    fast.requires_grad_(True)
    fast(torch.ones(1, 3, 4, 4)).sum().backward()
    assert fast.weight.grad is not None


def test_other_convolutions_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "CHANNELS", 8)
    layers = {
        "fast": nn.Conv2d(8, 8, 3),
        "few channels": nn.Conv2d(4, 8, 3),
        "another size": nn.Conv2d(8, 8, 5),
        "stride": nn.Conv2d(8, 8, 3, 2),
        "dilation": nn.Conv2d(8, 8, 3, dilation=2),
        "groups": nn.Conv2d(8, 8, 3, groups=2),
        "transposed": nn.ConvTranspose2d(8, 8, 3),
        "spectral norm": nn.utils.parametrizations.spectral_norm(nn.Conv2d(8, 8, 3)),
    }
    network = nn.ModuleDict(layers)
    keys = list(network.state_dict())
    use_winograd(network)
    assert [name for name, layer in layers.items() if isinstance(layer, WinogradConv2d)] == ["fast"]
    assert list(network.state_dict()) == keys


@pytest.mark.parametrize("case", ["odd", "double", "autocast", "without a batch"])
def test_what_it_cannot_do_is_computed_directly(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(winograd, "_tiles", None)
    layer, fast = pair(3, 4, 1)
    x = torch.randn((3, 5, 6) if case == "without a batch" else (2, 3, 5 if case == "odd" else 4, 6))
    if case == "double":
        fast, x = fast.double(), x.double()
    with torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"):
        found = fast(x)
    assert torch.allclose(found.double(), layer(x.double()), atol=0.02 if case == "autocast" else 1e-5)
