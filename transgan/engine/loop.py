"""The training loop."""

from collections.abc import Iterator

import torch
from torch import Tensor

from transgan.api.schedule import Clock
from transgan.data.batches import Batches, Leaves
from transgan.data.draws import hashed
from transgan.engine.balance import Balance
from transgan.engine.networks import MovingAverage, Networks
from transgan.engine.objective import Objective
from transgan.engine.optimizers import Optimizers
from transgan.engine.processes import Processes
from transgan.engine.trial import Trial
from transgan.graph import Step
from transgan.plan import Plan
from transgan.recipe.schema import Phase


class Engine:
    """Plays steps. Saving, showing, measuring and stopping stand outside, in `Run`."""

    def __init__(self, plan: Plan, processes: Processes | None = None, device: torch.device | str = "cpu"):
        self.plan = plan
        self.processes = processes
        self.networks = Networks(plan, processes.device if processes else device)
        self.objective = Objective(plan, self.networks, processes)
        self.optimizers = Optimizers(plan, self.networks, processes)
        self.balance = Balance(plan, processes, self.networks.device)
        translating = {
            name: self.networks.networks[name] for name, each in plan.networks.items() if each.side == "generator"
        }
        ema = plan.recipe.train.ema
        self.average = MovingAverage(translating, ema.start) if ema.ever else None
        self.step = 0
        self.skipped = False

    def train(self, batches: Batches) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Plays one step after the other to the end of the run; yields the steps done, and each loss unweighted."""
        while self.step < self.plan.recipe.train.steps:
            clock = batches.clock(self.step)
            losses = self.play(batches.at(self.step, self.balance.task), clock)
            if not self.skipped:
                self.balance.note(clock, self.objective.state)
            self.step += 1
            yield self.step, losses

    def play(self, parts: list[Leaves], clock: Clock) -> dict[str, Tensor]:
        """One step on a batch, which may come in parts: each phase that is due moves the networks that it trains.

        It is `skipped` from the first phase on whose total or gradients are not finite, and leaves nothing of itself.
        """
        rank = self.processes.rank if self.processes else 0
        torch.manual_seed(
            hashed(self.plan.recipe.train.seed, "step", clock.step, rank) >> 1
        )  # for dropout and the like
        self.optimizers.norms = {}
        self.objective.state.begin(watching=self.plan.recipe.train.logs(clock.step + 1))
        due = [phase for phase in self.plan.recipe.phases if (clock.step + 1) % phase.every == 0]
        sharing = sharing_nodes(due, len(parts))
        shared: list[Step | None] = [None] * len(parts)
        losses: dict[str, Tensor] = {}
        trial = Trial(self.objective, self.networks)
        for phase in due:
            whole = torch.zeros((), device=self.networks.device)
            trained = self.plan.trained(phase)
            self.optimizers.zero(trained)
            for i, leaves in enumerate(parts):
                if phase in sharing:
                    step = shared[i] = shared[i] or self.objective.step(leaves, sharing, clock)
                else:
                    step = self.objective.step(leaves, [phase], clock)
                self.networks.train_only(trained)
                total, values = self.objective(phase, step, clock)
                if total is not None:
                    whole = whole + total.detach()
                    if total.requires_grad:
                        (total / len(parts)).backward()  # type: ignore[no-untyped-call]
                if len(parts) > 1:
                    step.detach()
                for name, value in values.items():
                    losses[name] = losses.get(name, 0.0) + value / len(parts)
            self.objective.memory.settle()
            self.optimizers.move(trained, clock, whole, trial)
        self.skipped = trial.failed()
        if self.skipped:
            trial.undo()
            return losses
        if self.average and any(phase.side == "generator" for phase in due):
            self.average.decay = self.plan.recipe.train.ema.at_clock(clock)
            self.average.update()
        self.objective.augmenter.adapt(clock)
        return losses


def sharing_nodes(due: list[Phase], parts: int) -> list[Phase]:
    """The phases of a step that share their nodes: discriminators', and the first generator phase, which learns from
    them. Taken in parts, a graph that has to wait for a later phase would keep every part's memory: then discriminators
    that come first get nodes of their own."""
    first = next((phase for phase in due if phase.side == "generator"), None)
    waits = parts > 1 and due[:1] != [first]
    return [p for p in due if not p.recompute and (p.side == "discriminator" or (p is first and not waits))]
