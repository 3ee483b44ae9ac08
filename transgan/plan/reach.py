"""Whether conditions can reach the output at all: asked of the networks themselves, with numbers.

A constant channel before reflection padding and instance norm cannot: the norm takes every constant away. Weights are
perturbed first, since a layer that starts at zero hides every condition until it has learned.
"""

import torch
from torch import nn

from transgan.graph import asks
from transgan.plan.build import Conditioned, build_network
from transgan.plan.plan import NetworkPlan, Plan

#: An output that moves less than this, relative to its own spread, does not move.
NOTHING = 1e-6


def check_reach(plan: Plan) -> list[str]:
    """A warning for each condition that cannot reach the output of a network that is told it."""
    warnings = []
    seen: set[tuple[str, str]] = set()
    for network in plan.networks.values():
        slot = network.name.partition(".")[0]
        if network.side != "generator" or not network.conditionings or (network.kind, slot) in seen:
            continue
        seen.add((network.kind, slot))
        said = getattr(plan.recipe, network.kind)[slot].conditionings
        names = list(plan.recipe.conditionings) if said is None else list(dict.fromkeys(said))
        for condition, count in (("task", len(plan.recipe.tasks)), ("domain", len(plan.domains))):
            told = _told(network, condition, names)
            if told and count > 1 and effect(network, condition, count) < NOTHING:
                warnings.append(
                    f"[{network.kind}.{slot}] the condition '{condition}' cannot change the output: a norm removes "
                    f'what [conditionings.{told}] adds. Use an embedding, set norm_first = false, or padding = "zero"'
                )
    return warnings


def _told(network: NetworkPlan, condition: str, names: list[str]) -> str | None:
    """Which of the network's conditionings tells it a condition."""
    for name, (cls, options) in zip(names, network.conditionings or (), strict=True):
        of = getattr(options, "of", None)
        if of == condition or (of is None and condition in asks(cls.forward)):
            return name
    return None


def effect(plan: NetworkPlan, condition: str, count: int) -> float:
    """How much an output differs when only the condition does, relative to the output's own spread."""
    network = build_network(plan, 0).double().eval()
    assert isinstance(network, Conditioned)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
        axes = [min(side, max(32, network.stride * 2)) for side in plan.spec.space]
        x = torch.randn(1, plan.spec.channels, *axes, generator=generator, dtype=torch.float64).tanh()
        conditions = {name: torch.zeros(1, dtype=torch.long) for name in ("task", "domain")}
        for _, options in plan.conditionings or ():
            if (of := getattr(options, "of", condition)) not in conditions:  # numbers, which stay the same here
                conditions[of] = torch.zeros(1, getattr(options, "numbers", 1), dtype=torch.float64)
        outputs = [network(x, **{**conditions, condition: torch.tensor([value])}) for value in (0, count - 1)]
    first, second = (output if isinstance(output, torch.Tensor) else output[0] for output in outputs)
    return float((first - second).abs().max() / first.std().clamp_min(1e-12))


def parameters(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())
