"""The training step: every phase that is due computes its losses, their gradients, and one update of its networks."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor

from transgan.data.batches import Batches
from transgan.data.inputs import BatchInputs
from transgan.errors import RecipeError, UsageError
from transgan.graph import Step
from transgan.networks import DTYPES, Networks, can_compute_in
from transgan.plan import Plan
from transgan.recipe.schema import Phase
from transgan.rng import stable_hash
from transgan.schedule import Clock
from transgan.training.attributes import Attributes
from transgan.training.distributed import Processes
from transgan.training.model_weights import MovingAverage
from transgan.training.non_finite import NonFiniteGuard
from transgan.training.objective import Objective, differentiating
from transgan.training.optimizers import Optimizers
from transgan.training.shapes import build_lazy_modules
from transgan.training.task_sampler import TaskSampler


class Engine:
    """Networks, objective and optimizers, and the step that trains them. The run around it is `Trainer`'s."""

    def __init__(self, plan: Plan, processes: Processes | None = None, device: torch.device | str = "cpu"):
        self.plan = plan
        self.processes = processes
        device = torch.device(processes.device if processes else device)
        precision = plan.recipe.train.precision
        if device.type != "meta" and not can_compute_in(DTYPES[precision], device):
            name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
            raise UsageError(f'train.precision = "{precision}": {name} cannot compute in it; expected "fp16" or "fp32"')
        self.networks = Networks(plan, device)
        build_lazy_modules(plan, self.networks)
        self.objective = Objective(plan, self.networks, processes)
        self.optimizers = Optimizers(plan, self.networks, processes)
        self.task_sampler = TaskSampler(plan, processes, self.networks.device)
        ema = plan.recipe.train.ema
        translating = {name: self.networks[name] for name in plan.generator_side}
        self.average = MovingAverage(translating, ema.start) if ema.ever_nonzero else None
        self.waits = self.networks.device.type == "cpu"
        """Whether the end of each step is waited for, to learn whether it was skipped. Where that would keep a device
        idle, skipped steps are undone on it, and counted there until `count_skipped` is called."""
        # Skipped steps since that was last read, and those among them of which a loss was not finite.
        self._skipped = torch.zeros(2, device=self.networks.device)
        torch.backends.cudnn.benchmark = True  # shapes are the same step by step
        self.completed = 0
        """Completed steps."""
        self.skipped = 0
        """1 if the newest step was skipped, since a number in it was not finite, else 0; known if `waits`."""
        self.changing: list[tuple[str, str]] = []
        """In the second step, the owners of attributes that it has changed, `loss 'x'`, and the attributes' names."""
        self.unreached: dict[str, str] = {}
        """The networks that a phase of the first step trains and its gradient has not reached, and the phase's side."""

    def train(self, batches: Batches) -> Iterator[tuple[int, dict[str, Tensor]]]:
        """Train to the last step; yield after each the number of completed steps, and its losses, unweighted.

        Raises:
            PluginFault: a network has other parameters than those that are trained and saved.
            RecipeError: a network is given a condition that nothing in it takes.
        """
        while self.completed < self.plan.recipe.train.steps:
            clock = batches.clock(self.completed)
            inputs = batches.at(self.completed, self.task_sampler.task)
            # What is computed once, in the first step, and kept, a resumed run computes again.
            before = Attributes(self.plan) if self.completed == 1 else None
            losses = self.train_step(inputs, clock)
            self.changing = list(before.changed()) if before else []
            if not self.completed and (unread := list(self.networks.unread_conditions())):
                raise RecipeError(unread, self.plan.recipe.name)
            if not self.skipped:
                self.task_sampler.update(clock, self.objective.diagnostics)
            self.completed += 1
            yield self.completed, losses

    @contextmanager
    def translating(self) -> Iterator[Networks]:
        """Yield the networks that translate: in evaluation mode, with averaged weights where there is an average."""
        with self.networks.evaluating() if self.average is None else nullcontext():
            yield self.networks if self.average is None else Networks(self.plan, self.networks.device, self.average)

    @torch.enable_grad()  # whatever the code around it has set
    def train_step(self, micro_batches: list[BatchInputs], clock: Clock) -> dict[str, Tensor]:
        """Train one step; return its losses, unweighted.

        Each phase that is due updates its networks once, by the mean gradient over the micro-batches. If a loss or a
        gradient is not finite, the step is `skipped`, and what it has changed is put back: see `NonFiniteGuard`.
        """
        rank = self.processes.rank if self.processes else 0
        self._seed(stable_hash(self.plan.recipe.train.seed, "step", clock.step, rank))
        self.optimizers.norms = {}
        self.objective.diagnostics.begin(logged=self.plan.recipe.train.logs(clock.step + 1))
        self.objective.first_step = not self.completed
        due = [phase for phase in self.plan.stage_at(clock.step).phases if (clock.step + 1) % phase.every == 0]
        sharing = phases_sharing_nodes(due, len(micro_batches))
        shared: list[Step | None] = [None] * len(micro_batches)
        losses: dict[str, Tensor] = {}
        guard = NonFiniteGuard(self.networks, self.objective.history, self.objective.loss_buffers)
        self.networks.freeze(self.plan.stage_at(clock.step))
        self.networks.begin_step()
        for phase in due:
            sum_of_totals = torch.zeros((), device=self.networks.device)
            trained = self.plan.trained(phase)
            self.optimizers.zero_grad(trained)
            with self.networks.phase(tf32=self._rounds(phase, clock)):
                for i, inputs in enumerate(micro_batches):
                    if phase in sharing:
                        step = shared[i] = shared[i] or self.objective.compute_nodes(inputs, sharing, clock)
                    else:
                        step = self.objective.compute_nodes(inputs, [phase], clock)
                    self.networks.set_trainable(trained)
                    total, values = self.objective(phase, step, clock)
                    if total is not None:
                        sum_of_totals = sum_of_totals + total.detach()
                        if total.requires_grad:
                            with differentiating(phase, values):
                                scaled = self.optimizers.scaler.scale(total / len(micro_batches))
                                scaled.backward()  # type: ignore[no-untyped-call]
                    if len(micro_batches) > 1:
                        step.detach()
                    for name, value in values.items():
                        losses[name] = losses.get(name, 0.0) + value / len(micro_batches)
            self.objective.loss_buffers.commit()
            if not self.completed:
                self.networks.check_parameters("a step")
                self.unreached |= {name: phase.side for name in trained if self._is_unreached(name)}
            self.optimizers.step(trained, clock, sum_of_totals, guard)
        self._skipped += torch.stack([guard.not_finite, guard.loss_not_finite])
        if self.waits:
            self.skipped = int(guard.failed())
            if self.skipped:
                guard.restore()
                return losses
        else:
            guard.restore_where_failed()
        if self.average and any(phase.side == "generator" for phase in due):
            self.average.decay = self.plan.recipe.train.ema.at_clock(clock)
            self.average.update()
        self.objective.augmenter.adapt(clock)
        return losses

    def _seed(self, seed: int) -> None:
        """Seed all global random numbers: dropout has torch's, and plugins may have others, though `rng` is for them.

        So a resumed run goes on with the same ones, and no two processes have the same.
        """
        if self.networks.device.type == "cpu":
            torch.default_generator.manual_seed(seed >> 1)  # `torch.manual_seed` takes a millisecond to look for others
        else:
            torch.manual_seed(seed >> 1)
        random.seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)

    def _is_unreached(self, network: str) -> bool:
        """Return whether a network that a phase is to train has no gradient."""
        own = [parameter for parameter in self.networks.trainable(network) if parameter.requires_grad]
        return bool(own) and all(parameter.grad is None for parameter in own)

    def _rounds(self, phase: Phase, clock: Clock) -> bool:
        """Return whether a phase may use TF32: the recipe wants it, and no loss asks for full precision."""
        if not self.plan.recipe.train.tf32:
            return False
        due = (term for term, _ in self.plan.terms_of(phase, clock) if self.plan.is_due(term, phase, clock))
        return not any("discriminator" in term.arguments for term in due)

    def count_skipped(self) -> tuple[int, int]:
        """Return how many steps were skipped since the last call, and of how many of them a loss was not finite.

        Waits for the device.
        """
        count, by_loss = map(int, self._skipped.tolist())
        self._skipped.zero_()
        return count, by_loss


def phases_sharing_nodes(due: list[Phase], micro_batches: int) -> list[Phase]:
    """Return the phases of a step that share their nodes: discriminator phases, and the first generator phase.

    With micro-batches, an autograd graph that waits for a later phase would keep every micro-batch's memory: then
    discriminator phases that come first compute nodes of their own.
    """
    first = next((phase for phase in due if phase.side == "generator"), None)
    waits = micro_batches > 1 and due[:1] != [first]
    return [p for p in due if not p.recompute and (p.side == "discriminator" or (p is first and not waits))]
