"""Which of the models that were measured is kept: by a figure on held-out samples, and never by a loss."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from transgan.plan import Plan


class Best:
    """The weights that translated best so far, by the mean of `evaluate.keep_best` over all translations."""

    def __init__(self, plan: Plan):
        self.figure = plan.recipe.evaluate.keep_best
        self.metrics = [name for name, metric in plan.metrics.items() if self.figure in metric.better]
        higher = any(plan.metrics[name].better[self.figure] == "higher" for name in self.metrics)
        self.sign = -1.0 if higher else 1.0
        self.names = [name for name, network in plan.networks.items() if network.side == "generator"]
        self.value = math.inf
        self.step = -1
        self.tensors: dict[str, Tensor] = {}

    def see(self, step: int, figures: Mapping[str, Mapping[str, float]], networks: Mapping[str, nn.Module]) -> None:
        """Keeps a copy of the networks if their figure is the best so far."""
        found = [each[self.figure] for each in figures.values() if self.figure in each]
        value = self.sign * sum(found) / len(found) if found else math.inf
        if value < self.value:
            self.value, self.step = value, step
            self.tensors = {
                f"{name}|{key}": tensor.detach().clone()
                for name in self.names
                for key, tensor in networks[name].state_dict().items()
            }

    def restore(self, networks: Mapping[str, nn.Module]) -> None:
        """Puts the best weights into networks."""
        with torch.no_grad():
            for name in self.names:
                for key, tensor in networks[name].state_dict().items():
                    tensor.copy_(self.tensors[f"{name}|{key}"])

    def state(self) -> dict[str, Any]:
        """What a checkpoint says of it, besides the tensors."""
        return {"value": self.value if self.tensors else None, "step": self.step}

    def load(self, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """From a checkpoint."""
        if tensors:
            self.value, self.step, self.tensors = float(state["value"]), int(state["step"]), dict(tensors)
