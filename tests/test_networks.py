"""Networks: frozen calls."""

from typing import Any

import torch

from transgan.networks import Networks

RECIPE = """
[train]
steps = 4
[conditionings]
domain = { use = "embedding" }
[generators]
g = { use = "resnet", width = 2, blocks = 0 }
[discriminators]
d = { use = "patch", width = 2, layers = 1 }
[losses]
lsgan = 1.0
cycle = 10.0
"""


def test_a_frozen_call_passes_gradients_through_but_not_to_the_parameters(planned: Any) -> None:
    networks = Networks(planned(RECIPE))
    network = networks["g"]
    conditions = {"domain": torch.zeros(2, dtype=torch.long)}
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    frozen = networks("g", x, conditions, True)
    assert torch.equal(frozen, networks("g", x, conditions))
    frozen.square().sum().backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0
    expected = torch.autograd.grad(networks("g", x, conditions).square().sum(), x)[0]
    torch.testing.assert_close(x.grad, expected)
    assert all(parameter.requires_grad for parameter in network.parameters())
