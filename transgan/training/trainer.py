"""The life of a run: the training loop, then how a run begins, saves, previews, evaluates, goes back and ends."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from transgan import storage
from transgan.api.protocols import RunInfo
from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.errors import MEASURING_REMEDY, TRAINING_REMEDY, DiskError, TransganError, as_user_error
from transgan.evaluation.conditions import ConditionEffect, measure_effects
from transgan.evaluation.evaluate import Evaluation, preview_columns
from transgan.inference.model_folder import model_config
from transgan.monitoring.advice import Adviser
from transgan.monitoring.diagnostics import loss_roles
from transgan.monitoring.faults import LossRoles
from transgan.monitoring.guardian import Guardian, Verdict
from transgan.plan import Plan, make_plan
from transgan.plan.fallback import with_fallback
from transgan.plugin_files import contents
from transgan.recipe import Document, write_recipe
from transgan.registry import Registry
from transgan.reporting.commands import State
from transgan.reporting.console import Progress
from transgan.reporting.html import Report
from transgan.text import printable
from transgan.training.checkpoint import (
    TrainingState,
    check_replicas,
    upgrade_checkpoint,
    without_objective,
)
from transgan.training.distributed import Interrupted, Processes, StopRequests, peak_memory
from transgan.training.engine import Engine
from transgan.training.failures import RunHooks
from transgan.training.initialization import init_from_data
from transgan.training.model_weights import BestWeights
from transgan.training.outputs import model_tensors, result_of, write_outputs
from transgan.training.resuming import recipe_table
from transgan.training.run_log import RunLog
from transgan.training.step_checks import StepChecks
from transgan.training.transfer import InitialWeights

#: Actions of the guardian that need a good checkpoint.
GOING_BACK = {"rollback", "fallback"}


class Trainer:
    """A planned run, from its first step or its newest checkpoint to its end.

    Args:
        document: the recipe, and where it was written.
        folder: the run folder, opened by the main process; None on the others.
        domains: the plan's, if they were found already.
        initial_weights: those that a new run begins with in place of random ones.
        traced: whether a trace has said what the run trains; else the first step does.
        warnings: what was reported before there was a log.
    """

    def __init__(
        self,
        document: Document,
        plan: Plan,
        registry: Registry,
        processes: Processes,
        folder: storage.RunFolder | None,
        domains: Domains | None = None,
        initial_weights: InitialWeights | None = None,
        traced: bool = True,
        warnings: Sequence[str] = (),
    ):
        self.registry = registry
        self.processes = processes
        self.folder = folder
        self.path: Path = Path(processes.broadcast(str(folder.path) if folder else ""))
        self.domains = domains or Domains(plan)
        self.initial_weights = initial_weights
        self.traced, self.warnings = traced, warnings
        self.stop_requests = StopRequests(processes)
        self.log = RunLog(folder, registry, lambda: self.engine.completed)
        self.hooks = RunHooks(plan.hooks, self.log.hook_failed)
        self.saved = (0, time.monotonic())
        """The step of the newest checkpoint that was written, and when."""
        self.published = -1
        """The step of the model folder that was written."""
        self.losses: Mapping[str, Tensor] = {}
        self.figures: Mapping[str, Mapping[str, float]] = {}
        self.recipe_table = recipe_table(plan)
        self.plugin_files = contents(plan.plugins)
        """What a checkpoint says of the recipe that it belongs to: the one before a fallback."""
        self.measuring = False
        """Whether a signal has ended the last measurement: checkpoint and model are written."""
        self.begun = False
        """Whether the run is new or goes on: where it cannot go on, its folder stays as it was."""
        self.set_plan(document, plan)

    def fit(self, progress: Progress, train: bool = True) -> int:
        """Train to the end; return the exit code: 0, or that of the signal that ended the run early.

        Args:
            train: False to end the run at its newest checkpoint, as if a plugin had asked for it.
        """
        self.progress = progress
        outcome: State = "failed"
        why = ""
        try:
            with self.log.open(progress), self.stop_requests.handling_signals():
                self._begin()
                code = self._train() if train else self._stop_here()
                if code in (0, StopRequests.BY_HOOK):
                    ended: Literal["finished", "stopped"] = "stopped" if code else "finished"
                    with self._interruptible():
                        self._end(ended)
                        outcome = ended
                        return 0
                    code, self.measuring, why = self.stop_requests.code, True, ": while measuring"
                outcome = "interrupted"
                return code
        except BaseException as error:
            known = as_user_error(error, TRAINING_REMEDY if train else MEASURING_REMEDY) or error
            why = f": {printable(known) or type(known).__name__}"
            raise
        finally:
            if self.begun:
                self._note_end(outcome, why)
            self.call_hook("run_finished", outcome=outcome)

    def _note_end(self, outcome: State, why: str) -> None:
        """Write into log and report how the run has ended, or been interrupted."""
        ended = outcome in ("finished", "stopped")
        if not ended:
            self.log.write(f"peak memory {peak_memory(self.processes.device)}")
        self.log.write(f"{outcome} at step {self.engine.completed}{why}")
        if not ended:
            self._write_report(outcome, why.removeprefix(": "))

    def _train(self) -> int:
        """Train to the end; return 0, or the code of a request to stop."""
        while isinstance(outcome := self._train_until_verdict(), Verdict):
            self._go_back(outcome)
        return outcome

    def _train_until_verdict(self) -> int | Verdict:
        """Train to the end (0), to a request to stop (its code), or until the guardian wants to go back."""
        train, guard = self.plan.recipe.train, self.plan.recipe.guard
        check_every = guard.check_every or max(100, train.steps // 50)
        checkpoint_every = train.checkpoint_every or max(1, min(2000, train.steps // 10))
        completed = self.engine.completed
        if guard.possible_actions & GOING_BACK and not completed and self.guardian.good_step < 0:
            self.save(0)  # to go back to while there is no other
        if completed and (code := self._after_step(completed, 0)):  # a checkpoint is written before that
            return code
        for step, losses in self.engine.train(self.batches):
            self.losses = losses
            self.call_hook("step_finished")
            code = self.stop_requests.at_step(step)
            last = step == train.steps or bool(code)
            saves = step % checkpoint_every == 0 or last
            held_out = step % check_every == 0
            if verdict := self.checks.after(step, losses, held_out, saves):
                return verdict
            self.log.note_position()
            if saves:
                self.save(step, must=last)
                self._publish(step)
            if code > StopRequests.BY_HOOK:
                return code
            if code := self._after_step(step, code):
                return code
        return 0

    def _after_step(self, step: int, code: int) -> int:
        """Evaluate and preview a step where that is due; return `code`, or that of a request meanwhile to stop."""
        train, every = self.plan.recipe.train, self.plan.recipe.evaluate.every
        sample_every = train.sample_every or max(1, train.steps // 10)
        last = step == train.steps or code == StopRequests.BY_HOOK
        if every and step % every == 0 and not last:
            with self._interruptible():
                self._evaluate(step)
            code = self.stop_requests.agreed()
            if code == StopRequests.BY_HOOK and not self.stop_requests.at_step(step):
                code = 0  # several processes agree later about hooks
            if code:  # a run that is resumed here evaluates this step again
                last = True
                if self.saved[0] != step:
                    self.save(step, must=True)
                if code > StopRequests.BY_HOOK:
                    if self.published != step:
                        self._publish(step)
                    return code
        if step % sample_every == 0 or last:
            self._preview(step)
        if code:
            self.log.report(f"step {step}: stopped by a plugin: {self.processes.broadcast(self.stop_requests.reason)}")
        return code

    def _stop_here(self) -> int:
        """End the run at the checkpoint that was loaded."""
        self._preview(self.engine.completed)
        return StopRequests.BY_HOOK if self.engine.completed < self.plan.recipe.train.steps else 0

    # Plan and state.

    def set_plan(self, document: Document, plan: Plan) -> None:
        """Train by this plan from now on."""
        self.document, self.plan = document, plan
        processes = self.processes
        self.batches = Batches(plan, self.domains, processes.rank, processes.world, processes.device)
        self.evaluation = Evaluation(plan, self.domains, processes.device, self.log.metric_failed)
        self.report = Report(self.folder or storage.RunFolder.at(self.path), plan)
        self.reset()

    def reset(self) -> None:
        """Set everything in a checkpoint to its state before the first step. What is new here belongs in `state`."""
        roles = LossRoles(**loss_roles(self.plan))
        self.engine = engine = Engine(self.plan, self.processes)
        if engine.networks.compiled:
            engine.networks.compiled.begins = lambda line: self.progress.message(line)
        self.evaluation.discriminators = lambda: engine.networks
        self.best = BestWeights(self.plan)
        self.guardian = Guardian(self.plan.recipe.guard, roles)
        self.adviser = Adviser(roles, self.plan.recipe.guard)
        self.log.failures.messages.clear()
        watching = self.guardian, self.adviser, self.log
        where = self.processes, self.path, self.traced
        self.checks = StepChecks(self.plan, self.domains, self.batches, engine, *watching, *where)
        self.state = TrainingState(
            {
                "networks": engine.networks,
                "optimizers": engine.optimizers,
                **({"scaler": engine.optimizers.scaler} if engine.networks.scales else {}),
                **({"ema": engine.average} if engine.average else {}),
                "history": engine.objective.history,
                "loss_buffers": engine.objective.loss_buffers,
                "task_sampler": engine.task_sampler,
                "best": self.best,
                "statistics": self.domains,
                "guardian": self.guardian,
                "adviser": self.adviser,
                "failures": self.log.failures,
            },
            self.processes.device,
        )

    # Begin.

    def _begin(self) -> None:
        """Go on from the newest checkpoint, or initialise the networks; write down what is being run."""
        resumed = self._resume()
        self.begun = not resumed
        self.domains.fit_statistics()
        if not resumed and self._initialize():
            if self.engine.average:
                self.engine.average.copy_sources()
            if self.best.figure:
                self._evaluate(0)  # training has to improve on it
        self.log.note_position()
        self.begun = True
        if self.folder:
            environment = {**self.processes.environment(), "plugins": self.plan.plugins}
            storage.write_text(self.folder.path / "env.json", json.dumps(environment, indent=2) + "\n")
        steps = self.plan.recipe.train.steps
        self.log.write(f"begins at step {self.engine.completed} of {steps} on {self.processes.device}")
        for warning in self.warnings:
            self.log.write(f"warning: {warning}")
        self.call_hook("run_started")
        for note in self.domains.notes:
            self.log.report(note)
        self.log.report_data(self.domains.warnings)

    def _initialize(self) -> bool:
        """Give networks the weights that they begin with, where these are not random; return whether any has such."""
        networks, weights = self.engine.networks, self.initial_weights
        self.initial_weights = None
        from_data = init_from_data(networks, self.domains, self.processes, skip=weights.whole if weights else ())
        networks.check_parameters("init_from_data")
        if from_data:
            self.progress.message("networks were initialised from the training data")
        if weights:  # what was fitted to these data stays
            weights.load_into(networks, skip=from_data)
            for line in weights.report():
                self.log.report(line)
        return bool(from_data or weights)

    def _resume(self) -> bool:
        """Load the newest checkpoint, if there is one, and remove what was logged after it."""
        checkpoint, rejected = storage.newest(self.path / "checkpoints")
        for line in rejected:
            self.log.report(f"skipping a damaged checkpoint: {line}")
        step = checkpoint.step if checkpoint else 0
        if self.processes.broadcast(step) != step:
            raise DiskError(
                f"{self.path}: process {self.processes.rank} does not see the main process's checkpoints here; "
                "the run folder must be on a disk that all machines share"
            )
        if checkpoint is None and rejected:
            raise DiskError(f"{self.path}: all of its checkpoints are damaged; start again in another folder")
        if checkpoint is None:
            self.log.rewind(0, 0)
            return False
        fell_back = upgrade_checkpoint(checkpoint).state["guardian"]["fallback_step"] >= 0
        if fell_back:
            self._set_fallback_plan()
        self._load(checkpoint)
        if self.folder and not fell_back:  # the run may have gone back to before its fallback
            with self.log.surviving(f"deleting {self.folder.fallback}"):
                self.folder.fallback.unlink(missing_ok=True)
        self.log.rewind(checkpoint.step, checkpoint.state.get("records"))
        self.adviser.rewind(self.log.records())
        self.progress.message(f"resuming {self.path} at step {checkpoint.step} of {self.plan.recipe.train.steps}")
        return True

    def _load(self, checkpoint: storage.Checkpoint) -> None:
        """Set a run that was reset to a checkpoint's state."""
        self.state.load_state_dict(checkpoint)
        self.engine.optimizers.lr_factor = self.guardian.lr_factor
        self.engine.completed = checkpoint.step
        self.saved = (checkpoint.step, time.monotonic())

    # Save.

    def save(self, step: int, must: bool = False) -> None:
        """Write a checkpoint. On a full disk training goes on, since earlier checkpoints are not touched.

        Args:
            must: the run ends at this step.

        Raises:
            DiskError: it could not be written, and must be.
            DivergedError: a tensor is not finite, or the processes hold different weights.
        """
        failure: TransganError | None = None
        check_replicas(self.engine.networks, self.processes, step)
        good = self.guardian.good_step
        if self.guardian.healthy:
            self.guardian.good_step = step
        groups, state = self.state.state_dict()  # on every process: some of it is gathered
        state |= {"step": step, "steps": self.plan.recipe.train.steps, "samples": self.batches.samples_before(step)}
        if self.folder:
            state |= {"recipe": self.recipe_table, "data": self.domains.fingerprints}
            state |= {"plugin_files": self.plugin_files}
            state |= {"records": self.log.saved_position(), "config": model_config(self.plan, step, self.domains)}
            spare = self.guardian.good_step if self.guardian.rules.possible_actions & GOING_BACK else None
            try:
                keep = self.plan.recipe.train.keep
                path = storage.save(self.folder.checkpoints, step, groups, state, keep=keep, spare=spare)
                self.log.write(f"step {step}: checkpoint {path.name}")
                self.call_hook("checkpoint_saved", path=path)
            except TransganError as error:
                failure = error
        failure = self.processes.broadcast(failure)
        if failure is None:
            self.saved = (step, time.monotonic())
        elif must or not isinstance(failure, DiskError):
            raise failure
        else:
            self.guardian.good_step = good
            since, at = self.saved
            waited = f"nothing was saved for {step - since} steps ({(time.monotonic() - at) / 60:.0f} minutes)"
            self.log.report(f"warning: step {step}: no checkpoint: {failure}; trying again at the next one; {waited}")

    def _publish(self, step: int) -> None:
        """Write the model of a step that was saved, and a report, before anything is measured."""
        if self.folder and self.saved[0] == step:
            with self.log.surviving("the model"):
                with self.engine.translating() as networks:
                    tensors = model_tensors(self.plan, networks, self.best, self.domains)
                result = self._result(self.adviser.records, {}, [])
                write_outputs(self.folder, self.plan, self.domains, tensors, result, ended=False)
                self.published = step
            self._write_report()

    def _write_report(self, state: State = "running", why: str = "") -> None:
        """Write the report of a run as it is now."""
        if self.folder:
            with self.log.surviving("the report"):
                self.report.write(state, why)

    # Preview and evaluate.

    def _preview(self, step: int) -> None:
        """Write translations side by side to samples/, and log how far conditions change them."""
        if not self.folder:
            return
        effects: list[ConditionEffect] = []
        with self.log.surviving("the preview"):
            plan, clock, device = self.plan, self.batches.clock(step), self.processes.device
            with self.engine.translating() as networks:
                columns = preview_columns(plan, self.domains, networks, 6, device, clock)
                effects = measure_effects(plan, self.domains, networks, 4, device, clock)
            media = self.domains.media_at(plan.directions[-1].translation.target, plan.stages[-1].size)
            path = media.preview(columns, self.folder.samples / f"step-{step:08d}")
            self.call_hook("samples_saved", path=path)
        if effects:
            figures = {f"condition/{each.name}": float(f"{each.of_change:.6g}") for each in effects}
            self.log.record(step, figures)
        for each in effects:  # the first tenth of a run says little about conditions
            if each.invisible and step > self.plan.recipe.train.steps / 10 and self.adviser.is_new(each.name):
                self.log.report(f"warning: step {step}: {each}")
        self._write_report()

    def _evaluate(self, step: int) -> None:
        """Measure held-out samples during the run; keep the weights if they are the best so far."""
        if not self.folder:
            return
        with self.log.surviving("the evaluation"):
            with self.engine.translating() as networks:
                self.figures = self.evaluation(networks, self.batches.clock(step), self.best.metrics)
                if self.best.figure:
                    self.best.update(step, self.figures, networks)
            figures = {f"{where}/{name}": value for where, each in self.figures.items() for name, value in each.items()}
            self.log.record(step, figures)
            self.call_hook("evaluated")

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """End the body where a signal comes while it measures, and go on behind it."""
        self.evaluation.between = self.stop_requests.check
        try:
            yield
        except Interrupted:
            pass
        finally:
            self.evaluation.between = lambda: None

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
        self.log.report(text)
        self.log.rewind(step, checkpoint.state.get("records"))
        figures = {f"guard/{verdict.action}": 1, "guard/from": at, "guard/lr_factor": guardian.lr_factor}
        self.log.record(step, figures)
        self.adviser.rewind(self.log.records())
        self.log.note_position()
        self.save(step)
        self._publish(step)

    def _set_fallback_plan(self) -> None:
        document = with_fallback(self.document, self.plan)
        self.set_plan(document, make_plan(document, self.registry))
        if self.folder and not self.folder.fallback.exists():
            with self.log.surviving(f"writing {self.folder.fallback}"):
                storage.write_text(self.folder.fallback, write_recipe(document, self.plan.filled))

    # End.

    def _end(self, outcome: Literal["finished", "stopped"]) -> None:
        """Write the model, then measure it, then write model, figures and report."""
        if not self.folder:
            return
        plan, step, device = self.plan, self.engine.completed, self.processes.device
        clock = self.batches.clock(step)
        if self.published != step:
            self._publish(step)
        if plan.metrics:
            self.progress.message("measuring held-out samples")
        effects: list[ConditionEffect] = []
        self.figures = {}
        with self.engine.translating() as networks:
            if self.best.figure:
                with self.log.surviving("the evaluation"):
                    self.best.update(step, self.evaluation(networks, clock, self.best.metrics), networks)
            if self.best.tensors:
                self.best.copy_to(networks)
                self.progress.message(f"keeping the model of step {self.best.step}, the best by {self.best.figure}")
            with self.log.surviving("the evaluation"):
                self.figures = self.evaluation(networks, clock) if plan.metrics else {}
                for warning in self.evaluation.warnings:
                    self.log.report(f"warning: {warning}")
            with self.log.surviving("the measure of conditions"):
                effects = measure_effects(plan, self.domains, networks, 16, device, clock)
            tensors = model_tensors(plan, networks, self.best, self.domains)
        self.call_hook("evaluated")
        records = self.log.records()
        result = self._result(records, self.figures, effects)
        self.log.write(f"peak memory {peak_memory(self.processes.device)}")
        write_outputs(self.folder, plan, self.domains, tensors, result, ended=True)
        self._write_report(outcome)
        for line in result["advice"]:
            self.progress.message(line)
        self.progress.result(result, self.folder)

    def _result(
        self, records: Sequence[Mapping[str, Any]], figures: Mapping[str, Any], effects: list[ConditionEffect]
    ) -> dict[str, Any]:
        """Return the content of result.json; figures and effects are empty until they are measured."""
        warnings = [*self.evaluation.warnings, *self.log.failures.messages.values()]
        return result_of(
            self.plan,
            self.domains,
            self.best,
            self.guardian,
            records,
            steps=self.engine.completed,
            figures=figures,
            effects=effects,
            warnings=warnings,
        )

    # Hooks.

    def call_hook(self, hook: str, **arguments: Any) -> None:
        """Call a method of the recipe's hooks, on the main process."""
        if self.processes.main:
            run = RunInfo(
                name=self.plan.recipe.name,
                folder=self.path,
                step=self.engine.completed,
                steps=self.plan.recipe.train.steps,
                losses=dict(self.losses),  # copies, which hooks may change
                figures={name: dict(each) for name, each in self.figures.items()},
                request_stop=self.stop_requests.request,
            )
            self.hooks.call(hook, run=run, **arguments)
