"""The begin of a run: from its newest checkpoint, or with what networks take from the data."""

import json
import platform
from typing import TYPE_CHECKING

import torch

import transgan
from transgan import runs
from transgan.engine.guard_acts import fall_back
from transgan.engine.progress import Progress
from transgan.engine.saving import load_tensors, restore, tensors_of
from transgan.engine.show import measure
from transgan.engine.start import start_networks
from transgan.errors import DiskError
from transgan.recipe import write_recipe

if TYPE_CHECKING:
    from transgan.engine.run import Run


def begin(run: "Run", log: runs.MetricsLog | None, progress: Progress) -> None:
    """Everything as it is where the next step begins, and a folder that says so."""
    _resume(run, log, progress)
    run.domains.learn()
    _start(run, log, progress)
    run.tell("run_started")
    _open_folder(run)


def _resume(run: "Run", log: runs.MetricsLog | None, progress: Progress) -> None:
    checkpoint, rejected = runs.newest(run.path / "checkpoints")
    for line in rejected:
        progress.say(f"passing over a damaged checkpoint: {line}")
        run.note(f"passed over {line}")
    step = checkpoint.step if checkpoint else 0
    if run.processes.share(step) != step:
        raise DiskError(
            f"{run.path}: process {run.processes.rank} does not see the main process's checkpoints here; "
            "the run folder must lie on a disk that all machines share"
        )
    if checkpoint is None and rejected:
        raise DiskError(f"{run.path}: none of its checkpoints is whole; start anew in another --out")
    if checkpoint is None:
        return
    if checkpoint.state["guard"]["fell"] >= 0:
        fall_back(run)
    restore(checkpoint, run.engine, run.domains, run.best, run.guardian)
    engine = run.engine
    if log:
        log.rewind(engine.step)
        run.adviser = run.listener(runs.read_metrics(log.path))
    progress.say(f"resuming {run.path} at step {engine.step} of {run.plan.recipe.train.steps}")


def _start(run: "Run", log: runs.MetricsLog | None, progress: Progress) -> None:
    """Before the first step, networks may take something from the data; what that is worth, training has to beat."""
    engine = run.engine
    if not engine.step and start_networks(run.plan, engine.networks.networks, run.domains, run.processes):
        progress.say("networks have started from the training data")
        if engine.average:
            load_tensors(engine.average.networks, tensors_of(engine.networks.networks), run.path)
        if run.best.figure:
            measure(run, 0, log)


def _open_folder(run: "Run") -> None:
    if run.folder:
        if not run.folder.recipe.exists():  # what is there knows better where each value came from
            runs.write_text(run.folder.recipe, write_recipe(run.document, run.plan.filled))
        environment = {
            "transgan": transgan.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "device": str(run.processes.device),
            "processes": run.processes.world,
            "plugins": run.plan.plugins,
        }
        runs.write_text(run.folder.path / "env.json", json.dumps(environment, indent=2) + "\n")
        run.note(f"begins at step {run.engine.step} of {run.plan.recipe.train.steps} on {environment['device']}")
