"""The processes of a run, and how they agree. Accelerate launches them and chooses the device."""

import os
import platform
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list
from torch import Tensor, nn

from transgan import __version__
from transgan.errors import HUNG_UP, INTERRUPTED, TERMINATED, TransganError
from transgan.launcher import end_without_launcher
from transgan.rng import to_device

#: Seconds within which further signals belong to the same request: a terminal that closes, and a launcher that is
#: interrupted, send several.
SAME_REQUEST = 2.0
#: How long the processes wait for the main one, which alone evaluates, previews and writes. The default of 10 minutes
#: would end a run with large held-out sets; a process that dies is noticed by the launcher.
PATIENCE = timedelta(days=1)
#: With several processes, they agree about stopping every N steps; a single process checks after every step.
AGREE_EVERY = 10


class Processes:
    """This process among those of the run. With a single process nothing here communicates.

    Gradients are averaged by one flat all-reduce for each phase, as in StyleGAN3, and not by DDP: a network may then
    be called any number of times, by any of its methods, in any phase.
    """

    def __init__(self) -> None:
        end_without_launcher()  # already here, since processes that are gone are waited for
        # Without cpu=True, Accelerate forms no process group on a machine without a GPU: each process would be a run.
        group = InitProcessGroupKwargs(backend=None, timeout=PATIENCE)
        self.mixed_precision = os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
        """What accelerate was asked to compute in, `no` for nothing; `train.precision` is what counts."""
        cpu = not torch.accelerator.is_available()
        self.accelerator = Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=[group])
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
        here = tuple(p.grad is not None for p in parameters)
        has = to_device(torch.tensor(here, dtype=parameters[0].dtype), self.device)
        grads = [torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters]
        flat = torch.cat([*grads, has, total[None].to(has)])
        dist.all_reduce(flat)
        flat /= self.world
        *averages, counts, mean = torch.split(flat, [g.numel() for g in grads] + [len(has), 1])
        somewhere = here if all(here) else counts.tolist()  # which waits for the device
        for parameter, average, count in zip(parameters, averages, somewhere, strict=True):
            # In the memory format of its parameter, as fused optimizers want it.
            parameter.grad = torch.empty_like(parameter).copy_(average.view_as(parameter)) if count else None
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
        """Return the main process's value on every process; of an error, the others know that it is reported."""
        if self.world == 1:
            return value
        value = broadcast_object_list([value])[0]
        if isinstance(value, TransganError) and not self.main:
            value.from_main = True
        return value

    @contextmanager
    def alike(self) -> Iterator[None]:
        """Say of a part that it is the same in every process: an error in it is reported once on each machine."""
        try:
            yield
        except TransganError as error:
            error.from_main = not self.accelerator.is_local_main_process
            raise

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


def peak_memory(device: torch.device) -> str:
    """Return the most memory that this process has used so far: that of its GPU, where it trains on one."""
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB of the GPU"
    # What getrusage says begins, on Linux, with the peak of the process that started this one.
    status = Path("/proc/self/status")
    if status.exists():
        peak = int(status.read_text("utf-8").split("VmHWM:")[1].split()[0]) * 1024
    elif platform.system() == "Darwin":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    else:
        import psutil  # comes with accelerate

        memory = psutil.Process().memory_info()
        peak = getattr(memory, "peak_wset", memory.rss)
    return f"{peak / 2**30:.2f} GiB"


class Interrupted(BaseException):
    """A signal has ended what a run measures. It is no `Exception`, since nothing has failed."""


class StopRequests:
    """Requests to end a run early, on any of its processes: SIGINT, SIGTERM, also for want of a launcher, SIGHUP, or
    `RunInfo.request_stop`.

    A first signal ends the run after the current step and a checkpoint; a later SIGINT ends it at once. A SIGHUP that
    was ignored from the start, as by nohup, stays ignored.
    """

    #: `code` where a hook has asked for the end; signals have larger codes, and so win.
    BY_HOOK = 1
    CODES = {"SIGINT": INTERRUPTED, "SIGTERM": TERMINATED, "SIGHUP": HUNG_UP}
    """Exit codes by the signals' names; Windows has no SIGHUP."""

    def __init__(self, processes: Processes):
        self.processes = processes
        self.code = 0
        """The exit code of the signal that this process has received, or `BY_HOOK`; 0 for none."""
        self.reason = ""

    @contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Handle signals while the body runs. In another thread than the main one they are not those of the run."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        codes = {getattr(signal, name): code for name, code in self.CODES.items() if hasattr(signal, name)}
        first = 0.0

        def handle(number: int, frame: Any) -> None:
            nonlocal first
            if self.code <= self.BY_HOOK:
                self.code, first = codes[number], time.monotonic()
            elif number == signal.SIGINT and time.monotonic() - first > SAME_REQUEST:
                raise KeyboardInterrupt

        ignored = {each for each in codes if each != signal.SIGINT and signal.getsignal(each) == signal.SIG_IGN}
        old = {each: signal.signal(each, handle) for each in codes.keys() - ignored}
        try:
            yield
        finally:
            for each, handler in old.items():
                signal.signal(each, handler)

    def request(self, reason: str) -> None:
        """Ask for the end, as a hook does."""
        if not self.code:
            self.code, self.reason = self.BY_HOOK, reason

    def check(self) -> None:
        """End the measurement that calls this between its batches, where this process has received a signal.

        Raises:
            Interrupted: it has.
        """
        if self.code > self.BY_HOOK:
            raise Interrupted

    def agreed(self) -> int:
        """Return the code if any process has one. Every process calls this at the same moment."""
        return self.processes.largest(self.code)

    def at_step(self, step: int) -> int:
        """Return the code if any process has one: all of them get it at the same step."""
        return self.agreed() if self.processes.world == 1 or step % AGREE_EVERY == 0 else 0
