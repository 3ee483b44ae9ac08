"""Whether conditions can affect the output at all: measured on the networks themselves, with numbers.

A constant channel before reflection padding and instance norm cannot: the norm removes every constant. Weights are
perturbed first, since a layer initialised to zero hides every condition until it is trained.
"""

import torch
from torch import nn

from transgan.graph import argument_names
from transgan.plan.build import Conditioned, build_network
from transgan.plan.plan import NetworkPlan, Plan

#: An output that changes by less than this, relative to its own standard deviation, does not change.
NOTHING = 1e-6


def check_conditioning(plan: Plan) -> list[str]:
    """Return a warning for each condition that cannot affect the output of a network conditioned on it."""
    warnings = []
    seen: set[tuple[str, str]] = set()
    for network in plan.networks.values():
        slot = network.name.partition(".")[0]
        if network.side != "generator" or not network.conditionings or (network.kind, slot) in seen:
            continue
        seen.add((network.kind, slot))
        named = getattr(plan.recipe, network.kind)[slot].conditionings
        names = list(plan.recipe.conditionings) if named is None else list(dict.fromkeys(named))
        of_nodes = [of for _, options in network.conditionings if (of := getattr(options, "of", None))]
        for condition in dict.fromkeys(("task", "domain", *plan.recipe.attributes, *of_nodes)):
            by = _conditioning_of(network, condition, names)
            if by and effect(network, condition) < NOTHING:
                warnings.append(
                    f"[{network.kind}.{slot}] the condition '{condition}' cannot change the output: a norm removes "
                    f'what [conditionings.{by}] adds. Use an embedding, set norm_first = false, or padding = "zero"'
                )
    of = {getattr(options, "of", None) for each in plan.networks.values() for _, options in each.conditionings or ()}
    for name in plan.recipe.attributes:
        if name not in of:
            warnings.append(
                f'[attributes] {name}: no network is conditioned on it; set of = "{name}" in [conditionings]'
            )
    return warnings


def _conditioning_of(network: NetworkPlan, condition: str, names: list[str]) -> str | None:
    """Return which of a network's conditionings takes a condition."""
    for name, (cls, options) in zip(names, network.conditionings or (), strict=True):
        of = getattr(options, "of", None)
        if of == condition or (of is None and condition in argument_names(cls.forward)):
            return name
    return None


def effect(plan: NetworkPlan, condition: str) -> float:
    """Return how much an output differs when only a condition does, relative to the output's standard deviation.

    The condition goes from the first task or domain to the last, or from the least to the largest value of an
    attribute; the effect is infinite where there is only one.
    """
    counts = {"task": len(plan.spec.tasks), "domain": len(plan.spec.domains), "origin": len(plan.spec.domains)}
    if counts.get(condition) == 1:
        return float("inf")
    network = build_network(plan, 0).double().eval()
    assert isinstance(network, Conditioned)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
        axes = [min(side, max(32, network.stride * 2)) for side in plan.spec.space]
        x = torch.randn(1, plan.spec.channels, *axes, generator=generator, dtype=torch.float64).tanh()
        conditions = {name: torch.zeros(1, dtype=torch.long) for name in counts}
        conditions |= {name: torch.zeros(1, k, dtype=torch.float64) for name, k in plan.spec.attributes.items()}
        for _, options in plan.conditionings or ():
            if (of := getattr(options, "of", condition)) not in conditions:  # a node's own condition, held constant
                conditions[of] = torch.zeros(1, getattr(options, "numbers", 1), dtype=torch.float64)
        if condition in counts:
            ends = [torch.tensor([0]), torch.tensor([counts[condition] - 1])]
        else:
            ends = [torch.full_like(conditions[condition], end) for end in (-1, 1)]
        outputs = [network(x, **{**conditions, condition: end}) for end in ends]
    first, second = (output if isinstance(output, torch.Tensor) else output[0] for output in outputs)
    return float((first - second).abs().max() / first.std().clamp_min(1e-12))


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
