"""One training and its folder: what stands around the loop. Saving, showing, measuring, resuming and stopping."""

import json
import platform
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import transgan
from transgan import runs
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.engine.audit import Heed, audit
from transgan.engine.balance import in_words
from transgan.engine.best import Best
from transgan.engine.evaluate import Evaluation, preview
from transgan.engine.finish import finish, write_text
from transgan.engine.guard import Guardian, Verdict
from transgan.engine.guard_acts import check, fall_back, go_back, heed, skip
from transgan.engine.loop import Engine
from transgan.engine.networks import Networks
from transgan.engine.processes import Processes
from transgan.engine.progress import Progress
from transgan.engine.saving import (
    check_replicas,
    finite,
    load_tensors,
    restore,
    state_of,
    tensors_of,
)
from transgan.engine.start import start_networks
from transgan.engine.state import roles
from transgan.errors import INTERRUPTED, TERMINATED, DiskError, TransganError
from transgan.plan import Plan
from transgan.recipe import Document, write_recipe
from transgan.registry import Registry
from transgan.runs.advice import Adviser, Names

#: Steps between two looks for a signal that has reached another process; one process looks after every step.
AGREE_EVERY = 10
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
        self.signal = 0
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
        self.adviser = Adviser(self.guardian.names)
        self.renew()

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
            with self._logs() as log, self._listening():
                self._resume(progress, log)
                self.domains.learn()
                self._start(progress)
                self._tell("run_started")
                self._open_folder()
                code = self._train(log, progress)
                outcome = "interrupted" if code else "finished"
                if not code:
                    finish(self, progress)
                return code
        finally:
            with suppress(DiskError):
                self.note(f"{outcome} at step {self.engine.step}")
            self._tell("run_finished", outcome=outcome)

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
            self._measure(self.engine.step, log)  # a checkpoint is written before its step is measured
        for step, losses in self.engine.train(self.batches):
            last = step == train.steps
            if self.folder:
                self._tell("step_finished", step=step, losses=losses)
            code = self._stop_code(step)
            saves = bool(step % checkpoint_every == 0 or last or code)
            checks = step % check_every == 0
            if self.engine.skipped or train.logs(step) or checks or saves:
                verdict = heed(self, step, self._look(step, losses, checks, log, progress), progress)
                if verdict:
                    return verdict
            if saves:
                self.save(step)
            if code:
                return code
            if step % sample_every == 0 or last:
                self._draw(step, log, progress)
            if every and step % every == 0 and not last:
                self._measure(step, log)
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
            told = self.adviser.told  # once is enough
            verdicts = [each for each in verdicts if each.action != "warn" or (each.fault, each.where) not in told]
            told |= {(each.fault, each.where) for each in verdicts}
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
        log: "runs.MetricsLog | None",
        progress: Progress,
    ) -> list[Verdict]:
        """All that there is to say of a step, logged where it is to be."""
        verdicts = skip(self, step, losses, progress) if self.engine.skipped else []
        if self.plan.recipe.train.logs(step):
            verdicts += self._log(step, losses, log, progress)
        if checks:
            verdicts += check(self, step, log)
        return verdicts if finite(self.engine) else [self.guardian.weights(), *verdicts]

    def _stop_code(self, step: int) -> int:
        """The exit code if any process was told to stop: all of them learn of it at the same step."""
        if self.processes.world == 1 or step % AGREE_EVERY == 0:
            return self.processes.largest(self.signal)
        return 0

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the run after the step and a checkpoint; a second one ends it at once."""

        def note(number: int, frame: Any) -> None:
            if self.signal:
                raise KeyboardInterrupt
            self.signal = INTERRUPTED if number == signal.SIGINT else TERMINATED

        old = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in old.items():
                signal.signal(each, handler)

    @contextmanager
    def _logs(self) -> Iterator["runs.MetricsLog | None"]:
        if not self.folder:
            yield None
            return
        with runs.MetricsLog(self.folder.metrics) as log:
            yield log

    def _tell(self, hook: str, **arguments: Any) -> None:
        """Calls a lifecycle hook of every plugin, on the main process."""
        if self.processes.main:
            getattr(self.registry.hook, hook)(run=self, **arguments)

    def _open_folder(self) -> None:
        if self.folder:
            if not self.folder.recipe.exists():  # what is there knows better where each value came from
                write_text(self.folder.recipe, write_recipe(self.document, self.plan.filled))
            environment = {
                "transgan": transgan.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
                "platform": platform.platform(),
                "device": str(self.processes.device),
                "processes": self.processes.world,
                "plugins": self.plan.plugins,
            }
            write_text(self.folder.path / "env.json", json.dumps(environment, indent=2) + "\n")
            self.note(f"begins at step {self.engine.step} of {self.plan.recipe.train.steps} on {environment['device']}")

    def save(self, step: int) -> None:
        """A checkpoint. A full disk is told and outlived three times, since older checkpoints are untouched."""
        failure: TransganError | None = None
        check_replicas(self.engine, self.processes)
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
                self._tell("checkpoint_saved", step=step, path=path)
            except DiskError as error:
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

    def _resume(self, progress: Progress, log: "runs.MetricsLog | None") -> None:
        checkpoint, rejected = runs.newest(self.path / "checkpoints")
        for line in rejected:
            progress.say(f"passing over a damaged checkpoint: {line}")
            self.note(f"passed over {line}")
        step = checkpoint.step if checkpoint else 0
        if self.processes.share(step) != step:
            raise DiskError(
                f"{self.path}: process {self.processes.rank} does not see the main process's checkpoints here; "
                "the run folder must lie on a disk that all machines share"
            )
        if checkpoint is None and rejected:
            raise DiskError(f"{self.path}: none of its checkpoints is whole; start anew in another --out")
        if checkpoint is None:
            return
        if checkpoint.state["guard"]["fell"] >= 0:
            fall_back(self)
        restore(checkpoint, self.engine, self.domains, self.best, self.guardian)
        engine = self.engine
        if log:
            log.rewind(engine.step)
            self.adviser = Adviser(self.adviser.names, runs.read_metrics(log.path))
        progress.say(f"resuming {self.path} at step {engine.step} of {self.plan.recipe.train.steps}")

    def _start(self, progress: Progress) -> None:
        """Before the first step, networks may take something from the data."""
        engine = self.engine
        if not engine.step and start_networks(self.plan, engine.networks.networks, self.domains, self.processes):
            progress.say("networks have started from the training data")
            if engine.average:
                load_tensors(engine.average.networks, tensors_of(engine.networks.networks), self.path)

    def _draw(self, step: int, log: "runs.MetricsLog | None", progress: Progress) -> None:
        if self.folder:
            with self.translating() as networks:
                columns = preview(self.plan, self.domains, networks, 6, self.processes.device)
                heeded = audit(self.plan, self.domains, networks, 4, self.processes.device)
            media = self.domains.media_at(self.plan.stages[-1].size)
            path = media.preview(columns, self.folder.samples / f"step-{step:08d}")
            self._tell("samples_drawn", step=step, path=path)
            self._tell_conditions(step, heeded, log, progress)

    def _tell_conditions(
        self, step: int, heeded: list[Heed], log: "runs.MetricsLog | None", progress: Progress
    ) -> None:
        """Logs how far conditions change outputs; after the first tenth of the run those that do not are warned of."""
        if log and heeded:
            log.write({"step": step, **{f"condition/{each.name}": float(f"{each.of_change:.6g}") for each in heeded}})
        for each in heeded:
            if each.none and step > self.plan.recipe.train.steps / 10 and each.name not in self.told:
                self.told.add(each.name)
                progress.say(f"warning: step {step}: {each}")
                self.note(f"warning: step {step}: {each}")

    def _measure(self, step: int, log: "runs.MetricsLog | None") -> dict[str, dict[str, float]]:
        if not self.folder:
            return {}
        with self.translating() as networks:
            result = self.evaluation(networks, self.best.metrics)
            if self.best.figure:
                self.best.see(step, result, networks.networks)
        if log:
            flat = {
                f"{translation}/{name}": value for translation, each in result.items() for name, value in each.items()
            }
            log.write({"step": step, **flat})
        return result
