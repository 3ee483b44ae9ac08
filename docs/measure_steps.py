"""Measure the time and the memory of a training step of several recipes, in one process, on noise.

    python docs/measure_steps.py 'recipes/cyclegan.toml' 'recipes/cut.toml' --set data.size=128

Each argument is a recipe, or a recipe and changes of its own, as one word: `'recipes/cyclegan.toml losses.identity=0'`.
Every round measures all recipes one after the other, so that what else the machine does meets all of them. Time is a
round's mean, memory what the process, or the GPU, holds at most during a round, beyond what it held before the networks
were built: weights, gradients, optimizers and activations. Printed are medians over rounds.
"""

import argparse
import ctypes
import gc
import shlex
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from transgan.bench import registry_with_noise
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.plan import make_plan
from transgan.recipe import read_recipe
from transgan.registry import Registry
from transgan.training import Engine
from transgan.training.distributed import Processes


class Memory:
    """What the process holds; on a GPU, what tensors hold of its memory. Bytes."""

    def __init__(self, device: torch.device):
        self.cuda = device.type == "cuda"

    def settle(self) -> None:
        """Give back what is free, and forget the peak."""
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        else:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5")  # the peak becomes what is held now

    @property
    def peak(self) -> int:
        """The most since `settle`."""
        return torch.cuda.max_memory_allocated() if self.cuda else self._status("VmHWM")

    @property
    def now(self) -> int:
        return torch.cuda.memory_allocated() if self.cuda else self._status("VmRSS")

    @staticmethod
    def _status(name: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


@dataclass
class Measured:
    seconds: list[float] = field(default_factory=list)
    """Of a step, the mean of each round."""
    peaks: list[int] = field(default_factory=list)


def measure(what: str, overrides: list[str], steps: int, registry: Registry, processes: Processes) -> tuple[float, int]:
    """Return the seconds of a step, after a first one that is not counted, and the peak of memory in bytes."""
    path, *own = shlex.split(what)
    settings = [*overrides, *own, "data.source=noise", f"train.steps={steps + 1}", "metrics={}"]
    settings += [f"domains.{name}={name}" for name in read_recipe(Path(path), settings).recipe.domains]
    plan = make_plan(read_recipe(Path(path), settings), registry)
    memory = Memory(processes.device)
    memory.settle()
    before = memory.now
    engine = Engine(plan, processes)
    batches = Batches(plan, Domains(plan), device=processes.device)
    for step, _ in engine.train(batches):
        if processes.device.type == "cuda":
            torch.cuda.synchronize()
        if step == 1:
            memory.settle()
            begin = time.perf_counter()
    return (time.perf_counter() - begin) / steps, memory.peak - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE")
    parser.add_argument("--steps", type=int, default=3, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    registry = registry_with_noise()
    processes = Processes()
    found = {what: Measured() for what in given.recipes}
    measure(given.recipes[0], given.overrides, 1, registry, processes)  # not counted: it loads what all need
    for _ in range(given.rounds):
        for what, measured in found.items():
            seconds, peak = measure(what, given.overrides, given.steps, registry, processes)
            measured.seconds.append(seconds)
            measured.peaks.append(peak)
    print(f"{torch.get_num_threads()} threads on {processes.device}, torch {torch.__version__}")
    for what, measured in found.items():
        seconds, megabytes = statistics.median(measured.seconds), statistics.median(measured.peaks) / 1e6
        spread = f"{min(measured.seconds):.2f} to {max(measured.seconds):.2f}"
        print(f"{seconds:7.2f} s ({spread})  {megabytes:6.0f} MB  {what}")


if __name__ == "__main__":
    main()
