"""The processes of a run: who is who, and how they agree. Accelerate launches them and names the device."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn


class Processes:
    """This process among those of the run. With one process everything here does nothing, and costs nothing.

    Gradients are averaged by one flat all-reduce for each phase, as StyleGAN3 does, and not by wrapping networks:
    a network may then be called any number of times, by any of its methods, in any phase.
    """

    def __init__(self) -> None:
        # Told so, it forms a group of processes without any accelerator too; otherwise each would be a run of its own.
        self.accelerator = Accelerator(cpu=not torch.accelerator.is_available())
        self.rank = self.accelerator.process_index
        self.world = self.accelerator.num_processes
        self.device = self.accelerator.device
        self.main = self.accelerator.is_main_process

    def average_gradients(self, parameters: Iterable[nn.Parameter], total: Tensor) -> Tensor:
        """The mean over all processes, in place, and that of their totals. A gradient that is missing here counts as
        zero; one that is missing everywhere stays missing."""
        if self.world == 1:
            return total
        parameters = list(parameters)
        has = torch.tensor([p.grad is not None for p in parameters], dtype=parameters[0].dtype, device=self.device)
        grads = [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters]
        flat = torch.cat([*grads, has, total[None].to(has)])
        dist.all_reduce(flat)
        flat /= self.world
        *averages, counts, mean = torch.split(flat, [g.numel() for g in grads] + [len(has), 1])
        for parameter, average, count in zip(parameters, averages, counts.tolist(), strict=True):
            parameter.grad = average.view_as(parameter) if count else None
        return mean[0]

    def mean(self, values: Mapping[str, Tensor]) -> dict[str, float]:
        """Scalars, averaged over the processes and read from the device, all at once."""
        if not values:
            return {}
        stacked = torch.stack([value.detach().float() for value in values.values()])
        if self.world > 1:
            dist.all_reduce(stacked)
            stacked /= self.world
        return dict(zip(values, stacked.tolist(), strict=True))

    def gather(self, x: Tensor) -> Tensor:
        """(N, ...) of every process, in their order, as (world * N, ...)."""
        if self.world == 1:
            return x
        parts = [torch.empty_like(x) for _ in range(self.world)]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    def share(self, value: Any) -> Any:
        """What the main process holds, for all."""
        return broadcast_object_list([value])[0] if self.world > 1 else value

    def largest(self, number: int) -> int:
        """The largest that any process holds: how they agree to stop."""
        if self.world == 1:
            return number
        tensor = torch.tensor(number, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return int(tensor)

    def all_equal(self, x: Tensor) -> bool:
        """Whether every process holds the same numbers."""
        return self.world == 1 or bool((self.gather(x[None]) == x[None]).all())

    def end(self) -> None:
        """Leaves the group."""
        if self.world > 1:
            self.accelerator.end_training()
