"""Initialising networks before the first step: with the weights of another run, or from the training data."""

from collections import defaultdict
from collections.abc import Collection

import torch
from torch import Tensor

from transgan.api.protocols import Network, Translation
from transgan.api.samples import Domain
from transgan.data.domains import Domains
from transgan.errors import UsageError
from transgan.inference.model_folder import find_model
from transgan.networks import Networks
from transgan.plan import Plan, build_networks
from transgan.storage import load
from transgan.text import listed
from transgan.training.checkpoint import upgrade_checkpoint
from transgan.training.distributed import Processes


def initial_weights(plan: Plan) -> dict[str, dict[str, Tensor]]:
    """Return the weights of `train.init_from`, by network, of all networks that the recipe has too; else nothing.

    Of a checkpoint these are generators and discriminators, of a model the networks that translate. Where there is an
    average of a network's weights, that is used.

    Raises:
        DataError: there is no model, or it is damaged.
        DiskError: the checkpoint is damaged.
        UsageError: no network has the name of one there, or the weights of one do not fit.
    """
    path = plan.recipe.train.init_from
    if path is None:
        return {}
    place = find_model(path)
    if place.is_checkpoint:
        groups = upgrade_checkpoint(load(place.folder)).groups
        tensors = {**groups["networks"], **groups.get("ema", {})}
    else:
        tensors, _ = place.read()
    weights: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        name, _, own = key.partition("|")
        weights[name][own] = tensor
    networks = build_networks(plan, "meta")
    if not networks.keys() & weights.keys():
        raise UsageError(
            f"train.init_from = {path!r}: it has networks {listed(sorted(weights))}; "
            f"expected one of this recipe's, {listed(sorted(networks))}"
        )
    found = {name: weights[name] for name in networks if name in weights}
    for name, tensors in found.items():
        here = {key: tuple(value.shape) for key, value in networks[name].state_dict().items()}
        there = {key: tuple(value.shape) for key, value in tensors.items()}
        for key in sorted(here.keys() | there.keys()):
            if here.get(key) != there.get(key):
                what = [f"of shape {shapes[key]}" if key in shapes else "missing" for shapes in (there, here)]
                raise UsageError(
                    f"train.init_from = {path!r}: the weights of '{name}' do not fit: "
                    f"'{key}' is {what[0]} there, and {what[1]} in this recipe"
                )
    return found


def init_from_data(networks: Networks, domains: Domains, processes: Processes, skip: Collection[str] = ()) -> bool:
    """Call `init_from_data` of every network that defines it, on the main process; send the result to the others.

    Args:
        skip: networks that have their weights already.

    Returns:
        Whether any network has changed.
    """
    plan = networks.plan
    changed = False
    data: dict[str, Domain] = {}
    for name, network in networks.items():
        for module in network.modules() if name not in skip else ():
            if isinstance(module, Network) and type(module).init_from_data is not Network.init_from_data:
                data = data or domains.for_metrics(plan.stages[-1].size, processes.device)
                differs = False
                if processes.main:
                    before = {key: value.clone() for key, value in module.state_dict().items()}
                    with torch.random.fork_rng(devices=[]):
                        module.init_from_data(data, translations_with(plan, name))
                    differs = any(not torch.equal(before[key], value) for key, value in module.state_dict().items())
                changed |= processes.broadcast(differs)
                if processes.world > 1:
                    mine = {key: value.cpu() for key, value in module.state_dict().items()} if processes.main else None
                    module.load_state_dict(processes.broadcast(mine))
    return changed


def translations_with(plan: Plan, network: str) -> list[Translation]:
    """Return the translations that a network takes part in, as generator, encoder or discriminator."""
    return [
        translation
        for translation, roles in plan.roles.items()
        if network in {name for role, name in roles.items() if role != "back"}
        or network in {use.network for use in plan.discriminators[translation]}
    ]
