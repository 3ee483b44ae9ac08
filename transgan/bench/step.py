"""`transgan bench step`: the time of a training step, where it goes, and how near it comes to what the device can."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

from transgan.bench.cases import Case, in_turns, naming_remedies
from transgan.bench.figures import Measured
from transgan.bench.memory import Memory
from transgan.bench.peak import peak, wait
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.networks import Networks
from transgan.plan.conditioning import count_parameters
from transgan.training.distributed import Processes
from transgan.training.engine import Engine

#: Steps before the measured ones: the first allocates, the second is measured for memory, the third counted.
WARM = 3


class Steps:
    """The steps of one case, from its first one on."""

    def __init__(self, case: Case, most: int, processes: Processes):
        plan = case.plan(f"train.steps={WARM + most}")
        self.plan, self.device = plan, processes.device
        self.measured = Measured(case.label)
        domains = Domains(plan)
        domains.fit_statistics()
        # Code that a first step loads, and samples, would else count as memory of the case that comes first.
        single = case.plan("train.steps=1")
        list(Engine(single, processes).train(Batches(single, domains, device=self.device)))
        memory = Memory(processes.device)
        memory.settle()
        before = memory.now
        engine = Engine(plan, processes)
        self.measured.figures["parameters"] = float(sum(map(count_parameters, engine.networks.values())))
        self.steps = engine.train(Batches(plan, domains, device=self.device))
        self.run(1)
        memory.settle()
        self.run(1)
        if held := memory.peak:
            self.measured.figures["memory bytes"] = float(held - before)
        counter = FlopCounterMode(display=False)
        counter.mod_tracker = _Untracked()
        with counter:
            self.run(1)
        self.flops = float(counter.get_total_flops())

    def run(self, count: int) -> float:
        """Return the seconds of a step, the mean of some."""
        wait(self.device)
        begin = time.perf_counter()
        for _ in range(count):
            next(self.steps)
        wait(self.device)
        return (time.perf_counter() - begin) / count


class _Untracked(ModuleTracker):
    """Counts nothing by module: the hooks for that fail where a loss takes gradients by inputs, as penalties do."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def measure(cases: Sequence[Case], steps: int, rounds: int) -> tuple[str, list[Measured]]:
    """Return a title, and what was measured of each case.

    Args:
        steps: of each case in each round.
        rounds: in which the cases take turns.
    """
    processes = Processes()
    with naming_remedies():
        found = [Steps(case, steps * (rounds + 1), processes) for case in cases]
        for _, number in in_turns(len(found), rounds):
            found[number].measured.seconds.append(found[number].run(steps))
    peaks = {precision: peak(processes.device, precision) for precision in {_precision(each) for each in found}}
    for each in found:
        with _timed(processes.device) as spent:
            whole = each.run(steps) * steps
        parts = {name: spent.get(name, 0.0) / whole for name in ("data", "forward", "backward", "optimizer")}
        each.measured.parts = {**parts, "engine": max(0.0, 1.0 - sum(parts.values()))}
        best, median = peaks[_precision(each)], sorted(each.measured.seconds)[len(each.measured.seconds) // 2]
        each.measured.figures |= {
            "FLOPs a step": each.flops,
            "FLOPs a second": each.flops / median,
            "peak measured": best,
            "share of peak": each.flops / median / best,
        }
    plan = found[0].plan
    stage = plan.stage_at(0)
    title = (
        f"{plan.recipe.name}: size {stage.size}, batch {stage.batch}, {plan.recipe.train.precision}, "
        f"{torch.get_num_threads()} threads on {processes.device}, torch {torch.__version__}"
    )
    return title, [each.measured for each in found]


def _precision(steps: Steps) -> str:
    return str(steps.plan.recipe.train.precision)


@contextmanager
def _timed(device: torch.device) -> Iterator[dict[str, float]]:
    """Yield the seconds spent by part; each is waited for, so that a GPU's work is counted where it is ordered."""
    spent: dict[str, float] = {}
    inside: list[str] = []

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if inside:  # what is within another part is counted there
                return function(*arguments, **named)
            wait(device)
            begin = time.perf_counter()
            inside.append(name)
            try:
                return function(*arguments, **named)
            finally:
                inside.pop()
                wait(device)
                spent[name] = spent.get(name, 0.0) + time.perf_counter() - begin

        return call

    begun = [0.0]

    def begin_step(*_: Any) -> None:
        wait(device)
        begun[0] = time.perf_counter()

    def end_step(*_: Any) -> None:
        wait(device)
        spent["optimizer"] = spent.get("optimizer", 0.0) + time.perf_counter() - begun[0]

    places: list[tuple[Any, str, str]] = [
        (Networks, "__call__", "forward"),
        (torch.Tensor, "backward", "backward"),
        (torch.autograd, "grad", "backward"),
        (Batches, "at", "data"),
    ]
    originals = [getattr(owner, attribute) for owner, attribute, _ in places]
    for (owner, attribute, name), function in zip(places, originals, strict=True):
        setattr(owner, attribute, timed(name, function))
    hooks = [register_optimizer_step_pre_hook(begin_step), register_optimizer_step_post_hook(end_step)]
    try:
        yield spent
    finally:
        for hook in hooks:
            hook.remove()
        for (owner, attribute, _), function in zip(places, originals, strict=True):
            setattr(owner, attribute, function)
