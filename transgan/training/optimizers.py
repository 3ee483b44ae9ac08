"""One optimizer for each network; gradients are averaged and clipped here, learning rates follow the clock."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from transgan.networks import Networks
from transgan.plan import Plan
from transgan.recipe.schema import Optimizer
from transgan.schedule import Clock
from transgan.training.distributed import Processes
from transgan.training.non_finite import NonFiniteGuard


class Scaler(torch.amp.GradScaler):
    """A gradient scaler whose state has none but numbers."""

    def state_dict(self) -> dict[str, Any]:
        """Return the scale, and how many updates were finite since it changed."""
        return {"scale": self.get_scale(), "tracker": self._get_growth_tracker()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` has returned."""
        whole = {**super().state_dict(), "scale": float(state["scale"]), "_growth_tracker": int(state["tracker"])}
        super().load_state_dict(whole)


class Optimizers:
    """Updates networks."""

    def __init__(self, plan: Plan, networks: Networks, processes: Processes | None = None):
        self.plan = plan
        self.networks = networks
        self.processes = processes
        self.lr_factor = 1.0
        """What learning rates are multiplied by; the guardian lowers it."""
        self.norms: dict[str, Tensor] = {}
        """The norm of each network's newest gradient in this step, before clipping."""
        self.scaler = Scaler("cpu" if networks.device.type == "meta" else networks.device.type, enabled=networks.scales)
        """Scales the losses of all phases, where networks compute in fp16, so that small gradients do not vanish."""
        self.by_name: dict[str, torch.optim.Optimizer] = {}
        for name in networks:
            if parameters := networks.trainable(name):
                options = self._of(name, Clock())[1]
                cls = torch.optim.AdamW if options.use == "adamw" else torch.optim.Adam
                self.by_name[name] = cls(
                    parameters,
                    lr=options.lr.at_clock(Clock()),
                    betas=_betas(options, Clock()),
                    weight_decay=options.weight_decay,
                    fused=True,
                )

    def _of(self, network: str, clock: Clock) -> tuple[str, Optimizer]:
        """Return the name and the settings of a network's optimizer at a moment."""
        return self.plan.stage_at(clock.step).optimizers.of(network, self.plan.networks[network].side)

    def learning_rates(self, clock: Clock) -> dict[str, float]:
        """Return the learning rate at a moment of each side, and of each optimizer that the recipe names."""
        optimizers = self.plan.stage_at(clock.step).optimizers
        found = {"generator": optimizers.generator, "discriminator": optimizers.discriminator}
        found |= dict(self._of(network, clock) for network in self.networks)
        return {name: options.lr.at_clock(clock) * self.lr_factor for name, options in found.items()}

    def zero_grad(self, names: Iterable[str]) -> None:
        """Drop the gradients of networks."""
        for name in names:
            if name in self.by_name:
                self.by_name[name].zero_grad(set_to_none=True)

    def step(self, names: Iterable[str], clock: Clock, total: Tensor, guard: NonFiniteGuard) -> None:
        """Update networks once, by the mean of all processes' gradients; not if the step is not finite.

        Args:
            total: the loss that the gradients are of.
        """
        names = [name for name in names if name in self.by_name]
        if self.processes and names:
            parameters = [p for name in names for p in self.networks.trainable(name)]
            total = self.processes.average_gradients(parameters, total)
        gradients = {name: [p.grad for p in self.networks.trainable(name) if p.grad is not None] for name in names}
        names = [name for name in names if gradients[name]]  # those that took part in this step
        if self.scaler.is_enabled():
            for name in names:
                self.scaler.unscale_(self.by_name[name])  # in place
        self.norms |= {name: torch.nn.utils.get_total_norm(gradients[name]) for name in names}
        not_finite = guard.check(total, (self.norms[name] for name in names))
        for name in names:
            optimizer = self.by_name[name]
            # Fused optimizers skip a step by these, as under a gradient scaler, without waiting for the device.
            optimizer.found_inf, optimizer.grad_scale = not_finite, None  # type: ignore[attr-defined]
            if clip := self.plan.recipe.train.clip.at_clock(clock):
                torch.nn.utils.clip_grads_with_norm_(self.networks.trainable(name), clip, self.norms[name])
            options = self._of(name, clock)[1]
            for group in optimizer.param_groups:
                group["lr"] = options.lr.at_clock(clock) * self.lr_factor
                group["betas"] = _betas(options, clock)
                group["weight_decay"] = options.weight_decay
            optimizer.step()
            self.networks.after_step(name)
        if self.scaler.is_enabled() and names:
            self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """Return each parameter's moments and step count, by `network|parameter|slot`."""
        return {
            f"{name}|{key}|{slot}": value
            for name, optimizer in self.by_name.items()
            for key, parameter in self.networks[name].named_parameters()
            for slot, value in optimizer.state.get(parameter, {}).items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` has returned."""
        for name, optimizer in self.by_name.items():
            for key, parameter in self.networks[name].named_parameters():
                begin = f"{name}|{key}|"
                slots: dict[str, Any] = {n[len(begin) :]: v for n, v in state.items() if n.startswith(begin)}
                if slots:
                    optimizer.state[parameter] = {slot: _like(parameter, value) for slot, value in slots.items()}


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """Return a copy of a tensor of an optimizer, in the memory format of its parameter, as fused optimizers want it."""
    if value.shape != parameter.shape:
        return value.to(parameter.device).clone()
    return torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _betas(options: Optimizer, clock: Clock) -> tuple[float, float]:
    """Return the decay of Adam's two averages at a moment."""
    return options.betas[0].at_clock(clock), options.betas[1].at_clock(clock)
