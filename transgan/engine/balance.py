"""Which task a step plays, where steps play one: by fixed shares, or so that the task that lags catches up."""

from collections.abc import Mapping
from typing import Any

import torch

from transgan.api.schedule import Clock
from transgan.data.draws import hashed
from transgan.engine.processes import Processes
from transgan.engine.state import State
from transgan.plan import Plan

#: Steps between two looks at how the tasks stand, which is read from the device and agreed upon then.
EVERY = 10
#: Steps of a task over which, about, is averaged; before it was played so often its lag is 1.
MEMORY = 50
#: A task whose discriminators never told fakes from reals so well has not begun: its lag is 1.
BEGUN = 0.1
#: The least share of a task, as a part of an even one.
FLOOR = 0.25
#: 2 to the 64 divided by the golden ratio: its multiples fill the circle of 64-bit numbers more evenly than chance.
GOLDEN = 0x9E3779B97F4A7C15


class Balance:
    """The tasks of a run: how far each lags, how often each was played, and which is next.

    With r how often a task's discriminators put a real sample above a fake one, they tell them apart by 2r - 1,
    averaged over about its last 50 steps. The task's lag is that, as a part of the most that it ever was: 1 as long as
    the generator has no answer to what its discriminators see, and falling towards 0 as they fail to see a difference.
    """

    def __init__(self, plan: Plan, processes: Processes | None = None, device: torch.device | str = "cpu"):
        self.tasks = list(plan.recipe.tasks)
        self.how = plan.recipe.train.balance if len(self.tasks) > 1 else "all"
        self.processes = processes
        self.offset = hashed(plan.recipe.train.seed, "balance")
        self.apart = torch.ones(len(self.tasks), device=device)  # as this process alone has seen it
        self.most = dict.fromkeys(self.tasks, 0.0)
        self.lags = dict.fromkeys(self.tasks, 1.0)
        self.played = dict.fromkeys(self.tasks, 0)

    def task(self, clock: Clock) -> str | None:
        """The task that this step plays, a function of the seed, the step and the shares; None for all of them."""
        if self.how == "all":
            return None
        shares = auto_shares(self.lags) if isinstance(self.how, str) else shares_at(self.how, clock)
        point, end = ((self.offset + clock.step * GOLDEN) % 2**64) / 2**64, 0.0
        for task in self.tasks:
            end += shares[task]
            if point < end:
                return task
        return max(self.tasks, key=shares.__getitem__)  # the shares add up to a little less than 1

    def note(self, clock: Clock, state: State) -> None:
        """Takes in what a step, now played, has shown."""
        if len(self.tasks) == 1:
            return
        drawn = self.task(clock)
        for i, task in enumerate(self.tasks):
            self.played[task] += drawn in (task, None)
            if (recognised := state.recognised(task)) is not None:
                rate = 1 / min(self.played[task], MEMORY)
                self.apart[i].lerp_((2 * recognised - 1).nan_to_num(1.0), rate)
        if (clock.step + 1) % EVERY == 0:
            self._agree()

    def _agree(self) -> None:
        seen = dict(zip(self.tasks, self.apart.unbind(), strict=True))
        apart = self.processes.mean(seen) if self.processes else {task: float(x) for task, x in seen.items()}
        for task, now in apart.items():
            if self.played[task] >= MEMORY:
                most = self.most[task] = max(self.most[task], now)
                self.lags[task] = max(0.0, now / most) if most >= BEGUN else 1.0

    def figures(self) -> dict[str, float]:
        """What is logged of each task: its lag, and the share of the steps that it was played in, where that is not 1.
        Nothing of a single task, which lags behind nobody."""
        if len(self.tasks) == 1:
            return {}
        found = {f"lag/{task}": lag for task, lag in self.lags.items()}
        steps = 0 if self.how == "all" else sum(self.played.values())
        return found | {f"share/{task}": count / steps for task, count in self.played.items() if steps}

    def state(self) -> dict[str, Any]:
        """For a checkpoint. All processes must ask, since each has seen its own samples."""
        if len(self.tasks) == 1:
            return {}
        apart = self.processes.gather(self.apart[None]) if self.processes else self.apart[None]
        return {"apart": apart.tolist(), "most": self.most, "lags": self.lags, "played": self.played}

    def load(self, state: Mapping[str, Any]) -> None:
        """From a checkpoint; of another number of processes too."""
        if not state:
            return
        apart = torch.tensor(state["apart"], device=self.apart.device)
        world, rank = (self.processes.world, self.processes.rank) if self.processes else (1, 0)
        self.apart = apart[rank] if len(apart) == world else apart.mean(0)
        self.most, self.lags, self.played = (dict(state[name]) for name in ("most", "lags", "played"))


def auto_shares(lags: Mapping[str, float]) -> dict[str, float]:
    """A quarter of an even share for each task; the rest goes by the squares of the lags."""
    floor = FLOOR / len(lags)
    squares = {task: lag**2 for task, lag in lags.items()}
    whole = sum(squares.values())
    return {
        task: floor + (1 - FLOOR) * (square / whole if whole else 1 / len(lags)) for task, square in squares.items()
    }


def shares_at(table: Mapping[str, Any], clock: Clock) -> dict[str, float]:
    """Fixed shares at a moment, as parts of 1."""
    numbers = {task: share.at_clock(clock) for task, share in table.items()}
    return {task: number / sum(numbers.values()) for task, number in numbers.items()}


def in_words(figures: Mapping[str, float]) -> str:
    """`age 62% lag 0.41, race 38% lag 0.22`, of what is logged."""
    tasks = [name.removeprefix("lag/") for name in figures if name.startswith("lag/")]
    shares = {task: f" {figures[f'share/{task}']:.0%}" if f"share/{task}" in figures else "" for task in tasks}
    return ", ".join(f"{task}{shares[task]} lag {figures[f'lag/{task}']:.2f}" for task in tasks)
