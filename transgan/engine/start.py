"""What networks take from the training data before the first step."""

from collections.abc import Mapping

import torch
from torch import nn

from transgan.api.protocols import Network, Translation
from transgan.api.samples import Domain
from transgan.data.domains import Domains
from transgan.engine.processes import Processes
from transgan.plan import Plan


def start_networks(plan: Plan, networks: Mapping[str, nn.Module], domains: Domains, processes: Processes) -> bool:
    """Lets every network start from the data, on the main process, and hands what it found to the others.

    Returns:
        Whether that changed any of them.
    """
    started = False
    seen: dict[str, Domain] = {}
    for name, network in networks.items():
        for module in network.modules():
            if isinstance(module, Network) and type(module).start is not Network.start:
                seen = seen or domains.as_metrics_see(plan.stages[-1].size, processes.device)
                changed = False
                if processes.main:
                    before = {key: value.clone() for key, value in module.state_dict().items()}
                    with torch.random.fork_rng(devices=[]):
                        module.start(seen, served(plan, name))
                    changed = any(not torch.equal(before[key], value) for key, value in module.state_dict().items())
                started |= processes.share(changed)
                if processes.world > 1:
                    mine = {key: value.cpu() for key, value in module.state_dict().items()} if processes.main else None
                    module.load_state_dict(processes.share(mine))
    return started


def served(plan: Plan, network: str) -> list[Translation]:
    """The translations that a network makes, or judges."""
    return [
        translation
        for translation, roles in plan.roles.items()
        if network in {name for role, name in roles.items() if role != "back"}
        or network in {judge.network for judge in plan.judges[translation]}
    ]
