"""The life of a run, from top to bottom: begin, train, log, check, save, preview, evaluate, go back, end."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from transgan import storage
from transgan.api.hooks import RunInfo
from transgan.data.batches import Batches
from transgan.data.domains import Domains, statistics_tensors
from transgan.errors import DiskError, DivergedError, TransganError
from transgan.evaluation.conditions import ConditionEffect, effects_table, measure_effects
from transgan.evaluation.evaluate import Evaluation, preview_columns
from transgan.inference.model_folder import STATISTICS, model_card, model_config
from transgan.monitoring.advice import Adviser, advise
from transgan.monitoring.detect import in_held_out
from transgan.monitoring.diagnostics import loss_roles
from transgan.monitoring.faults import LossRoles
from transgan.monitoring.guardian import Guardian, Verdict
from transgan.networks import Networks, network_tensors
from transgan.plan import Plan, make_plan
from transgan.plan.fallback import with_fallback
from transgan.recipe import Document, write_recipe
from transgan.registry import Registry
from transgan.reporting.console import Progress
from transgan.reporting.html import write_report
from transgan.training.checkpoint import (
    TrainingState,
    all_finite,
    check_replicas,
    upgrade_checkpoint,
    without_objective,
)
from transgan.training.distributed import Processes, StopRequests
from transgan.training.engine import Engine
from transgan.training.initialization import init_from_data
from transgan.training.model_weights import BestWeights
from transgan.training.task_sampler import describe_tasks

#: Actions of the guardian that need a good checkpoint.
GOING_BACK = {"rollback", "fallback"}


class Trainer:
    """A planned run, from its first step or its newest checkpoint to its end.

    Args:
        document: the recipe, and where it was written.
        folder: the run folder, opened by the main process; None on the others.
        domains: the plan's, if they were found already.
    """

    def __init__(
        self,
        document: Document,
        plan: Plan,
        registry: Registry,
        processes: Processes,
        folder: storage.RunFolder | None,
        domains: Domains | None = None,
    ):
        self.registry = registry
        self.processes = processes
        self.folder = folder
        self.path: Path = Path(processes.broadcast(str(folder.path) if folder else ""))
        self.domains = domains or Domains(plan)
        self.stop_requests = StopRequests(processes)
        self.failed_saves = 0
        self.losses: Mapping[str, Tensor] = {}
        self.figures: Mapping[str, Mapping[str, float]] = {}
        self.set_plan(document, plan)

    def set_plan(self, document: Document, plan: Plan) -> None:
        """Train by this plan from now on."""
        self.document, self.plan = document, plan
        processes = self.processes
        self.batches = Batches(plan, self.domains, processes.rank, processes.world, processes.device)
        self.evaluation = Evaluation(plan, self.domains, processes.device)
        self.reset()

    def reset(self) -> None:
        """Set everything in a checkpoint to its state before the first step. What is new here belongs in `state`."""
        roles = LossRoles(**loss_roles(self.plan))
        self.engine = Engine(self.plan, self.processes)
        self.best = BestWeights(self.plan)
        self.guardian = Guardian(self.plan.recipe.guard, roles)
        self.adviser = Adviser(roles, self.plan.recipe.guard)
        engine = self.engine
        self.state = TrainingState(
            {
                "networks": engine.networks,
                "optimizers": engine.optimizers,
                **({"ema": engine.average} if engine.average else {}),
                "history": engine.objective.history,
                "loss_buffers": engine.objective.loss_buffers,
                "task_sampler": engine.task_sampler,
                "best": self.best,
                "statistics": self.domains,
                "guardian": self.guardian,
                "adviser": self.adviser,
            },
            self.processes.device,
        )

    def fit(self, progress: Progress) -> int:
        """Train to the end; return the exit code: 0, or that of the signal that ended the run early."""
        self.progress = progress
        outcome = "failed"
        try:
            with self._open_metrics() as self.metrics, self.stop_requests.handling_signals():
                self._begin()
                code = self._train()
                if code in (0, StopRequests.BY_HOOK):
                    self._end()
                    outcome = "stopped" if code else "finished"
                    return 0
                outcome = "interrupted"
                return code
        finally:
            with suppress(DiskError):
                self.log(f"{outcome} at step {self.engine.completed}")
            self.call_hook("run_finished", outcome=outcome)

    # Begin.

    def _begin(self) -> None:
        """Go on from the newest checkpoint, or initialise the networks; write down what is being run."""
        self._resume()
        self.domains.fit_statistics()
        if not self.engine.completed and init_from_data(self.engine.networks, self.domains, self.processes):
            self.progress.message("networks were initialised from the training data")
            if self.engine.average:
                self.engine.average.copy_sources()
            if self.best.figure:
                self._evaluate(0)  # training has to improve on it
        self.call_hook("run_started")
        if self.folder:
            if not self.folder.recipe.exists():  # an existing one says better where each value was written
                storage.write_text(self.folder.recipe, write_recipe(self.document, self.plan.filled))
            environment = {**self.processes.environment(), "plugins": self.plan.plugins}
            storage.write_text(self.folder.path / "env.json", json.dumps(environment, indent=2) + "\n")
            steps = self.plan.recipe.train.steps
            self.log(f"begins at step {self.engine.completed} of {steps} on {self.processes.device}")

    def _resume(self) -> None:
        checkpoint, rejected = storage.newest(self.path / "checkpoints")
        for line in rejected:
            self.report(f"skipping a damaged checkpoint: {line}")
        step = checkpoint.step if checkpoint else 0
        if self.processes.broadcast(step) != step:
            raise DiskError(
                f"{self.path}: process {self.processes.rank} does not see the main process's checkpoints here; "
                "the run folder must be on a disk that all machines share"
            )
        if checkpoint is None and rejected:
            raise DiskError(f"{self.path}: all of its checkpoints are damaged; start again in another folder")
        if checkpoint is None:
            return
        if upgrade_checkpoint(checkpoint).state["guardian"]["fallback_step"] >= 0:
            self._set_fallback_plan()
        self._load(checkpoint)
        if self.metrics:
            self.metrics.rewind(checkpoint.step)
            self.adviser.rewind(storage.read_metrics(self.metrics.path))
        self.progress.message(f"resuming {self.path} at step {checkpoint.step} of {self.plan.recipe.train.steps}")

    def _load(self, checkpoint: storage.Checkpoint) -> None:
        """Set a run that was reset to a checkpoint's state."""
        self.state.load_state_dict(checkpoint)
        self.engine.optimizers.lr_factor = self.guardian.lr_factor
        self.engine.completed = checkpoint.step

    # Train.

    def _train(self) -> int:
        """Train to the end; return 0, or the code of a request to stop."""
        while isinstance(outcome := self._train_until_verdict(), Verdict):
            self._go_back(outcome)
        return outcome

    def _train_until_verdict(self) -> int | Verdict:
        """Train to the end (0), to a request to stop (its code), or until the guardian wants to go back."""
        train, guard, every = self.plan.recipe.train, self.plan.recipe.guard, self.plan.recipe.evaluate.every
        check_every = guard.check_every or max(100, train.steps // 50)
        sample_every = train.sample_every or max(1, train.steps // 10)
        checkpoint_every = train.checkpoint_every or max(1, min(2000, train.steps // 10))
        completed = self.engine.completed
        if guard.possible_actions & GOING_BACK and not completed and self.guardian.good_step < 0:
            self.save(0)  # to go back to while there is no other
        if self.best.figure and 0 < completed < train.steps and completed % every == 0:
            self._evaluate(completed)  # a checkpoint is written before its step is evaluated
        for step, losses in self.engine.train(self.batches):
            self.losses = losses
            self.call_hook("step_finished")
            code = self.stop_requests.at_step(step)
            last = step == train.steps or code == StopRequests.BY_HOOK
            saves = bool(step % checkpoint_every == 0 or last or code)
            checks = step % check_every == 0
            watched = self.engine.skipped or train.logs(step) or checks or saves
            if watched and (verdict := self._apply_verdicts(step, self._check(step, checks, saves))):
                return verdict
            if saves:
                self.save(step)
            if code > StopRequests.BY_HOOK:
                return code
            if every and step % every == 0 and not last:
                self._evaluate(step)
                if not code and self.stop_requests.at_step(step) == StopRequests.BY_HOOK:
                    code, last = StopRequests.BY_HOOK, True
                    if not saves:
                        self.save(step)
            if step % sample_every == 0 or last:
                self._preview(step)
            if code:
                self.report(f"step {step}: stopped by a plugin: {self.processes.broadcast(self.stop_requests.reason)}")
                return code
        return 0

    # Log and check.

    def _check(self, step: int, checks_held_out: bool, saves: bool) -> list[Verdict]:
        """Log a step where it is due; return the guardian's verdicts. Weights are checked before they are saved."""
        verdicts = self._report_skipped(step) if self.engine.skipped else []
        if self.plan.recipe.train.logs(step):
            verdicts += self._log_step(step)
        if checks_held_out and self.folder:
            with self.translating() as networks:
                findings = list(in_held_out(self.plan, self.domains, networks, step, self.processes.device))
            record, found = self.guardian.check_held_out(step, findings)
            verdicts += found
            if record:
                self._write_metrics(step, record)
        if saves and not all_finite(self.engine.networks):
            return [self.guardian.weights_not_finite(), *verdicts]
        return verdicts

    def _report_skipped(self, step: int) -> list[Verdict]:
        bad = [name for name, value in self.losses.items() if not bool(torch.isfinite(value))]
        self.report(f"step {step}: skipped, since {', '.join(bad[:3]) or 'a gradient'} is not finite")
        verdict = self.guardian.step_skipped(step)
        return [verdict] if verdict else []

    def _log_step(self, step: int) -> list[Verdict]:
        """Write a line of metrics.jsonl and of the console; return the guardian's verdicts."""
        engine, clock = self.engine, self.batches.clock(step)
        figures = {**engine.objective.diagnostics.figures(), **engine.objective.augmenter.figures()}
        norms = {f"|{name}": norm for name, norm in engine.optimizers.norms.items()}
        read = self.processes.mean({**self.losses, **figures, **norms})
        guarded, verdicts = self.guardian.check_step(step, read, {name[1:]: read.pop(name) for name in norms})
        losses = {name: read.pop(name) for name in self.losses}
        read |= engine.task_sampler.figures() | guarded
        optimizers = self.plan.stage_at(max(0, step - 1)).optimizers
        record = {
            "step": step,
            "epoch": round(clock.epoch, 4),
            "time": round(time.time(), 3),
            "lr/generator": optimizers.generator.lr.at_clock(clock) * engine.optimizers.lr_factor,
            "lr/discriminator": optimizers.discriminator.lr.at_clock(clock) * engine.optimizers.lr_factor,
            **{f"weight/{name}": self.plan.weight(name, clock) for name in self.plan.losses},
            **{name: float(f"{value:.6g}") for name, value in {**losses, **read}.items()},
        }
        if self.metrics:
            self.metrics.write(record)
            for advice in self.adviser.update(record):
                self.report(f"step {step}: {advice}")
        for path, why in ((p, w) for domain in self.domains.values() for p, w in domain.unreadable.items()):
            if self.adviser.is_new(path):
                self.report(f"warning: replaced by another sample: {why}")
        self.progress.step(step, losses, describe_tasks(read))
        return verdicts

    def _apply_verdicts(self, step: int, verdicts: list[Verdict]) -> Verdict | None:
        """Report faults; return the verdict for which the run goes back.

        Raises:
            DivergedError: the run has to end.
        """
        guardian = self.guardian
        for verdict in self.processes.broadcast(verdicts):
            if verdict.action == "fallback" or (
                verdict.action == "rollback" and guardian.rollbacks < guardian.rules.rollbacks
            ):
                found: Verdict = verdict
                return found
            text = f"step {step}: {verdict}"
            if verdict.action != "warn":
                good = f"; the newest good one is of step {guardian.good_step}" if guardian.good_step >= 0 else ""
                raise DivergedError(f"{text}. Stopped, as [guard] says; {self.path} keeps its checkpoints{good}")
            guardian.events.append(text)
            self.report(f"warning: {text}")
        return None

    # Save.

    def save(self, step: int) -> None:
        """Write a checkpoint. A full disk is survived twice in a row, since earlier checkpoints are not touched.

        Raises:
            DiskError: it could not be written for the third time in a row, or at the last step.
            DivergedError: a tensor is not finite, or the processes hold different weights.
        """
        failure: TransganError | None = None
        check_replicas(self.engine.networks, self.processes, step)
        good = self.guardian.good_step
        if self.guardian.healthy:
            self.guardian.good_step = step
        groups, state = self.state.state_dict()  # on every process: some of it is gathered
        state |= {"step": step, "samples": self.batches.samples_before(step)}
        if self.folder:
            spare = self.guardian.good_step if self.guardian.rules.possible_actions & GOING_BACK else None
            try:
                keep = self.plan.recipe.train.keep
                path = storage.save(self.folder.checkpoints, step, groups, state, keep=keep, spare=spare)
                self.failed_saves = 0
                self.log(f"step {step}: checkpoint {path.name}")
                self.call_hook("checkpoint_saved", path=path)
            except DiskError as error:
                self.guardian.good_step = good
                self.failed_saves += 1
                if self.failed_saves >= 3 or step == self.plan.recipe.train.steps:
                    failure = error
                else:
                    self.log(f"step {step}: no checkpoint: {error}; trying again at the next one")
            except TransganError as error:
                failure = error
        if failure := self.processes.broadcast(failure):
            raise failure

    # Preview and evaluate.

    @contextmanager
    def translating(self) -> Iterator[Networks]:
        """Yield the networks that translate: in evaluation mode, with averaged weights where there is an average."""
        average, networks = self.engine.average, self.engine.networks
        with networks.evaluating() if average is None else nullcontext():
            yield networks if average is None else Networks(self.plan, self.processes.device, average)

    def _preview(self, step: int) -> None:
        """Write translations side by side to samples/, and log how far conditions change them."""
        if not self.folder:
            return
        with self.translating() as networks:
            columns = preview_columns(self.plan, self.domains, networks, 6, self.processes.device)
            effects = measure_effects(self.plan, self.domains, networks, 4, self.processes.device)
        media = self.domains.media_at(self.plan.stages[-1].size)
        path = media.preview(columns, self.folder.samples / f"step-{step:08d}")
        self.call_hook("samples_saved", path=path)
        if effects:
            self._write_metrics(step, {f"condition/{each.name}": float(f"{each.of_change:.6g}") for each in effects})
        for each in effects:  # the first tenth of a run says little about conditions
            if each.invisible and step > self.plan.recipe.train.steps / 10 and self.adviser.is_new(each.name):
                self.report(f"warning: step {step}: {each}")

    def _evaluate(self, step: int) -> None:
        """Measure held-out samples during the run; keep the weights if they are the best so far."""
        if not self.folder:
            return
        with self.translating() as networks:
            self.figures = self.evaluation(networks, self.best.metrics)
            if self.best.figure:
                self.best.update(step, self.figures, networks)
        self._write_metrics(
            step, {f"{where}/{name}": value for where, each in self.figures.items() for name, value in each.items()}
        )
        self.call_hook("evaluated")

    # Go back.

    def _go_back(self, verdict: Verdict) -> None:
        """Load the newest good checkpoint, and go on with lower learning rates or the fallback objective."""
        at = self.engine.completed
        good = self.processes.broadcast(self.guardian.good_step)  # the main process alone checks held-out samples
        checkpoint = storage.load(self.path / "checkpoints" / f"step-{good:08d}")
        if verdict.action == "fallback":
            checkpoint = without_objective(checkpoint, self.plan)
            self._set_fallback_plan()
        else:
            self.reset()
        self._load(checkpoint)
        guardian, step = self.guardian, checkpoint.step
        text = f"step {at}: {verdict}. Back at step {step}, and on "
        if verdict.action == "fallback":
            guardian.fell_back(step)
            text += f"with {', '.join(self.plan.losses)}"
        else:
            guardian.rolled_back(step)
            text += f"with learning rates times {guardian.lr_factor:g}"
        self.engine.optimizers.lr_factor = guardian.lr_factor
        guardian.events.append(text)
        self.report(text)
        if self.metrics:
            self.metrics.rewind(step)
            figures = {f"guard/{verdict.action}": 1, "guard/from": at, "guard/lr_factor": guardian.lr_factor}
            self._write_metrics(step, figures)
            self.adviser.rewind(storage.read_metrics(self.metrics.path))
        self.save(step)

    def _set_fallback_plan(self) -> None:
        document = with_fallback(self.document, self.plan.losses)
        self.set_plan(document, make_plan(document, self.registry))
        if self.folder:
            storage.write_text(self.folder.fallback, write_recipe(document, self.plan.filled))

    # End.

    def _end(self) -> None:
        """Write the model, its figures and the report."""
        if not self.folder:
            return
        plan, step = self.plan, self.engine.completed
        if plan.metrics:
            self.progress.message("measuring held-out samples")
        with self.translating() as networks:
            if self.best.figure:
                self.best.update(step, self.evaluation(networks, self.best.metrics), networks)
                if self.best.tensors:
                    self.best.copy_to(networks)
                    self.progress.message(f"keeping the model of step {self.best.step}, the best by {self.best.figure}")
            self.figures = self.evaluation(networks) if plan.metrics else {}
            effects = measure_effects(plan, self.domains, networks, 16, self.processes.device)
            tensors = network_tensors({name: networks[name] for name in plan.generator_side})
        self.call_hook("evaluated")
        result = self._result(effects)
        tensors |= statistics_tensors(self.domains.statistics, STATISTICS)
        card = model_card(plan, self.domains, result)
        storage.write_model(self.folder.model, tensors, model_config(plan, step, self.domains), card)
        storage.write_text(self.folder.result, json.dumps(result, indent=2) + "\n")
        write_report(self.folder, plan.recipe.name, result)
        for line in result["advice"]:
            self.progress.message(line)
        self.progress.result(result, self.folder)

    def _result(self, effects: list[ConditionEffect]) -> dict[str, Any]:
        """Return the content of result.json."""
        assert self.folder is not None
        plan, records = self.plan, storage.read_metrics(self.folder.metrics)
        return {
            "recipe": plan.recipe.name,
            "steps": self.engine.completed,
            **({"kept": self.best.step} if self.best.figure else {}),
            "seed": plan.recipe.train.seed,
            "held_out": all(domain.held_out for domain in self.domains.values()),
            "translations": self.figures,
            "protocols": {k: v for metric in plan.metrics.values() for k, v in metric.protocol().items()},
            "conditions": effects_table(effects),
            "warnings": [str(each) for each in effects if each.invisible],
            "advice": [str(each) for each in advise(records, self.guardian.roles, plan.recipe.guard)],
            "guard": self.guardian.events,
        }

    # Logs and hooks.

    @contextmanager
    def _open_metrics(self) -> Iterator["storage.MetricsLog | None"]:
        with storage.MetricsLog(self.folder.metrics) if self.folder else nullcontext() as metrics:
            yield metrics

    def _write_metrics(self, step: int, figures: Mapping[str, float]) -> None:
        if self.metrics:
            self.metrics.write({"step": step, **figures})

    def log(self, text: str) -> None:
        """Write a line of log.txt."""
        if self.folder:
            with storage.TextLog(self.folder.log) as log:
                log.write(text)

    def report(self, text: str) -> None:
        """Print a line, and write it to log.txt."""
        self.progress.message(text)
        self.log(text)

    def call_hook(self, hook: str, **arguments: Any) -> None:
        """Call a lifecycle hook of every plugin, on the main process."""
        if self.processes.main:
            run = RunInfo(
                name=self.plan.recipe.name,
                folder=self.path,
                step=self.engine.completed,
                steps=self.plan.recipe.train.steps,
                losses=self.losses,
                figures=self.figures,
                request_stop=self.stop_requests.request,
            )
            getattr(self.registry.hook, hook)(run=run, **arguments)
