"""What checks of losses, sets of nodes and metrics have in common: they name their inputs as arguments."""

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from transgan.api.names import BATCH_INPUTS
from transgan.api.protocols import NetworkSpec, Translation
from transgan.errors import closest
from transgan.graph import Graph, argument_names
from transgan.plan.plan import ROLES
from transgan.registry import Registry
from transgan.reporting.plugins import nodes_of
from transgan.testing.checker import Checker, Fault
from transgan.testing.values import (
    Batch,
    batch_of,
    tensors_of,
)


class TinyGenerator(nn.Module):
    """A generator for nodes to call: its output depends on its input, on its conditions, and on its weights."""

    def __init__(self, spec: NetworkSpec):
        super().__init__()
        self.channels = spec.channels
        self.scale = nn.Parameter(torch.randn(spec.channels) / 2 + 1)

    def forward(self, x: Tensor, **conditions: Any) -> Tensor:
        scale = self.scale.to(x) if x.device == self.scale.device else torch.empty_like(self.scale, device=x.device)
        y = x[:, : self.channels].mean(1, keepdim=True) * scale.reshape(1, -1, *[1] * (x.dim() - 2))
        for each in conditions.values():
            if isinstance(each, Tensor) and len(each) == len(x):
                y = y + each.reshape(len(x), -1).to(y).mean(1).reshape(-1, *[1] * (x.dim() - 1)) / 10
        return torch.tanh(y)


class Runner:
    """What runs the networks that nodes call: given ones, a loss's own, and tiny generators."""

    def __init__(self, networks: Mapping[str, Callable[..., Any]], spec: NetworkSpec):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            tiny = {role: TinyGenerator(spec) for role in ("generator", "back")}
        self.networks: dict[str, Callable[..., Any]] = {**tiny, **networks}

    def resolve(self, translation: Translation, role: str, owner: str = "", /) -> str:
        for name in (f"{owner}/{role}", role, role.partition(".")[0]):  # `mapping.target`: that of a domain
            if name in self.networks:
                return name
        raise Fault(f"it calls the network '{role}', which is not there; give check networks={{'{role}': ...}}")

    def mixes_batch(self, network: str, /) -> bool:
        return False

    def should_merge(self, x: Tensor, /) -> bool:
        return False

    def takes(self, network: str, condition: str, /) -> bool:
        return False

    def __call__(self, network: str, x: Any, conditions: Mapping[str, Any], frozen: bool = False, /) -> Any:
        module = self.networks[network]
        if isinstance(module, nn.Module) and isinstance(x, Tensor):
            where = next(iter(tensors_of(dict(module.named_parameters()))), None)
            if x.is_meta and (where is None or not where.is_meta):
                module = copy.deepcopy(module).to("meta")
            elif where is not None and x.is_floating_point() and where.dtype != x.dtype:
                module = copy.deepcopy(module).to(x.dtype)
        return module(x, **conditions)


class NamingChecker(Checker):
    """What holds for everything that names its inputs as arguments."""

    further: tuple[str, ...] = ()
    """Names of arguments that only this kind can ask for."""

    @property
    def functions(self) -> list[Callable[..., Any]]:
        raise NotImplementedError

    @cached_property
    def plugin(self) -> Any:
        torch.manual_seed(0)
        return self.build()

    def graph_of(self, plugin: Any) -> Graph:
        return Graph({"own": plugin})

    def names(self, plugin: Any) -> list[str]:
        """Return what all functions ask for and their nodes need, but the nodes themselves."""
        graph = self.graph_of(plugin)
        wanted = [graph.resolve(name, "own") for name in self.arguments(plugin)]
        return [name for name in graph.closure(wanted) if name not in graph.functions]

    def arguments(self, plugin: Any) -> list[str]:
        raise NotImplementedError

    def batch(self, plugin: Any = None, seed: int = 1) -> Batch:
        plugin = self.plugin if plugin is None else plugin
        torch.manual_seed(seed)
        annotations: dict[str, Any] = {}
        for function in [*self.graph_of(plugin).functions.values(), *self._methods(plugin)]:
            annotations |= {name: each.annotation for name, each in inspect.signature(function).parameters.items()}
        return batch_of(self.names(plugin), self.given, annotations)

    def _methods(self, plugin: Any) -> list[Callable[..., Any]]:
        return []

    def check_arguments(self) -> Iterator[str]:
        """Every argument is a batch input, a node of the plugin, or a node of an installed set."""
        sets = [each.cls for each in Registry.installed().candidates("nodes")]
        sets += [self.given.nodes] if self.given.nodes else []
        nodes = {node.name for each in sets for node in nodes_of(each)}
        known = {*BATCH_INPUTS, *self.further, *nodes, *self.given.inputs}
        for name in self.names(self.plugin):
            inputs = any(name.startswith(f"{role}_") for role in ROLES)
            if name not in known and not (inputs and not closest(name, known)):
                close = closest(name, known)
                hint = f"did you mean '{close}'?" if close else "`transgan plugins --names` lists what there is."
                yield (
                    f"it asks for '{name}', which is neither a batch input nor a node of an installed set; {hint} "
                    "For a node of a set of your own give that set: check(..., nodes=MyNodes)"
                )
        for each in getattr(self.plugin, "unused_inputs", ()):
            if each not in {name for function in self.functions for name in argument_names(function)}:
                yield f"unused_inputs has '{each}', which is no argument of it"
