"""What a checkpoint holds: one registry of objects with `state_dict` and `load_state_dict`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import torch
from torch import Tensor

from transgan.errors import DiskError, DivergedError, TransganError
from transgan.networks import Networks
from transgan.plan import Plan
from transgan.storage import Checkpoint
from transgan.training.distributed import Processes

#: Version of the names in a checkpoint. Version 1 is upgraded when it is loaded.
FORMAT = 2


class Stateful(Protocol):
    """What has state that a run needs to go on: a flat mapping to tensors and JSON values."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state. Every process must call it: some of it is gathered."""

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take over a state. ValueError or KeyError: it does not fit."""


class TrainingState:
    """The registry of everything in a checkpoint but the step: an object for each name.

    An object's tensors go to `<name>.safetensors`, its other values to `state.json` under its name. What is not
    registered here is lost at a resume; tests/training/test_checkpoint.py finds what was forgotten.
    """

    def __init__(self, objects: Mapping[str, Stateful], device: torch.device):
        self.objects = objects
        self.device = device

    def state_dict(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Return the tensors by object and name, and a JSON object."""
        groups: dict[str, dict[str, Tensor]] = {}
        values: dict[str, Any] = {"format": FORMAT}
        for name, each in self.objects.items():
            state = each.state_dict()
            if tensors := {key: value for key, value in state.items() if isinstance(value, Tensor)}:
                groups[name] = tensors
            if others := {key: value for key, value in state.items() if not isinstance(value, Tensor)}:
                values[name] = others
        return groups, values

    def load_state_dict(self, checkpoint: Checkpoint) -> None:
        """Take over a checkpoint.

        Raises:
            DiskError: it belongs to another recipe, or holds what no run has written.
        """
        checkpoint = upgrade_checkpoint(checkpoint)
        for name, each in self.objects.items():
            tensors = {key: value.to(self.device) for key, value in checkpoint.groups.get(name, {}).items()}
            if name not in checkpoint.groups and name not in checkpoint.state:
                continue  # written before there was such an object
            try:
                state = {**tensors, **checkpoint.state.get(name, {})}
                _check_same_kinds(each.state_dict(), state)
                each.load_state_dict(state)
            except Exception as error:  # of a file that is no checkpoint of ours: anything
                why = (
                    str(error) if isinstance(error, (ValueError, TransganError)) else f"{type(error).__name__}: {error}"
                )
                raise DiskError(f"{checkpoint.path}: {name}: {why}") from error


def _check_same_kinds(ours: Any, theirs: Any, place: str = "") -> None:
    """Check that values are of the kinds that they replace: of a stranger's checkpoint they may be anything.

    Raises:
        ValueError: one is not.
    """
    if ours is None or theirs is None:
        return
    kinds: dict[type, Any] = {int: (int, float), float: (int, float)}
    if not isinstance(theirs, kinds.get(type(ours), type(ours))) or isinstance(theirs, bool) != isinstance(ours, bool):
        raise ValueError(f"{place}: found {type(theirs).__name__}, expected {type(ours).__name__}")
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in ours.keys() & theirs.keys():
            _check_same_kinds(ours[key], theirs[key], f"{place}.{key}".lstrip("."))


def without_objective(checkpoint: Checkpoint, plan: Plan) -> Checkpoint:
    """Return a checkpoint without what belongs to its objective: discriminators' moments, image pools, loss buffers."""
    checkpoint = upgrade_checkpoint(checkpoint)
    moments = {
        key: tensor
        for key, tensor in checkpoint.groups.get("optimizers", {}).items()
        if plan.networks[key.split("|")[0]].side != "discriminator"
    }
    groups = {**checkpoint.groups, "optimizers": moments, "history": {}, "loss_buffers": {}}
    return replace(checkpoint, groups=groups, state={**checkpoint.state, "history": {}, "loss_buffers": {}})


def upgrade_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint of format 1, which earlier versions have written, in the present format; others as they are.

    Raises:
        DiskError: its format is newer.
    """
    version = checkpoint.state.get("format", 1)
    if version not in (1, FORMAT) or type(version) is not int:
        raise DiskError(f"{checkpoint.path}: format {version!r:.40} is newer than {FORMAT}; update transgan")
    try:
        upgraded = checkpoint if version == FORMAT else _from_format_1(checkpoint)
        if not isinstance(upgraded.state["guardian"]["fallback_step"], int):
            raise TypeError
    except (KeyError, TypeError, AttributeError):
        raise DiskError(f"{checkpoint.path}: state.json does not describe the state of a run") from None
    return upgraded


def _from_format_1(checkpoint: Checkpoint) -> Checkpoint:
    old, groups = dict(checkpoint.state), dict(checkpoint.groups)
    for name, new_name in (("memory", "loss_buffers"), ("media", "statistics")):
        if name in groups:
            groups[new_name] = groups.pop(name)
    for name in ("networks", "optimizers"):
        groups[name] = {_parameter_name(key): value for key, value in groups.get(name, {}).items()}
    guardian = {_GUARDIAN_1.get(name, name): value for name, value in old.pop("guard").items()}
    sampler = {_TASK_SAMPLER_1[name]: value for name, value in old.pop("balance").items()}
    state = {
        **old,
        "format": FORMAT,
        "history": {"counts": old["history"]},
        "ema": {"updates": old.pop("ema_updates")},
        "task_sampler": sampler,
        "guardian": guardian,
    }
    return replace(checkpoint, groups=groups, state=state)


def _parameter_name(key: str) -> str:
    """Return the present key of a parameter in format 1: first-party discriminators have renamed a module each."""
    return key.replace("|network.judges.", "|network.scales.", 1).replace(
        "|network.judge.", "|network.discriminator.", 1
    )


#: New names of entries in format 1.
_GUARDIAN_1 = {
    "bad": "faulty",
    "told": "reported",
    "begun": "warmup_from",
    "good": "good_step",
    "rolled": "rollbacks",
    "factor": "lr_factor",
    "fell": "fallback_step",
}
_TASK_SAMPLER_1 = {"apart": "separation", "most": "largest", "lags": "lags", "played": "steps"}


def all_finite(networks: Networks) -> bool:
    """Return whether all weights and buffers are finite; waits for the device."""
    tensors = [each for each in networks.state_dict().values() if each.is_floating_point()]
    return bool(torch.isfinite(torch.nn.utils.get_total_norm(tensors)))


def check_replicas(networks: Networks, processes: Processes, step: int) -> None:
    """Check that every process holds the same weights.

    Raises:
        DivergedError: they differ: a plugin has used random numbers or counters of its own.
    """
    if processes.world == 1:
        return
    for name, network in networks.items():
        sums = [parameter.detach().double().sum() for parameter in network.parameters()]
        if sums and not processes.all_equal(torch.stack(sums)):
            raise DivergedError(
                f"step {step}: the processes hold different weights of '{name}'; no checkpoint is written"
            )
