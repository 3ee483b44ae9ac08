"""Initialising networks before the first step: with the weights of another run, or from the training data."""

from collections import defaultdict
from collections.abc import Collection

import torch
from torch import Tensor

from transgan.api.protocols import Network, Translation
from transgan.api.samples import Domain
from transgan.data.domains import Domains
from transgan.data.real_samples import real_domains
from transgan.inference.places import STATISTICS, find_model
from transgan.networks import Networks
from transgan.plan import Plan
from transgan.storage import load
from transgan.training.checkpoint import upgrade_checkpoint
from transgan.training.distributed import Processes
from transgan.training.transfer import InitialWeights, match_weights


def initial_weights(plan: Plan) -> InitialWeights | None:
    """Return the weights of `train.init_from`, matched with the networks of a plan; None where it is not set.

    Networks are matched by name, then by role: see `match_networks`. Tensors are matched by name and shape, their
    entries for domains, tasks, values of attributes and conditionings by the names of these. Of a checkpoint there are
    all networks, of a model those that translate; where there is an average of a network's weights, that is used.

    Raises:
        DataError: there is no model, or it is damaged.
        DiskError: the checkpoint is damaged.
        UsageError: no network matches, or one has the name of one there and other shapes.
    """
    path = plan.recipe.train.init_from
    if path is None:
        return None
    place = find_model(path)
    if place.is_checkpoint:
        checkpoint = upgrade_checkpoint(load(place.folder))
        tensors = {**checkpoint.groups["networks"], **checkpoint.groups.get("ema", {})}
        config = checkpoint.state.get("config")
    else:
        tensors, config = place.read()
    weights: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        name, _, own = key.partition("|")
        if f"{name}|" != STATISTICS:
            weights[name][own] = tensor
    return match_weights(plan, path, weights, config)


def init_from_data(networks: Networks, domains: Domains, processes: Processes, skip: Collection[str] = ()) -> set[str]:
    """Call `init_from_data` of every network that defines it, on the main process; send the result to the others.

    Args:
        skip: networks that have their weights already.

    Returns:
        The tensors that it has changed, by `network|name`.
    """
    plan = networks.plan
    changed: set[str] = set()
    data: dict[str, Domain] = {}
    for name, network in networks.items():
        for path, module in network.named_modules() if name not in skip else ():
            if isinstance(module, Network) and type(module).init_from_data is not Network.init_from_data:
                data = data or real_domains(domains, plan.stages[-1].size, processes.device)
                differing: list[str] = []
                if processes.main:
                    before = {key: value.clone() for key, value in module.state_dict().items()}
                    with torch.random.fork_rng(devices=[]):
                        module.init_from_data(data, translations_with(plan, name))
                    differing = [key for key, x in module.state_dict().items() if not torch.equal(before[key], x)]
                begin = f"{name}|{path}." if path else f"{name}|"
                changed |= {f"{begin}{key}" for key in processes.broadcast(differing)}
                if processes.world > 1:
                    mine = {key: value.cpu() for key, value in module.state_dict().items()} if processes.main else None
                    module.load_state_dict(processes.broadcast(mine))
    return changed


def translations_with(plan: Plan, network: str) -> list[Translation]:
    """Return the translations between named domains in which a network is generator, encoder or discriminator."""
    found = {
        translation
        for translation, roles in plan.roles.items()
        if network in {name for role, name in roles.items() if role != "back"}
        or network in {use.network for use in plan.discriminators[translation]}
    }
    return [each.translation for each in plan.directions if each.planned in found]
