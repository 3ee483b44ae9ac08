"""One training and its folder: the loop, and when what stands around it happens: watching, saving, showing, ending."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch import Tensor

from transgan import runs
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.engine.balance import in_words
from transgan.engine.begin import begin
from transgan.engine.best import Best
from transgan.engine.evaluate import Evaluation
from transgan.engine.finish import finish
from transgan.engine.guard import Guardian, Verdict
from transgan.engine.guard_acts import check, go_back, heed, skip
from transgan.engine.loop import Engine
from transgan.engine.networks import Networks
from transgan.engine.processes import Processes
from transgan.engine.progress import Progress
from transgan.engine.saving import check_replicas, finite, state_of
from transgan.engine.show import draw, measure
from transgan.engine.signals import Signals
from transgan.engine.state import roles
from transgan.errors import DiskError, TransganError
from transgan.plan import Plan
from transgan.recipe import Document
from transgan.registry import Registry
from transgan.runs.advice import Adviser, Record
from transgan.runs.faults import Names

#: What the guardian may ask for that needs a good checkpoint.
GOING_BACK = {"rollback", "fallback"}


class Run:
    """A run that was planned, from its first step or from its newest checkpoint to its end.

    Args:
        folder: where everything goes; opened by the main process alone (None on others).
        domains: the plan's, if they were found already.
    """

    def __init__(
        self,
        document: Document,
        plan: Plan,
        registry: Registry,
        processes: Processes,
        folder: runs.RunFolder | None,
        domains: Domains | None = None,
    ):
        self.registry = registry
        self.processes = processes
        self.folder = folder
        self.path: Path = Path(processes.share(str(folder.path) if folder else ""))
        self.domains = domains or Domains(plan)
        self.adopt(document, plan)
        self.signals = Signals(processes)
        self.failed_saves = 0
        self.told: set[str] = set()

    def adopt(self, document: Document, plan: Plan) -> None:
        """Takes a plan to go by."""
        self.document = document
        self.plan = plan
        processes = self.processes
        self.batches = Batches(plan, self.domains, processes.rank, processes.world, processes.device)
        self.evaluation = Evaluation(plan, self.domains, processes.device)
        self.guardian = Guardian(plan.recipe.guard, Names(**roles(plan)))
        self.adviser = self.listener()
        self.renew()

    def listener(self, records: Sequence[Record] = ()) -> Adviser:
        """One to say what the guardian does not, after the records so far."""
        return Adviser(self.guardian.names, self.plan.recipe.guard, records)

    def renew(self) -> None:
        """Everything as it is before the first step."""
        self.engine = Engine(self.plan, self.processes)
        self.best = Best(self.plan)

    @contextmanager
    def translating(self) -> Iterator[Networks]:
        """The networks as they translate: without dropout, and the moving average of the weights where there is one."""
        average = self.engine.average
        if average:
            yield Networks(self.plan, self.processes.device, average.networks)
            return
        for network in self.engine.networks.networks.values():
            network.eval()
        try:
            yield self.engine.networks
        finally:
            for network in self.engine.networks.networks.values():
                network.train()

    def go(self, progress: Progress) -> int:
        """Trains to the end; returns the exit code: 0, or that of the signal that ended it early."""
        outcome = "failed"
        try:
            with self._logs() as log, self.signals.heard():
                begin(self, log, progress)
                code = self._train(log, progress)
                outcome = "interrupted" if code else "finished"
                if not code:
                    finish(self, progress)
                return code
        finally:
            with suppress(DiskError):
                self.note(f"{outcome} at step {self.engine.step}")
            self.tell("run_finished", outcome=outcome)

    def _train(self, log: "runs.MetricsLog | None", progress: Progress) -> int:
        while isinstance(outcome := self._steps(log, progress), Verdict):
            go_back(self, outcome, log, progress)
        return outcome

    def _steps(self, log: "runs.MetricsLog | None", progress: Progress) -> int | Verdict:
        """Trains to the end, to a signal, whose exit code is returned, or until the run has to go back."""
        train, guard = self.plan.recipe.train, self.plan.recipe.guard
        check_every = guard.check_every or max(100, train.steps // 50)
        if guard.wanted & GOING_BACK and not self.engine.step and self.guardian.good < 0:
            self.save(0)  # to go back to while there is nothing else
        sample_every = train.sample_every or max(1, train.steps // 10)
        checkpoint_every = train.checkpoint_every or max(1, min(2000, train.steps // 10))
        every = self.plan.recipe.evaluate.every
        if self.best.figure and 0 < self.engine.step < train.steps and self.engine.step % every == 0:
            measure(self, self.engine.step, log)  # a checkpoint is written before its step is measured
        for step, losses in self.engine.train(self.batches):
            last = step == train.steps
            if self.folder:
                self.tell("step_finished", step=step, losses=losses)
            code = self.signals.stop_code(step)
            saves = bool(step % checkpoint_every == 0 or last or code)
            checks = step % check_every == 0
            if self.engine.skipped or train.logs(step) or checks or saves:
                verdict = heed(self, step, self._look(step, losses, checks, saves, log, progress), progress)
                if verdict:
                    return verdict
            if saves:
                self.save(step)
            if code:
                return code
            if step % sample_every == 0 or last:
                draw(self, step, log, progress)
            if every and step % every == 0 and not last:
                measure(self, step, log)
        return 0

    def _log(
        self, step: int, losses: Mapping[str, Tensor], log: "runs.MetricsLog | None", progress: Progress
    ) -> list[Verdict]:
        """Logs a step; returns what the guardian makes of it."""
        engine = self.engine
        figures = {**engine.objective.state.figures(), **engine.objective.augmenter.figures()}
        norms = {f"|{name}": norm for name, norm in engine.optimizers.norms.items()}
        read = self.processes.mean({**losses, **figures, **norms})
        watched, verdicts = self.guardian.look(step, read, {name[1:]: read.pop(name) for name in norms})
        values = {name: read.pop(name) for name in losses}
        read |= engine.balance.figures() | watched
        if log:
            clock = self.batches.clock(step)
            rates = {
                side: getattr(self.plan.stage_at(max(0, step - 1)).optimizers, side).lr.at_clock(clock)
                * engine.optimizers.factor
                for side in ("generator", "discriminator")
            }
            weights = {f"weight/{name}": self.plan.weight(name, clock) for name in self.plan.losses}
            record = {
                "step": step,
                "epoch": round(clock.epoch, 4),
                "time": round(time.time(), 3),
                **{f"lr/{side}": rate for side, rate in rates.items()},
                **weights,
                **{name: float(f"{value:.6g}") for name, value in {**values, **read}.items()},
            }
            log.write(record)
            for advice in self.adviser.hear(record):
                progress.say(f"step {step}: {advice}")
                self.note(f"step {step}: {advice}")
        for path, why in ((p, w) for domain in self.domains.values() for p, w in domain.unreadable.items()):
            if path not in self.told:
                self.told.add(path)
                progress.say(f"warning: replaced by another sample: {why}")
                self.note(f"replaced by another sample: {why}")
        progress.step(step, values, in_words(read))
        return verdicts

    def _look(
        self,
        step: int,
        losses: Mapping[str, Tensor],
        checks: bool,
        saves: bool,
        log: "runs.MetricsLog | None",
        progress: Progress,
    ) -> list[Verdict]:
        """All that there is to say of a step, logged where it is to be; weights are looked at before they are saved."""
        verdicts = skip(self, step, losses, progress) if self.engine.skipped else []
        if self.plan.recipe.train.logs(step):
            verdicts += self._log(step, losses, log, progress)
        if checks:
            verdicts += check(self, step, log)
        return [self.guardian.weights(), *verdicts] if saves and not finite(self.engine) else verdicts

    @contextmanager
    def _logs(self) -> Iterator["runs.MetricsLog | None"]:
        if not self.folder:
            yield None
            return
        with runs.MetricsLog(self.folder.metrics) as log:
            yield log

    def tell(self, hook: str, **arguments: Any) -> None:
        """Calls a lifecycle hook of every plugin, on the main process."""
        if self.processes.main:
            getattr(self.registry.hook, hook)(run=self, **arguments)

    def save(self, step: int) -> None:
        """A checkpoint. A full disk is told and outlived three times, since older checkpoints are untouched."""
        failure: TransganError | None = None
        check_replicas(self.engine, self.processes)
        good = self.guardian.good
        if self.guardian.healthy:
            self.guardian.good = step
        groups, state = self.state()  # on every process: some of it is gathered
        if self.folder:
            spare = self.guardian.good if self.guardian.rules.wanted & GOING_BACK else None
            try:
                keep = self.plan.recipe.train.keep
                path = runs.save(self.folder.checkpoints, step, groups, state, keep=keep, spare=spare)
                self.failed_saves = 0
                self.note(f"step {step}: checkpoint {path.name}")
                self.tell("checkpoint_saved", step=step, path=path)
            except DiskError as error:
                self.guardian.good = good
                self.failed_saves += 1
                if self.failed_saves >= 3 or step == self.plan.recipe.train.steps:
                    failure = error
                else:
                    self.note(f"step {step}: no checkpoint: {error}; trying again at the next one")
            except TransganError as error:
                failure = error
        if failure := self.processes.share(failure):
            raise failure

    def note(self, text: str) -> None:
        """A line of log.txt."""
        if self.folder:
            with runs.TextLog(self.folder.log) as log:
                log.write(text)

    def state(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """All that the run is, as tensors by group and name and a JSON object."""
        groups, state = state_of(self.engine, self.domains, self.best, self.guardian)
        return groups, {**state, "samples": self.batches.samples_before(self.engine.step)}
