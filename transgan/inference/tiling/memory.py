"""How much memory a translation needs, and how much there is."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # comes with accelerate
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from transgan.inference.tiling.arguments import bound
from transgan.inference.tiling.windows import multiplications

#: The limits of memory that containers are given, and what they use of it: of version 2 of cgroups, and of version 1.
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "/sys/fs/cgroup/memory/memory.stat",
    ),
)


@dataclass(frozen=True)
class Needs:
    """What a computation needs."""

    memory: int
    """The most bytes of tensors that exist at the same time, and of the copies that convolutions make on a CPU."""
    multiplications: float
    """Those of its convolutions."""


def measure(compute: Callable[[], Any]) -> Needs:
    """Return what a computation on the meta device, without gradients, would need on another one."""
    with Meter() as meter:
        compute()
    return Needs(meter.peak, meter.multiplications)


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, counts what tensors that come into being need."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0
        self.multiplications = 0.0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                storage = each.untyped_storage()
                self.alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()  # type: ignore[no-untyped-call]
        self.alive = {key: each for key, each in self.alive.items() if not each[0].expired()}  # type: ignore[no-untyped-call]
        copies = 0
        if func.overloadpacket is torch.ops.aten.convolution:
            given = bound(func, args, kwargs)
            self.multiplications += multiplications(given)
            copies = sum(each.numel() * each.element_size() for each in (given["input"], result))
        self.peak = max(self.peak, copies + sum(count for _, count in self.alive.values()))
        return result


def free_memory(device: torch.device) -> int:
    """Return the bytes of memory of a device that are free: for a CPU no more than a container may still use."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    free = int(psutil.virtual_memory().available)
    for limit, used, statistics in _LIMITS:
        with suppress(OSError, ValueError, KeyError):  # there is none, or it says "max"
            kept = dict(line.split() for line in Path(statistics).read_text(encoding="ascii").splitlines())
            left = int(Path(limit).read_text(encoding="ascii")) - int(Path(used).read_text(encoding="ascii"))
            free = min(free, max(0, left + int(kept["inactive_file"])))  # what is only kept of files gives way
    return free
