"""Which task a step trains, where a step trains one: by fixed shares, or so that the task that lags catches up."""

from collections.abc import Mapping
from typing import Any

import torch

from transgan.monitoring.diagnostics import StepDiagnostics
from transgan.plan import Plan
from transgan.rng import stable_hash
from transgan.schedule import Clock
from transgan.training.distributed import Processes

#: Lags are read from the device, and averaged over processes, every N steps.
EVERY = 10
#: The time constant, in steps of a task, of the average; a task trained in fewer steps has a lag of 1.
MEMORY = 50
#: A task whose discriminators have never separated real and fake this well has not started: its lag is 1.
STARTED = 0.1
#: The smallest share of a task, as a part of an even one.
FLOOR = 0.25
#: 2 to the 64 divided by the golden ratio: its multiples fill the circle of 64-bit numbers more evenly than chance.
GOLDEN = 0x9E3779B97F4A7C15


class TaskSampler:
    """The tasks of a run: how far each lags, how many steps have trained it, and which is next.

    With r the rate at which a task's discriminators rank a real sample above a fake one, their separation is 2r - 1,
    averaged over about its last 50 steps. The task's lag is its separation as a part of the largest one so far: 1 while
    the generator has not answered its discriminators, and falling towards 0 as they fail to see a difference.
    """

    def __init__(self, plan: Plan, processes: Processes | None = None, device: torch.device | str = "cpu"):
        self.tasks = list(plan.recipe.tasks)
        self.strategy = plan.recipe.train.balance if len(self.tasks) > 1 else "all"
        self.processes = processes
        self.offset = stable_hash(plan.recipe.train.seed, "balance")
        self.separation = torch.ones(len(self.tasks), device=device)  # in this process's samples
        self.largest = dict.fromkeys(self.tasks, 0.0)
        self.lags = dict.fromkeys(self.tasks, 1.0)
        self.steps = dict.fromkeys(self.tasks, 0)

    def task(self, clock: Clock) -> str | None:
        """Return the task that a step trains, a function of the seed, the step and the shares; None for all of them."""
        if self.strategy == "all":
            return None
        shares = auto_shares(self.lags) if isinstance(self.strategy, str) else shares_at(self.strategy, clock)
        point, end = ((self.offset + clock.step * GOLDEN) % 2**64) / 2**64, 0.0
        for task in self.tasks:
            end += shares[task]
            if point < end:
                return task
        return max(self.tasks, key=shares.__getitem__)  # the shares add up to slightly less than 1

    def update(self, clock: Clock, diagnostics: StepDiagnostics) -> None:
        """Take in the diagnostics of a step that is done."""
        if len(self.tasks) == 1:
            return
        trained = self.task(clock)
        for i, task in enumerate(self.tasks):
            self.steps[task] += trained in (task, None)
            if (recognised := diagnostics.recognised(task)) is not None:
                rate = 1 / min(self.steps[task], MEMORY)
                now, before = 2 * recognised - 1, self.separation[i]
                before.lerp_(torch.where(now.isfinite(), now, before), rate)
        if (clock.step + 1) % EVERY == 0:
            self._update_lags()

    def _update_lags(self) -> None:
        separation = dict(zip(self.tasks, self.separation.unbind(), strict=True))
        means = (
            self.processes.mean(separation) if self.processes else {task: float(x) for task, x in separation.items()}
        )
        for task, now in means.items():
            if self.steps[task] >= MEMORY:
                largest = self.largest[task] = max(self.largest[task], now)
                self.lags[task] = max(0.0, now / largest) if largest >= STARTED else 1.0

    def figures(self) -> dict[str, float]:
        """Return, for the log, each task's lag, and the share of steps that trained it, where that is not 1.

        A run with a single task has neither.
        """
        if len(self.tasks) == 1:
            return {}
        found = {f"lag/{task}": lag for task, lag in self.lags.items()}
        steps = 0 if self.strategy == "all" else sum(self.steps.values())
        return found | {f"share/{task}": count / steps for task, count in self.steps.items() if steps}

    def state_dict(self) -> dict[str, Any]:
        """Return the state. Every process must call it, since each has seen its own samples."""
        if len(self.tasks) == 1:
            return {}
        separation = self.processes.gather(self.separation[None]) if self.processes else self.separation[None]
        return {"separation": separation.tolist(), "largest": self.largest, "lags": self.lags, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` has returned, with another number of processes too."""
        if not state:
            return
        separation = torch.tensor(state["separation"], device=self.separation.device)
        world, rank = (self.processes.world, self.processes.rank) if self.processes else (1, 0)
        self.separation = separation[rank] if len(separation) == world else separation.mean(0)
        self.largest, self.lags, self.steps = (dict(state[name]) for name in ("largest", "lags", "steps"))


def auto_shares(lags: Mapping[str, float]) -> dict[str, float]:
    """Return shares that add up to 1: a quarter of an even share for each task, the rest by the squares of the lags."""
    floor = FLOOR / len(lags)
    squares = {task: lag**2 for task, lag in lags.items()}
    total = sum(squares.values())
    return {
        task: floor + (1 - FLOOR) * (square / total if total else 1 / len(lags)) for task, square in squares.items()
    }


def shares_at(table: Mapping[str, Any], clock: Clock) -> dict[str, float]:
    """Return the recipe's shares at a moment, scaled so that they add up to 1."""
    numbers = {task: share.at_clock(clock) for task, share in table.items()}
    return {task: number / sum(numbers.values()) for task, number in numbers.items()}


def describe_tasks(figures: Mapping[str, float]) -> str:
    """Return `age 62% lag 0.41, race 38% lag 0.22` from logged figures."""
    tasks = [name.removeprefix("lag/") for name in figures if name.startswith("lag/")]
    shares = {task: f" {figures[f'share/{task}']:.0%}" if f"share/{task}" in figures else "" for task in tasks}
    return ", ".join(f"{task}{shares[task]} lag {figures[f'lag/{task}']:.2f}" for task in tasks)
