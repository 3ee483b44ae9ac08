"""The generator `pointwise`, and `output = "linear"`."""

import pytest
import torch
from torch.nn import functional as F
from transgan_standard.generators import ResnetGenerator, ResnetOptions
from transgan_standard.pointwise import Pointwise, PointwiseOptions

from transgan.api import NetworkSpec, UsageError


def test_it_is_a_perceptron_of_the_channels_at_every_position() -> None:
    torch.manual_seed(0)
    spec = NetworkSpec(3, 4, 2, (4, 5), ("a", "b"), (), source_channels=4)
    network = Pointwise(PointwiseOptions(width=6, layers=2, output="linear"), spec)
    x, style = torch.randn(2, 4, 4, 5), torch.randn(2, 2)
    y = x.permute(0, 2, 3, 1)
    for layer, film in zip(network.hidden, network.films, strict=True):
        scale, shift = film.linear(style)[:, None, None].chunk(2, -1)
        y = F.silu(F.linear(y, layer.weight.flatten(1), layer.bias) * (1 + scale) + shift)
    expected = F.linear(y, network.last.weight.flatten(1), network.last.bias).permute(0, 3, 1, 2)
    torch.testing.assert_close(network(x, style), expected)


def test_a_linear_output_is_not_bounded_and_may_have_other_channels() -> None:
    torch.manual_seed(0)
    spec = NetworkSpec(3, 1, 0, (16, 16), ("a", "b"), (), source_channels=1)
    linear, image = (ResnetGenerator(ResnetOptions(width=4, blocks=0, output=o), spec) for o in ("linear", "image"))
    image.load_state_dict(linear.state_dict())
    torch.nn.init.normal_(linear.model[-1].weight)
    image.load_state_dict(linear.state_dict())
    x = torch.randn(1, 1, 16, 16)
    assert float(linear(x).detach().abs().max()) > 1
    torch.testing.assert_close(linear(x).tanh(), image(x))
    with pytest.raises(UsageError, match='expected output = "image"'):
        ResnetGenerator(ResnetOptions(output="edit"), spec)
