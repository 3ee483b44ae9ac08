"""The processes of a run, and how they agree. Accelerate launches them and chooses the device."""

import platform
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from transgan import __version__
from transgan.errors import INTERRUPTED, TERMINATED

#: With several processes, they agree about stopping every N steps; a single process checks after every step.
AGREE_EVERY = 10


class Processes:
    """This process among those of the run. With a single process nothing here communicates.

    Gradients are averaged by one flat all-reduce for each phase, as in StyleGAN3, and not by DDP: a network may then
    be called any number of times, by any of its methods, in any phase.
    """

    def __init__(self) -> None:
        # Without cpu=True, Accelerate forms no process group on a machine without a GPU: each process would be a run.
        self.accelerator = Accelerator(cpu=not torch.accelerator.is_available())
        self.rank = self.accelerator.process_index
        self.world = self.accelerator.num_processes
        self.device = self.accelerator.device
        self.main = self.accelerator.is_main_process

    def average_gradients(self, parameters: Iterable[nn.Parameter], total: Tensor) -> Tensor:
        """Average gradients over all processes in place; return the average of `total`.

        A gradient that is None here counts as zero; one that is None everywhere stays None.
        """
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
        """Return scalars, averaged over the processes and read from the device all at once."""
        if not values:
            return {}
        stacked = torch.stack([value.detach().float() for value in values.values()])
        if self.world > 1:
            dist.all_reduce(stacked)
            stacked /= self.world
        return dict(zip(values, stacked.tolist(), strict=True))

    def gather(self, x: Tensor) -> Tensor:
        """Return (N, ...) of every process, in the order of ranks: (world * N, ...)."""
        if self.world == 1:
            return x
        parts = [torch.empty_like(x) for _ in range(self.world)]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    def broadcast(self, value: Any) -> Any:
        """Return the main process's value on every process."""
        return broadcast_object_list([value])[0] if self.world > 1 else value

    def largest(self, number: int) -> int:
        """Return the largest number of any process."""
        if self.world == 1:
            return number
        tensor = torch.tensor(number, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return int(tensor)

    def all_equal(self, x: Tensor) -> bool:
        """Return whether every process holds the same numbers."""
        return self.world == 1 or bool((self.gather(x[None]) == x[None]).all())

    def environment(self) -> dict[str, Any]:
        """Return versions, platform, device and number of processes, as in env.json."""
        return {
            "transgan": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "device": str(self.device),
            "processes": self.world,
        }

    def end(self) -> None:
        """Leave the process group."""
        if self.world > 1:
            self.accelerator.end_training()


class StopRequests:
    """Requests to end a run early: SIGINT, SIGTERM, or `RunInfo.request_stop`, on any of its processes.

    A first signal ends the run after the current step and a checkpoint, a second one at once.
    """

    #: `code` where a hook has asked for the end; signals have larger codes, and so win.
    BY_HOOK = 1

    def __init__(self, processes: Processes):
        self.processes = processes
        self.code = 0
        """The exit code of the signal that this process has received, or `BY_HOOK`; 0 for none."""
        self.reason = ""

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Handle signals while the body runs."""

        def handle(number: int, frame: Any) -> None:
            if self.code > self.BY_HOOK:
                raise KeyboardInterrupt
            self.code = INTERRUPTED if number == signal.SIGINT else TERMINATED

        old = {each: signal.signal(each, handle) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in old.items():
                signal.signal(each, handler)

    def request(self, reason: str) -> None:
        """Ask for the end, as a hook does."""
        if not self.code:
            self.code, self.reason = self.BY_HOOK, reason

    def at_step(self, step: int) -> int:
        """Return the code if any process has one: all of them get it at the same step."""
        if self.processes.world == 1 or step % AGREE_EVERY == 0:
            return self.processes.largest(self.code)
        return 0
