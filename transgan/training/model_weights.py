"""The weights that become the model: a moving average of them, and the best so far by a metric."""

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from transgan.networks import load_network_tensors, network_tensors
from transgan.plan import Plan
from transgan.schedule import Clock


class MovingAverage(Mapping[str, nn.Module]):
    """An exponential moving average (EMA) of networks' weights, as networks by name; buffers are copied, not averaged.

    The decay starts low and rises to its value, `min(decay, (1 + n) / (10 + n))`, so that early weights are forgotten.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float):
        self.decay = decay
        self.updates = 0
        self.sources = dict(networks)
        self._networks = {name: deepcopy(network).requires_grad_(False).eval() for name, network in networks.items()}

    def __getitem__(self, name: str) -> nn.Module:
        return self._networks[name]

    def __iter__(self) -> Any:
        return iter(self._networks)

    def __len__(self) -> int:
        return len(self._networks)

    @torch.no_grad()
    def update(self) -> None:
        """Average in the current weights."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, average in self.items():
            source = self.sources[name]
            current: list[Tensor] = list(source.parameters())
            averaged: list[Tensor] = list(average.parameters())
            if averaged:
                torch._foreach_lerp_(averaged, current, 1 - decay)
            for mine, buffer in zip(average.buffers(), source.buffers(), strict=True):
                mine.copy_(buffer)

    def copy_sources(self) -> None:
        """Set the average to the current weights."""
        load_network_tensors(self, network_tensors(self.sources))

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged tensors by `network|name`, and `updates`."""
        return {**network_tensors(self), "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` has returned."""
        load_network_tensors(self, state)
        self.updates = int(state["updates"])


class BestWeights:
    """The weights that translated best so far, by the mean of `evaluate.keep_best` over all translations."""

    def __init__(self, plan: Plan):
        self.figure = plan.recipe.evaluate.keep_best
        self.metrics = [name for name, metric in plan.metrics.items() if self.figure in metric.direction]
        higher = any(plan.metrics[name].direction[self.figure] == "higher" for name in self.metrics)
        self.sign = -1.0 if higher else 1.0
        self.names = plan.generator_side
        self.plan = plan
        self.value = math.inf
        self.step = -1
        self.tensors: dict[str, Tensor] = {}

    def update(self, step: int, figures: Mapping[str, Mapping[str, float]], networks: Mapping[str, nn.Module]) -> None:
        """Copy the networks' weights if their figure is the best so far.

        Not those of a stage under other conditions than the last one: networks would not be the same with them.
        """
        if self.plan.stage_conditions(Clock(step=step), training=False) != self.plan.stages[-1].conditions:
            return
        found = [each[self.figure] for each in figures.values() if self.figure in each]
        value = self.sign * sum(found) / len(found) if found else math.inf
        if value < self.value:
            self.value, self.step = value, step
            tensors = network_tensors({name: networks[name] for name in self.names})
            self.tensors = {key: tensor.detach().clone() for key, tensor in tensors.items()}

    def copy_to(self, networks: Mapping[str, nn.Module]) -> None:
        """Copy the best weights into networks."""
        load_network_tensors({name: networks[name] for name in self.names}, self.tensors)

    def state_dict(self) -> dict[str, Any]:
        """Return the tensors by `network|name`, `value` and `step`."""
        return {**self.tensors, "value": self.value if self.tensors else None, "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` has returned."""
        tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        if tensors:
            self.value, self.step, self.tensors = float(state["value"]), int(state["step"]), tensors
