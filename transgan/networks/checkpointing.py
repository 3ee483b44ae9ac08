"""`train.checkpointing`: networks that compute their activations again in the backward pass."""

import random
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import nullcontext
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils import checkpoint as torch_checkpoint

from transgan.errors import UsageError, did_you_mean


def checkpointed(networks: Mapping[str, nn.Module], patterns: Iterable[str], known: Collection[str]) -> set[str]:
    """Return those of the networks that patterns of `train.checkpointing` name.

    Args:
        known: the names that patterns may mean: also of networks that are not here, as where a model translates.

    Raises:
        UsageError: a pattern names none.
    """
    found: set[str] = set()
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise UsageError(f'train.checkpointing = ["{pattern}"]: names no network. {did_you_mean(pattern, known)}')
        found |= {name for name in networks if fnmatchcase(name, pattern)}
    return found


def checkpoint(network: nn.Module, run: Callable[[Any], Any], x: Any) -> Any:
    """Run a network without keeping its activations: the backward pass runs it again, to the same result.

    The second pass finds the buffers of the network and the random numbers of Python and NumPy as the first one did,
    and changes none of them. PyTorch itself sees to its own random numbers.

    Args:
        run: calls the network.
    """
    again = _Again(network)
    return torch_checkpoint.checkpoint(run, x, use_reentrant=False, context_fn=lambda: (nullcontext(), again))


class _Again:
    """While it is entered, buffers and random numbers are what they were when it was made."""

    def __init__(self, network: nn.Module):
        self.network = network
        self.first = _copies(_buffers(network)), random.getstate(), np.random.get_state()

    def __enter__(self) -> None:
        self.before = list(_buffers(self.network)), random.getstate(), np.random.get_state()
        buffers, *drawn = self.first
        _set(_copies(buffers), *drawn)  # copies: a backward pass may be repeated, and may have to keep what it has read

    def __exit__(self, *_: object) -> None:
        _set(*self.before)


_Buffers = list[tuple[nn.Module, str, Tensor]]


def _buffers(network: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    """Yield the buffers of a network, with their modules and names there."""
    for module in network.modules():
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
            if not is_lazy(buffer):
                yield module, name, buffer


def _copies(buffers: Iterable[tuple[nn.Module, str, Tensor]]) -> _Buffers:
    """Return copies of buffers: one of each, also where several modules have it."""
    copies: dict[Tensor, Tensor] = {}
    return [(module, name, copies.setdefault(each, each.clone())) for module, name, each in buffers]


def _set(buffers: _Buffers, of_python: Any, of_numpy: Any) -> None:
    """Put other tensors in the place of buffers, and set the states of random numbers."""
    for module, name, buffer in buffers:
        setattr(module, name, buffer)
    random.setstate(of_python)
    np.random.set_state(of_numpy)
