"""What the guardian does to a run: it tells, ends it, or takes it back to the last good checkpoint."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from transgan import runs
from transgan.engine.guard import Verdict
from transgan.engine.guard_faults import of_held_out
from transgan.engine.progress import Progress
from transgan.engine.saving import restore, without_objective
from transgan.errors import DivergedError
from transgan.plan import make_plan
from transgan.plan.fallback import fallen_back
from transgan.recipe import write_recipe

if TYPE_CHECKING:
    from transgan.engine.run import Run


def check(run: "Run", step: int, log: runs.MetricsLog | None) -> list[Verdict]:
    """Looks at held-out samples; returns what the guardian makes of them."""
    if not run.folder:
        return []
    with run.translating() as networks:
        seen = list(of_held_out(run.plan, run.domains, networks, step, run.processes.device))
    record, verdicts = run.guardian.look_held_out(step, seen)
    if log and record:
        log.write({"step": step, **record})
    return verdicts


def skip(run: "Run", step: int, losses: Mapping[str, Tensor], progress: Progress) -> list[Verdict]:
    """Tells of a step that was skipped."""
    bad = [name for name, value in losses.items() if not bool(torch.isfinite(value))]
    told = f"step {step}: skipped, since {', '.join(bad[:3]) or 'a gradient'} is not finite"
    progress.say(told)
    run.note(told)
    verdict = run.guardian.skip(step)
    return [verdict] if verdict else []


def heed(run: "Run", step: int, verdicts: list[Verdict], progress: Progress) -> Verdict | None:
    """Tells what is wrong; returns what the run has to go back for. DivergedError: it has to end."""
    guardian = run.guardian
    for verdict in run.processes.share(verdicts):
        if verdict.action == "fallback" or (
            verdict.action == "rollback" and guardian.rolled < guardian.rules.rollbacks
        ):
            found: Verdict = verdict
            return found
        told = f"step {step}: {verdict}"
        if verdict.action != "warn":
            good = f"; the last good one is of step {guardian.good}" if guardian.good >= 0 else ""
            raise DivergedError(f"{told}. Stopped, as [guard] has it; {run.path} keeps its checkpoints{good}")
        guardian.events.append(told)
        progress.say(f"warning: {told}")
        run.note(f"warning: {told}")
    return None


def go_back(run: "Run", verdict: Verdict, log: runs.MetricsLog | None, progress: Progress) -> None:
    """To the last good checkpoint, and on from there otherwise than before."""
    at = run.engine.step
    good = run.processes.share(run.guardian.good)  # the main process alone has looked at held-out samples
    checkpoint = runs.load(run.path / "checkpoints" / f"step-{good:08d}")
    if verdict.action == "fallback":
        checkpoint = without_objective(checkpoint, run.plan)
        fall_back(run)
    else:
        run.renew()
    restore(checkpoint, run.engine, run.domains, run.best, run.guardian)
    guardian, step = run.guardian, checkpoint.step
    told = f"step {at}: {verdict}. Back at step {step}, and on "
    if verdict.action == "fallback":
        guardian.fall_back(step)
        told += f"by {', '.join(run.plan.losses)}"
    else:
        guardian.roll_back(step)
        told += f"with learning rates times {guardian.factor:g}"
    run.engine.optimizers.factor = guardian.factor
    guardian.events.append(told)
    progress.say(told)
    run.note(told)
    if log:
        log.rewind(step)
        log.write({"step": step, f"guard/{verdict.action}": 1, "guard/from": at, "guard/lr_factor": guardian.factor})
        run.adviser = run.listener(runs.read_metrics(log.path))
    run.save(step)


def fall_back(run: "Run") -> None:
    """Takes the plan with the other objective."""
    document = fallen_back(run.document, run.plan.losses)
    run.adopt(document, make_plan(document, run.registry))
    if run.folder:
        runs.write_text(run.folder.fallback, write_recipe(document, run.plan.filled))
