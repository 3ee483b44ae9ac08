"""What follows a training step: its line in the logs, the checks of the guardian, and what these lead to."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from transgan.data.batches import Batches
from transgan.data.domains import Domains
from transgan.errors import DivergedError
from transgan.monitoring.advice import Adviser
from transgan.monitoring.detect import in_held_out
from transgan.monitoring.faults import Finding
from transgan.monitoring.guardian import Guardian, Verdict
from transgan.plan import Plan
from transgan.training.checkpoint import all_finite
from transgan.training.distributed import Processes
from transgan.training.engine import Engine
from transgan.training.first_steps import warnings_of
from transgan.training.run_log import RunLog
from transgan.training.task_sampler import describe_tasks


@dataclass(frozen=True)
class StepChecks:
    """Logs and checks the steps of a run, on every process; the main one alone writes."""

    plan: Plan
    domains: Domains
    batches: Batches
    engine: Engine
    guardian: Guardian
    adviser: Adviser
    log: RunLog
    processes: Processes
    path: Path
    """The run folder."""
    traced: bool
    """Whether a trace has said what the run trains; else the first step does."""

    def after(self, step: int, losses: Mapping[str, Tensor], held_out: bool, saves: bool) -> Verdict | None:
        """Log a step where it is due, and check it; return the verdict for which the run goes back.

        Args:
            losses: of the step.
            held_out: whether held-out samples are checked too.
            saves: whether the weights are saved next, and so are checked.

        Raises:
            DivergedError: the run has to end.
        """
        for line in warnings_of(step, self.engine, losses, self.traced):
            self.log.report(f"warning: step {step}: {line}")
        logs = self.plan.recipe.train.logs(step)
        if not (self.engine.skipped or logs or held_out or saves):
            return None
        count, by_loss = self.engine.count_skipped()
        verdicts = self._report_skipped(step, losses, count, by_loss) if count else []
        if logs:
            verdicts += self._log(step, losses)
        if held_out and self.log.folder:
            verdicts += self._check_held_out(step)
        if saves and not all_finite(self.engine.networks):
            verdicts = [self.guardian.weights_not_finite(), *verdicts]
        back = self._apply(step, verdicts)
        if back is None and step == self.plan.recipe.train.steps == len(self.guardian.skipped):
            why = f"since {_not_finite(losses) or self._gradient()} is not finite (NaN or infinity)"
            remedy = "Look for the network, loss or data that give such numbers"
            raise DivergedError(f"no step could be made: each of the {step} was skipped, {why}. {remedy}")
        return back

    def _report_skipped(self, step: int, losses: Mapping[str, Tensor], count: int, by_loss: int) -> list[Verdict]:
        """Report skipped steps; return the guardian's verdict.

        Args:
            by_loss: those of the `count` steps of which a loss was not finite; of the others, a gradient was not.
        """

        def skipped(count: int) -> str:
            return f"step {step}: " + ("skipped" if self.engine.waits else f"{count} of the steps before were skipped")

        by_gradient, scale = count - by_loss, self.engine.optimizers.scaler.get_scale()
        faults = count
        if by_gradient and self.engine.networks.scales and scale >= 1:
            # How the scale is found: it is halved whenever a gradient is too large for fp16.
            self.log.write(f"{skipped(by_gradient)}, since a gradient overflowed; losses are now scaled by {scale:g}")
            faults, by_gradient = by_loss, 0
        if by_loss:  # the names are known of the newest step alone
            self.log.report(f"{skipped(by_loss)}, since {_not_finite(losses) or 'a loss'} is not finite")
        if by_gradient:
            self.log.report(f"{skipped(by_gradient)}, since {self._gradient()} is not finite")
        verdicts = [self.guardian.step_skipped(step) for _ in range(faults)]
        return [verdict for verdict in verdicts if verdict][-1:]

    def _gradient(self) -> str:
        """Return the name of a gradient that is not finite: of which networks, in the newest step."""
        networks = _not_finite(self.engine.optimizers.norms)
        return f"a gradient of {networks}" if networks else "a gradient"

    def _log(self, step: int, losses: Mapping[str, Tensor]) -> list[Verdict]:
        """Write a line of metrics.jsonl and of the console; return the guardian's verdicts."""
        engine, trained = self.engine, self.batches.clock(step - 1)  # when the step began
        figures = {**engine.objective.diagnostics.figures(), **engine.objective.augmenter.figures()}
        norms = {f"|{name}": norm for name, norm in engine.optimizers.norms.items()}
        read = self.processes.mean({**losses, **figures, **norms})
        guarded, verdicts = self.guardian.check_step(step, read, {name[1:]: read.pop(name) for name in norms})
        averaged = {name: read.pop(name) for name in losses}
        read |= engine.task_sampler.figures() | guarded
        record = {
            "step": step,
            "epoch": round(self.batches.clock(step).epoch, 4),
            "time": round(time.time(), 3),
            **{f"lr/{name}": rate for name, rate in engine.optimizers.learning_rates(trained).items()},
            **{f"weight/{name}": self.plan.weight(name, trained) for name in self.plan.losses},
            **{name: float(f"{value:.6g}") for name, value in {**averaged, **read}.items()},
        }
        self.log.record(step, record)
        if self.log.folder:
            for advice in self.adviser.update(record):
                self.log.report(f"step {step}: {advice}")
        self.log.report_data(self.domains.warnings)
        self.log.progress.step(step, averaged, describe_tasks(read))
        return verdicts

    def _check_held_out(self, step: int) -> list[Verdict]:
        """Check translations of held-out samples; return the guardian's verdicts."""
        findings: list[Finding] = []
        with self.log.surviving("the check of held-out samples"), self.engine.translating() as networks:
            own, separated = self.engine.networks, self.guardian.separated
            findings = list(in_held_out(self.plan, self.domains, networks, step, self.processes.device, own, separated))
        record, verdicts = self.guardian.check_held_out(step, findings)
        if record:
            self.log.record(step, record)
        return verdicts

    def _apply(self, step: int, verdicts: list[Verdict]) -> Verdict | None:
        """Report faults; return the verdict for which the run goes back."""
        guardian = self.guardian
        verdicts, good_step = self.processes.broadcast((verdicts, guardian.good_step))
        for verdict in verdicts:
            possible = verdict.action == "fallback" or (
                verdict.action == "rollback" and guardian.rollbacks < guardian.rules.rollbacks
            )
            if possible and good_step >= 0:  # no checkpoint where the disk was full
                return verdict
            text = f"step {step}: {verdict}"
            if verdict.action != "warn":
                good = (
                    f"the newest good checkpoint is of step {good_step}" if good_step >= 0 else "no checkpoint is good"
                )
                raise DivergedError(f"{text}. Stopped, as [guard] says; in {self.path} {good}")
            guardian.events.append(text)
            self.log.report(f"warning: {text}")
        return None


def _not_finite(losses: Mapping[str, Tensor]) -> str:
    """Return the names of those losses, or norms of gradients, that are not finite: at most three, none as no text."""
    return ", ".join([name for name, value in losses.items() if not bool(torch.isfinite(value))][:3])
