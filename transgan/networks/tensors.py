"""The parameters and buffers of several networks, as one dictionary."""

from collections.abc import Mapping
from typing import Any

from torch import nn


def network_tensors(networks: Mapping[str, nn.Module]) -> dict[str, Any]:
    """Return the parameters and buffers of networks by `network|name`."""
    return {f"{name}|{key}": value for name, network in networks.items() for key, value in network.state_dict().items()}


def load_network_tensors(networks: Mapping[str, nn.Module], tensors: Mapping[str, Any]) -> None:
    """Load what `network_tensors` has returned; ValueError where it does not fit."""
    for name, network in networks.items():
        begin = f"{name}|"
        own = {key.removeprefix(begin): value for key, value in tensors.items() if key.startswith(begin)}
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            why = str(error).splitlines()[-1].strip()
            raise ValueError(f"does not fit network '{name}' of this recipe: {why}") from None
