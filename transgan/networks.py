"""A plan's networks, on a device: called by role, in the recipe's precision."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from transgan.api.protocols import Network, Translation
from transgan.errors import UsageError, did_you_mean
from transgan.graph import Key, Step
from transgan.plan import Plan, build_networks, mixes_batch

#: On a CPU, calls with fewer numbers than this share a pass: below it a pass costs more to start than to compute.
SMALL = 100_000


class Networks(Mapping[str, nn.Module]):
    """The networks by name, and what runs them.

    Args:
        device: `"meta"` for shapes without numbers.
        networks: by name; defaults to new ones, built from the plan.
        merge: `"auto"`, `"always"` or `"never"`; defaults to `train.merge`.
    """

    def __init__(
        self,
        plan: Plan,
        device: torch.device | str = "cpu",
        networks: Mapping[str, nn.Module] | None = None,
        merge: str | None = None,
    ):
        self.plan = plan
        self.device = torch.device(device)
        if networks is None:
            networks = build_networks(plan, "meta" if self.device.type == "meta" else "cpu")
        self._networks = {name: network.to(self.device) for name, network in networks.items()}
        self.merge = merge or plan.recipe.train.merge
        self.bf16 = plan.recipe.train.precision == "bf16" and self.device.type != "meta"
        self._mixing = {name for name, network in self.items() if mixes_batch(network)}
        self._with_after_step = {
            name: [
                m for m in network.modules() if isinstance(m, Network) and type(m).after_step is not Network.after_step
            ]
            for name, network in self.items()
        }

    def __getitem__(self, name: str) -> nn.Module:
        return self._networks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)

    def set_trainable(self, names: Iterable[str]) -> None:
        """Require gradients for the parameters of these networks, and of no others."""
        names = set(names)
        for name, network in self.items():
            for parameter in network.parameters():
                parameter.requires_grad_(name in names)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch all networks to evaluation mode, and back to training mode."""
        for network in self.values():
            network.eval()
        try:
            yield
        finally:
            for network in self.values():
                network.train()

    def after_step(self, name: str) -> None:
        """Call the `after_step` of a network that an optimizer has updated."""
        for module in self._with_after_step[name]:
            module.after_step()

    def resolve(self, translation: Translation, role: str) -> str:
        """Return the name of the network that has a role in a translation; a network's own name is a role too.

        Raises:
            UsageError: there is none.
        """
        roles = self.plan.roles[translation]
        name = roles.get(role, role)
        if name not in self:
            raise UsageError(f"no network has the role '{role}' for {translation}. {did_you_mean(role, roles)}")
        return name

    def mixes_batch(self, name: str) -> bool:
        """Return whether a network's samples affect each other."""
        return name in self._mixing

    def should_merge(self, x: Tensor) -> bool:
        """Return whether calls with this input should share a pass."""
        if self.merge != "auto":
            return self.merge == "always"
        return self.device.type != "cpu" or x.numel() < SMALL

    def __call__(
        self, name: str, x: Any, conditions: Mapping[str, Any], frozen: bool = False, full_precision: bool = False
    ) -> Any:
        """Run a network.

        Args:
            frozen: let gradients pass through, but not reach the parameters.
            full_precision: run in fp32 whatever the recipe says.
        """
        network = self[name]
        autocast = self.bf16 and not full_precision
        with torch.autocast(self.device.type, torch.bfloat16) if autocast else nullcontext():
            if frozen:
                weights = {n: p.detach() for n, p in network.named_parameters()}
                output = functional_call(network, weights, (x,), dict(conditions))
            else:
                output = network(x, **conditions)
        return _to_fp32(output) if self.bf16 else output

    def state_dict(self) -> dict[str, Any]:
        """Return parameters and buffers by `network|name`."""
        return network_tensors(self)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` has returned; ValueError where it does not fit."""
        load_network_tensors(self, state)

    @torch.no_grad()
    def compute(self, inputs: Mapping[Key, Any], translation: Translation, names: Iterable[str]) -> dict[str, Any]:
        """Compute nodes of one translation without gradients; return them by name."""
        names = list(names)
        step = Step(self.plan.graph, self, inputs)
        step.compute([(translation, name) for name in names])
        return {name: step.values[translation, name] for name in names}

    def can_compute(self, translation: Translation, node: str) -> bool:
        """Return whether a node exists for a translation: a one-way task has no `reconstruction`."""
        return node != "reconstruction" or "back" in self.plan.roles[translation] or translation.target == "*"


def network_tensors(networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Return the parameters and buffers of networks by `network|name`."""
    return {f"{name}|{key}": value for name, network in networks.items() for key, value in network.state_dict().items()}


def load_network_tensors(networks: Mapping[str, nn.Module], tensors: Mapping[str, Any]) -> None:
    """Load what `network_tensors` has returned; ValueError where it does not fit."""
    for name, network in networks.items():
        begin = f"{name}|"
        own = {key.removeprefix(begin): value for key, value in tensors.items() if key.startswith(begin)}
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            why = str(error).splitlines()[-1].strip()
            raise ValueError(f"does not fit network '{name}' of this recipe: {why}") from None


def _to_fp32(output: Any) -> Any:
    """Return outputs in fp32, in which losses are computed whatever the passes were in; features stay as they are."""
    if isinstance(output, Tensor):
        return output.float() if output.dtype == torch.bfloat16 else output
    if isinstance(output, (list, tuple)):
        return type(output)(_to_fp32(item) for item in output)
    if hasattr(output, "logits") and hasattr(output, "class_logits"):
        return type(output)(_to_fp32(output.logits), _to_fp32(output.class_logits), output.features)
    return output
