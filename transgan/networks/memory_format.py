"""The memory format of networks: with channels last, convolutions over two axes are faster than with rows last."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from transgan.plan import Conditioned
from transgan.tree import map_tensors

#: Norms that PyTorch computes ten times as slowly with channels last, on a CPU.
_SLOW = (nn.GroupNorm, nn.InstanceNorm2d)
#: Weights of convolutions from which channels last pay on a CPU: below, norms lose more than convolutions gain.
_FROM = 1_000_000


def pays(network: nn.Module, device: torch.device, dtype: torch.dtype | None) -> bool:
    """Return whether a network should compute with channels last: it takes them, and is faster so.

    On a GPU in 16 bits alone; on a CPU where oneDNN computes large convolutions, whatever the precision.

    Args:
        dtype: what the network computes in; None for the dtype of its weights.
    """
    parts = (network.network, *network.conditionings) if isinstance(network, Conditioned) else (network,)
    if not all(getattr(part, "channels_last", False) for part in parts):
        return False
    weights = [parameter for parameter in network.parameters() if not is_lazy(parameter)]
    if any(weight.ndim == 5 for weight in weights):
        return False  # PyTorch has another format for those
    if device.type == "cuda":
        return dtype is not None
    one_dnn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if device.type != "cpu" or not one_dnn:
        return False
    slow = {norm.forward for norm in _SLOW}
    if any(isinstance(each, _SLOW) and type(each).forward in slow for each in network.modules()):
        return False
    return sum(weight.numel() for weight in weights if weight.ndim == 4) >= _FROM


def channels_last(value: Any) -> Any:
    """Return a nested value with the channels of its tensors (N, C, H, W) last in memory; shapes stay the same."""
    return map_tensors(_channels_last, value)


def rows_last(value: Any) -> Any:
    """Return a nested value with its tensors (N, C, H, W) in the order of their axes, as other code may view them."""
    return map_tensors(_rows_last, value)


def _channels_last(x: Tensor) -> Tensor:
    # Tiles of a large sample are tensors of another type, which have no memory of their own.
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 and type(x) is Tensor else x


def _rows_last(x: Tensor) -> Tensor:
    return x.contiguous() if x.ndim == 4 and type(x) is Tensor else x
