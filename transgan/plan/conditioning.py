"""Whether conditions can affect the output at all: measured on the networks themselves, with numbers.

A constant channel before reflection padding and instance norm cannot: the norm removes every constant. Weights are
perturbed first, since a layer initialised to zero hides every condition until it is trained.
"""

import torch
from torch import nn

from transgan.graph import argument_names
from transgan.plan.build import Conditioned, build_network
from transgan.plan.kept import kept_values
from transgan.plan.plan import NetworkPlan, Plan

#: An output that changes by less than this, relative to its own standard deviation, does not change.
NOTHING = 1e-6


def check_conditioning(plan: Plan) -> list[str]:
    """Return a warning for each condition that cannot affect the output of a generator conditioned on it."""
    warnings = []
    seen: set[str] = set()
    for network in plan.networks.values():
        slot = network.name.partition(".")[0]
        if network.kind != "generators" or not network.conditionings or slot in seen:
            continue
        seen.add(slot)
        probe = Probe(network)
        of_nodes = [of for _, options in network.conditionings if (of := getattr(options, "of", None))]
        for condition in dict.fromkeys(("task", "domain", *plan.recipe.attributes, *of_nodes)):
            by = _conditioning_of(network, condition)
            if by and probe.effect(condition) < NOTHING:
                warnings.append(
                    f"[{network.kind}.{slot}] the condition '{condition}' cannot change the output: a norm removes "
                    f'what [conditionings.{by}] adds. Use an embedding, set norm_first = false, or padding = "zero"'
                )
    of = {getattr(options, "of", None) for each in plan.networks.values() for _, options in each.conditionings or ()}
    kept = kept_values(plan.recipe)
    for name in plan.recipe.attributes:
        if name not in of and name not in kept:
            warnings.append(
                f'[attributes] {name}: no network is conditioned on it; set of = "{name}" in [conditionings]'
            )
    return warnings


def _conditioning_of(network: NetworkPlan, condition: str) -> str | None:
    """Return which of a network's conditionings takes a condition."""
    for name, (cls, options) in zip(network.conditioning_names, network.conditionings or (), strict=True):
        of = getattr(options, "of", None)
        if of == condition or (of is None and condition in argument_names(cls.forward)):
            return name
    return None


class Probe:
    """A generator with perturbed weights, and an input, to compare outputs under other conditions."""

    def __init__(self, plan: NetworkPlan):
        self.plan = plan
        generator = torch.Generator().manual_seed(0)
        network = build_network(plan, 0).double().eval()
        assert isinstance(network, Conditioned)
        self.network = network
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
        axes = [min(side, max(32, network.stride * 2)) for side in plan.spec.space]
        channels = plan.spec.source_channels or plan.spec.channels
        self.x = torch.randn(1, channels, *axes, generator=generator, dtype=torch.float64).tanh()

    @torch.no_grad()
    def effect(self, condition: str) -> float:
        """Return how much the output differs when only a condition does, relative to its standard deviation.

        The condition goes from the first task or domain to the last, or from the least to the largest value of an
        attribute, and with values for every position between two patterns; it is infinite where there is only one.
        """
        spec = self.plan.spec
        counts = {"task": len(spec.tasks), "domain": len(spec.domains), "origin": len(spec.domains)}
        if counts.get(condition) == 1:
            return float("inf")
        conditions = {name: torch.zeros(1, dtype=torch.long) for name in counts}
        conditions |= {name: torch.zeros(1, k, dtype=torch.float64) for name, k in spec.attributes.items()}
        for cls, options in self.plan.conditionings or ():
            if (of := getattr(options, "of", condition)) not in conditions:  # a node's own condition, held constant
                axes = self.x.shape[2:] if cls.spatial else ()
                conditions[of] = torch.zeros(1, getattr(options, "numbers", 1), *axes, dtype=torch.float64)
        if condition in counts:
            ends = [torch.tensor([0]), torch.tensor([counts[condition] - 1])]
        elif conditions[condition].dim() > 2:
            ends = [self.x[:, :1].expand_as(conditions[condition]) * end for end in (-1, 1)]
        else:
            ends = [torch.full_like(conditions[condition], end) for end in (-1, 1)]
        first, second = (self.network(self.x, **{**conditions, condition: end}) for end in ends)
        return float((first - second).abs().max() / first.std().clamp_min(1e-12))


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())
