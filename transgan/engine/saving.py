"""What a checkpoint holds, and how a run becomes what it was."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transgan import runs
from transgan.data.domains import Domains
from transgan.engine.best import Best
from transgan.engine.guard import Guardian
from transgan.engine.loop import Engine
from transgan.engine.processes import Processes
from transgan.errors import DiskError, DivergedError
from transgan.model import learnt_of, learnt_tensors
from transgan.plan import Plan


def state_of(
    engine: Engine, domains: Domains, best: Best, guardian: Guardian
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """All that a run is, as tensors by group and name and a JSON object. All processes must ask."""
    groups = {"networks": tensors_of(engine.networks.networks), "optimizers": engine.optimizers.state()}
    if engine.average:
        groups["ema"] = tensors_of(engine.average.networks)
    if learnt := learnt_tensors(domains.learnt):
        groups["media"] = learnt
    pools, counts = engine.objective.history.state()
    groups["history"] = dict(pools)
    if remembered := engine.objective.memory.values:
        groups["memory"] = dict(remembered)
    if best.tensors:
        groups["best"] = best.tensors
    state = {
        "step": engine.step,
        "best": best.state(),
        "history": counts,
        "ema_updates": engine.average.updates if engine.average else 0,
        "balance": engine.balance.state(),
        "guard": guardian.state(),
    }
    return groups, state


def restore(checkpoint: runs.Checkpoint, engine: Engine, domains: Domains, best: Best, guardian: Guardian) -> None:
    """Makes a new engine, and what stands around it, what they were. DiskError: it is of another recipe."""
    groups, state, device = checkpoint.groups, checkpoint.state, engine.networks.device
    domains.learnt.update(learnt_of(groups.get("media", {})))
    load_tensors(engine.networks.networks, groups["networks"], checkpoint.path)
    if engine.average:
        load_tensors(engine.average.networks, groups["ema"], checkpoint.path)
        engine.average.updates = int(state["ema_updates"])
    engine.optimizers.load(groups["optimizers"])
    engine.objective.history.load(groups["history"], state["history"], device)
    engine.objective.memory.load(groups.get("memory", {}), device)
    engine.balance.load(state["balance"])
    best.load(state["best"], groups.get("best", {}))
    guardian.load(state["guard"])
    engine.optimizers.factor = guardian.factor
    engine.step = checkpoint.step


def without_objective(checkpoint: runs.Checkpoint, plan: Plan) -> runs.Checkpoint:
    """The checkpoint less what belongs to its objective: how discriminators were moved, what they were shown, and what
    losses remember."""
    moments = {
        key: tensor
        for key, tensor in checkpoint.groups["optimizers"].items()
        if plan.networks[key.split("|")[0]].side != "discriminator"
    }
    groups = {**checkpoint.groups, "optimizers": moments, "history": {}, "memory": {}}
    return replace(checkpoint, groups=groups, state={**checkpoint.state, "history": {}})


def finite(engine: Engine) -> bool:
    """Whether all weights and buffers are finite; waits for the device."""
    found = [each for each in tensors_of(engine.networks.networks).values() if each.is_floating_point()]
    return bool(torch.isfinite(torch.nn.utils.get_total_norm(found)))


def check_replicas(engine: Engine, processes: Processes) -> None:
    """Every process must hold the same weights; if not, a plugin has drawn or counted for itself."""
    if processes.world == 1:
        return
    for name, network in engine.networks.networks.items():
        sums = [parameter.detach().double().sum() for parameter in network.parameters()]
        if sums and not processes.all_equal(torch.stack(sums)):
            raise DivergedError(
                f"step {engine.step}: the processes hold different weights of '{name}'; no checkpoint is written"
            )


def tensors_of(networks: Mapping[str, torch.nn.Module]) -> dict[str, Tensor]:
    """Parameters and buffers by `network|name`."""
    return {f"{name}|{key}": value for name, network in networks.items() for key, value in network.state_dict().items()}


def load_tensors(networks: Mapping[str, torch.nn.Module], tensors: Mapping[str, Tensor], where: Path) -> None:
    """The opposite. DiskError: they do not fit."""
    for name, network in networks.items():
        begin = f"{name}|"
        own = {key.removeprefix(begin): value for key, value in tensors.items() if key.startswith(begin)}
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            raise DiskError(
                f"{where}: does not fit network '{name}' of this recipe: {str(error).splitlines()[-1].strip()}"
            ) from None
