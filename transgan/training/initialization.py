"""Initialising networks from the training data, before the first step."""

import torch

from transgan.api.protocols import Network, Translation
from transgan.api.samples import Domain
from transgan.data.domains import Domains
from transgan.networks import Networks
from transgan.plan import Plan
from transgan.training.distributed import Processes


def init_from_data(networks: Networks, domains: Domains, processes: Processes) -> bool:
    """Call `init_from_data` of every network that defines it, on the main process; send the result to the others.

    Returns:
        Whether any network has changed.
    """
    plan = networks.plan
    changed = False
    data: dict[str, Domain] = {}
    for name, network in networks.items():
        for module in network.modules():
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
