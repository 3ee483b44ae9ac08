"""Plans become networks: each built from the seed and its own name, so that no other network changes it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from transgan.api.protocols import Conditioning
from transgan.data.draws import hashed
from transgan.graph import accepts_all, asks
from transgan.plan.plan import NetworkPlan, Plan
from transgan.plan.shapes import shapes


class Conditioned(nn.Module):
    """A network behind its conditionings; each takes what it asks for of the conditions."""

    def __init__(self, network: nn.Module, conditionings: list[Conditioning]):
        super().__init__()
        self.network = network
        self.conditionings = nn.ModuleList(conditionings)

    def forward(self, x: Any, **conditions: Any) -> Any:
        style: Tensor | None = None
        for conditioning in self.conditionings:
            x, style = conditioning(x, style, **take(conditioning, conditions))
        if style is not None:
            conditions = {**conditions, "style": style}
        return self.network(x, **take(self.network, conditions))

    @property
    def stride(self) -> int:
        """Every axis of the input must be a multiple of it."""
        return int(getattr(self.network, "stride", 1))


def take(module: nn.Module, conditions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Those of the conditions that a module's `forward` asks for."""
    function = type(module).forward
    if accepts_all(function):
        return conditions
    return {name: conditions[name] for name in asks(function) if name in conditions}


def mixes_batch(network: nn.Module) -> bool:
    """Whether a network's samples see each other: by batch norm, or because it says so."""
    return any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) or getattr(module, "mixes_batch", False)
        for module in network.modules()
    )


def build_network(plan: NetworkPlan, seed: int) -> nn.Module:
    """One network with fresh weights, a pure function of the plan, the seed and the network's name."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(hashed(seed, "network", plan.name) >> 1)
        if plan.conditionings is None:  # a loss's own network is made by the loss
            network: nn.Module = plan.cls(plan.options, plan.spec)
            return network
        told = [cls(options, plan.spec) for cls, options in plan.conditionings]
        return Conditioned(plan.cls(plan.options, plan.spec), told)


def build_networks(plan: Plan, device: str = "cpu") -> dict[str, nn.Module]:
    """Every network of a plan; on `meta` they have shapes and no numbers."""
    with shapes() if device == "meta" else torch.device(device):
        return {name: build_network(network, plan.recipe.train.seed) for name, network in plan.networks.items()}
