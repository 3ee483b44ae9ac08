"""Networks: frozen calls, and roles that there are not."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from transgan.api import Call, Loss, NetworkSpec, Register, UsageError, hookimpl, node
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


class WithNetwork(Loss):
    """A loss with a network and nodes of its own."""

    def networks(self, spec: NetworkSpec) -> dict[str, nn.Module]:
        return {"projection": nn.Conv2d(spec.channels, 1, 1)}

    @node
    def projected(self, fake: Tensor) -> Call:
        return Call("projection", fake)

    def for_generator(self, projected: Tensor) -> Tensor:
        return projected.mean()


class Plugin:
    @hookimpl
    def register_losses(self, register: Register) -> None:
        register("with_network", WithNetwork)


@pytest.mark.parametrize(
    ("role", "owner", "hint"),
    [
        ("mlp", "own", "Known: back, generator, projection."),
        ("projektion", "own", "Did you mean 'projection'?"),
        ("mlp", "other", "Known: back, generator, mapping."),
        ("projection", "", "Known: back, generator."),
        ("generatr", "", "Did you mean 'generator'?"),
    ],
)
def test_a_role_that_there_is_not_is_compared_with_those_of_the_asker(
    planned: Any, role: str, owner: str, hint: str
) -> None:
    plan = planned(RECIPE + 'own = { use = "with_network" }\nother = { use = "with_network" }\n', Plugin())
    networks = Networks(plan, "meta")
    networks._networks["other/mapping"] = networks._networks.pop("other/projection")
    assert networks.resolve(plan.translations[0], "projection", "own") == "own/projection"
    with pytest.raises(UsageError) as raised:
        networks.resolve(plan.translations[0], role, owner)
    assert str(raised.value) == f"no network has the role '{role}' for age: young -> old. {hint}"


def test_the_way_back_of_a_task_with_one_direction_is_one_change(planned: Any) -> None:
    task = '[tasks.age]\nfrom = "young"\nto = "old"\n'
    plan = planned(RECIPE + task)
    with pytest.raises(UsageError) as raised:
        Networks(plan, "meta").resolve(plan.translations[0], "back")
    both = 'between = ["young", "old"], in place of from and to, gives both'
    assert str(raised.value).endswith(f"'back' for age: young -> old; task 'age' has this direction alone, and {both}")
    plan = planned(RECIPE + '[tasks.age]\nbetween = ["young", "old"]\n')
    assert Networks(plan, "meta").resolve(plan.translations[0], "back") == "g"
