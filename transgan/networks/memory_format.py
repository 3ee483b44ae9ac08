"""The memory format of networks: with channels last, convolutions over two axes are faster than with rows last."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from transgan.tree import map_tensors

#: Norms that PyTorch computes ten times as slowly with channels last, on a CPU.
_SLOW = (nn.GroupNorm, nn.InstanceNorm2d)
#: Weights of convolutions from which channels last pay on a CPU: below, norms lose more than convolutions gain.
_FROM = 1_000_000


def pays(network: nn.Module, device: torch.device, dtype: torch.dtype | None) -> bool:
    """Return whether a network should be tried with channels last.

    On a GPU in 16 bits alone; on a CPU where oneDNN computes large convolutions, whatever the precision.

    Args:
        dtype: what the network computes in; None for the dtype of its weights.
    """
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


def is_refusal(error: RuntimeError) -> bool:
    """Return whether a network has viewed a tensor as only one with rows last can be viewed."""
    return "view size is not compatible" in str(error)


class FirstPass:
    """A network's first pass with channels last: where it is refused, what the pass has changed is put back."""

    def __init__(self, network: nn.Module):
        self.network = network
        # On a GPU dropout draws from its generator.
        self.devices = sorted({p.device.index for p in network.parameters() if p.device.type == "cuda"})
        self.buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        self.rng = torch.get_rng_state()
        self.rng_of_devices = [torch.cuda.get_rng_state(index) for index in self.devices]

    @torch.no_grad()
    def undo(self) -> None:
        """Put back buffers, random numbers, and weights with rows last."""
        now: Mapping[str, Tensor] = dict(self.network.named_buffers())
        for name, before in self.buffers.items():
            now[name].copy_(before)
        torch.set_rng_state(self.rng)
        for index, state in zip(self.devices, self.rng_of_devices, strict=True):
            torch.cuda.set_rng_state(state, index)
        self.network.to(memory_format=torch.contiguous_format)


def _channels_last(x: Tensor) -> Tensor:
    # Tiles of a large sample are tensors of another type, which have no memory of their own.
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 and type(x) is Tensor else x
