"""A plan's networks on a device: called by role, in the recipe's precision."""

from transgan.networks.networks import Networks
from transgan.networks.precision import DTYPES, can_compute_in, fp32_precisions, set_fp32_precisions
from transgan.networks.tensors import load_network_tensors, network_tensors

__all__ = [
    "DTYPES",
    "Networks",
    "can_compute_in",
    "fp32_precisions",
    "load_network_tensors",
    "network_tensors",
    "set_fp32_precisions",
]
