"""From plans to networks: each is built from the seed and its own name, so that no other network affects it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from transgan.api.protocols import Conditioning
from transgan.errors import PluginFault
from transgan.graph import accepts_any_keyword, argument_names
from transgan.plan.plan import NetworkPlan, Plan
from transgan.plugin_objects import make
from transgan.rng import stable_hash
from transgan.tree import described, shape_of


@contextmanager
def on_meta_device() -> Iterator[None]:
    """Create tensors on the meta device: shapes without numbers, so that networks are built in no time."""
    with torch.device("meta"), _NoRandomInit():
        yield


class _NoRandomInit(TorchFunctionMode):
    """Skips what initialises weights on the meta device, for which torch would import a compiler, which takes seconds.

    That is random numbers, and the power iterations of spectral norms.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        keywords = {**(kwargs or {})}
        tensor = args[0] if args else keywords.get("tensor")
        skipped = (nn.init.normal_, Tensor.normal_, nn.functional.normalize)
        if func in skipped and isinstance(tensor, Tensor) and tensor.is_meta:
            return tensor
        return func(*args, **keywords)


class Conditioned(nn.Module):
    """A network behind its conditionings; each takes the conditions that its `forward` names."""

    def __init__(self, network: nn.Module, conditionings: list[Conditioning]):
        super().__init__()
        self.network = network
        self.conditionings = nn.ModuleList(conditionings)
        # Found once: a compiler cannot follow the inspection of functions.
        self.names = [condition_names(each) for each in (*conditionings, network)]

    def forward(self, x: Any, **conditions: Any) -> Any:
        style: Tensor | None = None
        for conditioning, names in zip(self.conditionings, self.names, strict=False):
            found = conditioning(x, style, **select_conditions(names, conditions))
            _check_conditioning(conditioning, x, style, found)
            x, style = found
        if style is not None:
            conditions = {**conditions, "style": style}
        return self.network(x, **select_conditions(self.names[-1], conditions))

    @property
    def stride(self) -> int:
        """Every axis of the input must be a multiple of it, but for the `free_axes`."""
        return int(getattr(self.network, "stride", 1))

    @property
    def free_axes(self) -> int:
        """How many axes of the input, the first ones behind the channels, may have any length."""
        return int(getattr(self.network, "free_axes", 0))


def _check_conditioning(conditioning: nn.Module, x: Any, style: Tensor | None, found: Any) -> None:
    """Raise PluginFault where a conditioning returns something else than it says: the network behind it would fail."""
    if not isinstance(found, tuple) or len(found) != 2:
        raise PluginFault(conditioning, f"forward returned {described(found)}, expected the pair (x, style)")
    length = (0 if style is None else style.shape[1]) + int(conditioning.style)  # type: ignore[arg-type]
    expected = (len(x), length) if length else None
    if (found[1] is None) != (expected is None) or shape_of(found[1]) != expected:
        what = f"forward returned as style {described(found[1])}, expected {expected}"
        raise PluginFault(conditioning, f"{what}, since style = {conditioning.style}")
    if isinstance(x, Tensor):
        expected = (len(x), x.shape[1] + int(conditioning.channels), *x.shape[2:])  # type: ignore[arg-type]
        if shape_of(found[0]) != expected:
            what = f"forward returned x as {described(found[0])}, expected {expected}"
            raise PluginFault(conditioning, f"{what}, since channels = {conditioning.channels}")


def condition_names(module: nn.Module) -> tuple[str, ...] | None:
    """Return the arguments that a module's `forward` names; None where it takes any."""
    function = type(module).forward
    return None if accepts_any_keyword(function) else argument_names(function)


def select_conditions(names: tuple[str, ...] | None, conditions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the conditions of these names; all for None."""
    return conditions if names is None else {name: conditions[name] for name in names if name in conditions}


def mixes_batch(network: nn.Module) -> bool:
    """Return whether a network's samples affect each other: by batch norm, or because the network declares it.

    Args:
        network: as it was built, in training mode; batch norm in parts that stay in evaluation mode does not count.
    """
    return any(
        (isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training)
        or getattr(module, "mixes_batch", False)
        for module in network.modules()
    )


def hidden_layers(network: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield attributes with layers or parameters to train that torch does not find, as in a list, and what finds them.

    They would be neither trained nor saved, nor moved to a device.
    """
    known = {*map(id, network.modules()), *map(id, network.parameters())}
    usual = vars(nn.Module()).keys()
    for path, module in network.named_modules():
        for name, value in vars(module).items():
            if name in usual or not isinstance(value, (list, tuple, set, dict)):
                continue
            for each in _within(value):
                parameters = each.parameters() if isinstance(each, nn.Module) else (each,)
                if id(each) not in known and any(p.requires_grad for p in parameters):
                    kind = "Module" if isinstance(each, nn.Module) else "Parameter"
                    form = "Dict" if isinstance(value, dict) else "List"
                    yield (f"{path}.{name}" if path else name), f"nn.{kind}{form}"
                    break


def _within(value: Any) -> Iterator[nn.Module | nn.Parameter]:
    """Yield the modules and parameters in nested lists and tables."""
    if isinstance(value, (nn.Module, nn.Parameter)):
        yield value
    elif isinstance(value, (list, tuple, set, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _within(each)


def build_network(plan: NetworkPlan, seed: int) -> nn.Module:
    """Build one network with fresh weights, a pure function of the plan, the seed and the network's name."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stable_hash(seed, "network", plan.name) >> 1)
        if plan.conditionings is None:
            return plan.cls(plan.options, plan.spec)
        conditionings = [make(cls, options, plan.spec) for cls, options in plan.conditionings]
        return Conditioned(make(plan.cls, plan.options, plan.spec), conditionings)


def build_networks(plan: Plan, device: str = "cpu") -> dict[str, nn.Module]:
    """Build every network of a plan; on `meta` they have shapes and no numbers."""
    with on_meta_device() if device == "meta" else torch.device(device):
        return {name: build_network(network, plan.recipe.train.seed) for name, network in plan.networks.items()}
