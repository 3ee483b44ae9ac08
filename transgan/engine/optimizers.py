"""One optimizer a network; learning rates are functions of the clock, gradients are averaged and clipped here."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from transgan.api.schedule import Clock
from transgan.engine.networks import Networks
from transgan.engine.processes import Processes
from transgan.engine.trial import Trial
from transgan.plan import Plan
from transgan.recipe.schema import Optimizer


class Optimizers:
    """Moves networks."""

    def __init__(self, plan: Plan, networks: Networks, processes: Processes | None = None):
        self.plan = plan
        self.networks = networks
        self.processes = processes
        self.factor = 1.0
        """What learning rates are multiplied by."""
        self.norms: dict[str, Tensor] = {}
        """Of each network's newest gradient in this step, before it was clipped."""
        self.by_name: dict[str, torch.optim.Optimizer] = {}
        for name, network in networks.networks.items():
            if parameters := list(network.parameters()):
                options = self._options(name, Clock())
                cls = torch.optim.AdamW if options.use == "adamw" else torch.optim.Adam
                self.by_name[name] = cls(
                    parameters,
                    lr=options.lr.at_clock(Clock()),
                    betas=(options.betas[0], options.betas[1]),
                    weight_decay=options.weight_decay,
                    fused=True,
                )

    def _options(self, name: str, clock: Clock) -> Optimizer:
        options: Optimizer = getattr(self.plan.stage_at(clock.step).optimizers, self.plan.networks[name].side)
        return options

    def learning_rate(self, name: str, clock: Clock) -> float:
        """A network's learning rate at a moment."""
        return self._options(name, clock).lr.at_clock(clock) * self.factor

    def zero(self, names: Iterable[str]) -> None:
        """Forgets gradients."""
        for name in names:
            if name in self.by_name:
                self.by_name[name].zero_grad(set_to_none=True)

    def move(self, names: Iterable[str], clock: Clock, total: Tensor, trial: Trial) -> None:
        """One step of each of these networks, on the mean of all processes' gradients; none if the trial has failed.

        Args:
            total: the loss that the gradients are of.
        """
        names = [name for name in names if name in self.by_name]
        if self.processes and names:
            parameters = [p for name in names for p in self.networks.networks[name].parameters()]
            total = self.processes.average_gradients(parameters, total)
        gradients = {
            name: [p.grad for p in self.networks.networks[name].parameters() if p.grad is not None] for name in names
        }
        names = [name for name in names if gradients[name]]  # those that had a part in this step
        self.norms |= {name: torch.nn.utils.get_total_norm(gradients[name]) for name in names}
        spoilt = trial.see([total, *(self.norms[name] for name in names)])
        for name in names:
            optimizer = self.by_name[name]
            optimizer.found_inf, optimizer.grad_scale = spoilt, None  # type: ignore[attr-defined]  # as by a scaler
            if clip := self.plan.recipe.train.clip.at_clock(clock):
                torch.nn.utils.clip_grads_with_norm_(self.networks.networks[name].parameters(), clip, self.norms[name])
            options = self._options(name, clock)
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate(name, clock)
                group["betas"] = (options.betas[0], options.betas[1])
                group["weight_decay"] = options.weight_decay
            optimizer.step()
            self.networks.after_step(name)

    def state(self) -> dict[str, Tensor]:
        """Every slot of every parameter, by `network|parameter|slot`."""
        found = {}
        for name, optimizer in self.by_name.items():
            for key, parameter in self.networks.networks[name].named_parameters():
                for slot, value in optimizer.state.get(parameter, {}).items():
                    found[f"{name}|{key}|{slot}"] = value
        return found

    def load(self, state: Mapping[str, Tensor]) -> None:
        """From a checkpoint."""
        for name, optimizer in self.by_name.items():
            for key, parameter in self.networks.networks[name].named_parameters():
                begin = f"{name}|{key}|"
                slots: dict[str, Any] = {n[len(begin) :]: v for n, v in state.items() if n.startswith(begin)}
                if slots:
                    optimizer.state[parameter] = {
                        slot: value.clone()
                        if slot == "step" and not value.is_cuda and parameter.device.type == "cpu"
                        else value.to(parameter.device).clone()
                        for slot, value in slots.items()
                    }
