"""A plan's networks where they run: on a device, or on paper."""

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from transgan.api.protocols import Network, Translation
from transgan.errors import UsageError, did_you_mean
from transgan.plan import Plan, build_networks, mixes_batch

#: Calls of fewer numbers than this share a pass on a CPU: below it a pass costs more to start than to compute.
SMALL = 100_000


class Networks:
    """Calls networks by the roles that nodes name, in the precision that the recipe asks for.

    Args:
        networks: by name; built from the plan where left out.
        device: `"meta"` for shapes without numbers.
        merge: whether calls may share a pass; see `train.merge`.
    """

    def __init__(
        self,
        plan: Plan,
        device: torch.device | str = "cpu",
        networks: dict[str, nn.Module] | None = None,
        merge: str | None = None,
    ):
        self.plan = plan
        self.device = torch.device(device)
        if networks is None:
            networks = build_networks(plan, "meta" if self.device.type == "meta" else "cpu")
        self.networks = {name: network.to(self.device) for name, network in networks.items()}
        self.merge = merge or plan.recipe.train.merge
        self.bf16 = plan.recipe.train.precision == "bf16" and self.device.type != "meta"
        self.mixing = {name for name, network in self.networks.items() if mixes_batch(network)}
        self.hooked = {
            name: [
                m for m in network.modules() if isinstance(m, Network) and type(m).after_step is not Network.after_step
            ]
            for name, network in self.networks.items()
        }

    def train_only(self, names: Iterable[str]) -> None:
        """Gradients are kept for these networks alone."""
        names = set(names)
        for name, network in self.networks.items():
            for parameter in network.parameters():
                parameter.requires_grad_(name in names)

    def after_step(self, name: str) -> None:
        """Tells a network that it was moved."""
        for module in self.hooked[name]:
            module.after_step()

    def resolve(self, translation: Translation, role: str) -> str:
        """The network that plays a role on a translation; a network's own name is good too."""
        roles = self.plan.roles[translation]
        name = roles.get(role, role)
        if name not in self.networks:
            raise UsageError(f"no network plays '{role}' for {translation}. {did_you_mean(role, roles)}")
        return name

    def mixes_batch(self, name: str) -> bool:
        """Whether a network's samples see each other."""
        return name in self.mixing

    def pays(self, x: Tensor) -> bool:
        """Whether calls with this input should share a pass."""
        if self.merge != "auto":
            return self.merge == "always"
        return self.device.type != "cpu" or x.numel() < SMALL

    def __call__(
        self, name: str, x: Any, conditions: Mapping[str, Any], frozen: bool = False, precise: bool = False
    ) -> Any:
        """Runs a network: as it is or frozen, and with `precise` in fp32 whatever the recipe asks for."""
        network = self.networks[name]
        precision = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 and not precise else nullcontext()
        with precision:
            if frozen:
                weights = {n: p.detach() for n, p in network.named_parameters()}
                output = functional_call(network, weights, (x,), dict(conditions))
            else:
                output = network(x, **conditions)
        return _full(output) if self.bf16 else output


def _full(output: Any) -> Any:
    """Losses are taken in fp32, whatever the passes were in."""
    if isinstance(output, Tensor):
        return output.float() if output.dtype == torch.bfloat16 else output
    if isinstance(output, (list, tuple)):
        return type(output)(_full(item) for item in output)
    if hasattr(output, "logits") and hasattr(output, "class_logits"):
        return type(output)(_full(output.logits), _full(output.class_logits), output.features)
    return output


class MovingAverage:
    """An exponential moving average of networks' weights; buffers are copied, not averaged.

    The decay starts low and rises to its value, `min(decay, (1 + n) / (10 + n))`, so that early weights are forgotten.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float):
        self.decay = decay
        self.updates = 0
        self.sources = dict(networks)
        self.networks = {name: deepcopy(network).requires_grad_(False).eval() for name, network in networks.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Takes in the weights as they are now."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, average in self.networks.items():
            source = self.sources[name]
            theirs: list[Tensor] = list(source.parameters())
            mine: list[Tensor] = list(average.parameters())
            if mine:
                torch._foreach_lerp_(mine, theirs, 1 - decay)
            for ours, buffer in zip(average.buffers(), source.buffers(), strict=True):
                ours.copy_(buffer)
