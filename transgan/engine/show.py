"""What a run shows on its way: translations of held-out samples, and figures of them."""

from typing import TYPE_CHECKING

from transgan import runs
from transgan.engine.audit import Heed, audit
from transgan.engine.evaluate import preview
from transgan.engine.progress import Progress

if TYPE_CHECKING:
    from transgan.engine.run import Run


def draw(run: "Run", step: int, log: runs.MetricsLog | None, progress: Progress) -> None:
    """Translations side by side in samples/, and how far conditions change them."""
    if run.folder:
        with run.translating() as networks:
            columns = preview(run.plan, run.domains, networks, 6, run.processes.device)
            heeded = audit(run.plan, run.domains, networks, 4, run.processes.device)
        media = run.domains.media_at(run.plan.stages[-1].size)
        path = media.preview(columns, run.folder.samples / f"step-{step:08d}")
        run.tell("samples_drawn", step=step, path=path)
        _tell_conditions(run, step, heeded, log, progress)


def _tell_conditions(
    run: "Run", step: int, heeded: list[Heed], log: runs.MetricsLog | None, progress: Progress
) -> None:
    """Logs how far conditions change outputs; after the first tenth of the run those that do not are warned of."""
    if log and heeded:
        log.write({"step": step, **{f"condition/{each.name}": float(f"{each.of_change:.6g}") for each in heeded}})
    for each in heeded:
        if each.none and step > run.plan.recipe.train.steps / 10 and each.name not in run.told:
            run.told.add(each.name)
            progress.say(f"warning: step {step}: {each}")
            run.note(f"warning: step {step}: {each}")


def measure(run: "Run", step: int, log: runs.MetricsLog | None) -> None:
    """The metrics in between, by which the best model is chosen."""
    if not run.folder:
        return
    with run.translating() as networks:
        result = run.evaluation(networks, run.best.metrics)
        if run.best.figure:
            run.best.see(step, result, networks.networks)
    if log:
        flat = {f"{translation}/{name}": value for translation, each in result.items() for name, value in each.items()}
        log.write({"step": step, **flat})
