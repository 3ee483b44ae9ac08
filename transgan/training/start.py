"""How a run starts, goes on or is ended, from a command or from Python: plan, processes, run folder and trainer."""

from dataclasses import dataclass, replace
from pathlib import Path

from transgan.data.batches import check_divisible
from transgan.data.domains import Domains, NoRootError
from transgan.data.unreadable import count_files, exclude_unreadable
from transgan.errors import DataError, DiskError, TransganError, UsageError
from transgan.evaluation.unmeasured import check_metrics, unmeasured
from transgan.plan import Plan, make_plan
from transgan.plan.conditioning import check_conditioning
from transgan.progress import progress_bar
from transgan.recipe import Document, read_recipe, write_recipe
from transgan.registry import Registry
from transgan.reporting.console import Progress
from transgan.rng import stable_hash
from transgan.storage import RunFolder, TextLog, discard_after, newest, saved_steps, write_text
from transgan.text import Blank, expand_home, is_quiet, listed, option
from transgan.training.distributed import Processes
from transgan.training.extension import describe_extension, filled_table, with_steps, write_steps
from transgan.training.initialization import initial_weights
from transgan.training.outputs import is_finished
from transgan.training.resuming import check_resumed
from transgan.training.trace import UntracedError, trace_run
from transgan.training.trainer import Trainer
from transgan.training.unused import check_used


@dataclass(frozen=True)
class Ended:
    """How training has ended, where nothing has failed."""

    folder: Path
    """The run's."""
    code: int
    """The exit code: 0, or that of the signal that has ended it early."""
    model: Path | None
    """The model folder, in the main process; None in others, and where training has ended early."""
    measuring: bool = False
    """Whether a signal has ended only the last measurement."""


def train(
    document: Document,
    registry: Registry,
    out: Path | None,
    steps: int | None = None,
    finish: bool = False,
    from_step: int | None = None,
) -> Ended:
    """Train a recipe.

    Args:
        document: the recipe.
        registry: the installed plugins.
        out: the run folder, or None for a new one below runs/. A run of the same recipe in it is resumed.
        steps: another number of steps for the run in `out`.
        finish: write the model of the newest checkpoint in `out` and measure it, without training.
        from_step: go on from the checkpoint of this step in `out`; those of later steps are deleted.

    Raises:
        UsageError: `out` holds a run of another recipe, one that has done more than `steps`, or one that cannot go on,
            since its checkpoints were deleted.
    """
    new = document if steps is None else with_steps(document, steps)
    plan = make_plan(new, registry)
    processes = Processes()
    progress = Progress(plan.recipe.train.steps, is_quiet() or not processes.main)
    with processes.alike():
        given = plan if steps is None else make_plan(document, registry)
        if from_step is not None and out is not None:
            _check_saved(RunFolder.at(expand_home(out)), from_step)
        finished = out is not None and from_step is None and _is_finished(given, plan.recipe.train.steps, registry, out)
    if out is not None and processes.broadcast(finished):
        progress.message(
            f"{out} is finished: {plan.recipe.train.steps} steps, model and figures; nothing was done. "
            f"To extend it, resume it with {option('steps', Blank('N'))}"
        )
        processes.end()
        there = expand_home(out)
        return Ended(there, 0, RunFolder.at(there).model if processes.main else None)
    with processes.alike():  # before the folder is created: a mistake in the recipe or the data leaves none behind
        unused: list[str] = []
        traced = True
        if not finish:
            check_divisible(plan, processes.world)
            try:
                traces = trace_run(plan, begins=True)
                traced = bool(traces)
                unused = check_used(plan, traces) if traces else []
            except UntracedError as error:
                traced, unused = False, [*error.problems]
        domains = _domains(new, plan)
        new_run = out is None or not saved_steps(RunFolder.at(expand_home(out)).checkpoints)
        if new_run:  # one that goes on has been trained already: its metrics are omitted
            check_metrics(plan, domains, plan.metrics)
        weights = initial_weights(plan) if new_run else None
    warnings = [*unused, *unmeasured(plan, domains), *check_conditioning(plan)]
    if processes.mixed_precision not in ("no", plan.recipe.train.precision):
        warnings.append(
            f"accelerate's mixed_precision = \"{processes.mixed_precision}\" is not used: the recipe's "
            f'train.precision = "{plan.recipe.train.precision}" is; change it there'
        )
    for warning in warnings if processes.main else []:
        progress.message(f"warning: {warning}")
    _exclude_unreadable(domains, processes)
    changes: list[str] = []
    if out is not None and not new_run:
        with processes.alike():
            changes = check_resumed(plan, domains, expand_home(out), from_step)
    folder, failure = None, None
    if processes.main:
        try:
            folder = _open_folder(given, registry, out)
            _check_goes_on(folder)
            _check_steps(folder, plan, steps, from_step)
            if from_step is not None:
                discard_after(folder.checkpoints, from_step)
            if steps is not None:
                _extend(folder, given, plan, progress)
            if finish and not saved_steps(folder.checkpoints):
                raise UsageError(f"{out} has no checkpoint yet: there is nothing to make a model of")
            if not folder.recipe.exists():  # an existing one says better where each value was written
                write_text(folder.recipe, write_recipe(new, plan.filled))
        except TransganError as error:
            failure = error
    try:
        if failure := processes.broadcast(failure):
            raise failure
        trainer = Trainer(new, plan, registry, processes, folder, domains, weights, traced, [*warnings, *changes])
        del weights  # as large as a checkpoint; the trainer drops them once they are loaded
        if folder:
            for change in changes:
                progress.message(f"warning: {change}")
            progress.message(f"{'finishing' if finish else 'training in'} {folder.path}")
        code = trainer.fit(progress, train=not finish)
        return Ended(trainer.path, code, folder.model if folder and not code else None, trainer.measuring)
    finally:
        progress.clear()
        if folder:
            folder.close()
        processes.end()


def _domains(document: Document, plan: Plan) -> Domains:
    """Return a plan's domains; where the folder with the data is missing, say where it is named, and what helps."""
    try:
        return Domains(plan)
    except NoRootError as error:
        origin = document.problems.origin(("data", "root"))
        if not origin.line:  # it was given with the command
            raise
        elsewhere = (
            ""
            if expand_home(plan.recipe.data.root or "").is_absolute()
            else (", or go to the folder from which that path leads to them, where a run was started")
        )
        raise NoRootError(f"{document.problems.place(origin)}: {error}; change root there{elsewhere}") from None


def _exclude_unreadable(domains: Domains, processes: Processes) -> None:
    """Exclude samples that cannot be read, the same ones in every process.

    Raises:
        DataError: too many cannot be read, or not every process can read the same ones.
    """
    failure = None
    with progress_bar("reading the data", count_files(domains), not processes.main) as seen:
        try:
            exclude_unreadable(domains, seen, processes.rank, processes.world)
        except DataError as error:
            failure = error
    samples = [[sample.key for sample in (*each.samples, *each.held_out)] for each in domains.values()]
    known = stable_hash(failure is not None, *samples)
    if processes.largest(int(processes.broadcast(known) != known)):
        raise failure or DataError("some process cannot read samples that others read: all machines need all files")
    if failure:
        with processes.alike():
            raise failure


def _is_finished(plan: Plan, steps: int, registry: Registry, out: Path) -> bool:
    """Return whether there is a run of this recipe in a folder, and nothing is left to do."""
    folder = RunFolder.at(expand_home(out))
    if not folder.recipe.is_file() or not is_finished(folder, steps):
        return False
    _check_same_recipe(plan, registry, folder, out)
    return True


def _check_saved(folder: RunFolder, step: int) -> None:
    """Check that a run has a checkpoint of a step."""
    known = saved_steps(folder.checkpoints)
    if step not in known:
        raise UsageError(f"{option('from_step', step)}: no such checkpoint in {folder.path}; there are {listed(known)}")


def _check_goes_on(folder: RunFolder) -> None:
    """Check that no run begins again in the place of one whose checkpoints were deleted: its model would be lost."""
    if not saved_steps(folder.checkpoints) and (folder.model.exists() or folder.result.exists()):
        start = option("overrides", f"train.init_from={folder.path}")
        raise UsageError(
            f"{folder.path}: the checkpoints of this run are gone, so it cannot go on; choose another {option('out')}"
            + (f"; there a new run begins with its weights by {start}" if folder.model.exists() else "")
        )


def _check_steps(folder: RunFolder, plan: Plan, asked: int | None, from_step: int | None) -> None:
    """Check that a run has not done more steps than it is to have.

    Args:
        asked: the number that was asked for, if the recipe does not say it.
        from_step: the step that it goes back to.
    """
    done, steps = max(saved_steps(folder.checkpoints), default=0), plan.recipe.train.steps
    done = done if from_step is None else from_step
    if steps < done:
        where = f"{folder.recipe}: [train] steps = {steps}" if asked is None else option("steps", asked)
        raise UsageError(f"{where}: the run has done {done} steps; expected at least {done}")


def _extend(folder: RunFolder, old: Plan, new: Plan, progress: Progress) -> None:
    """Change the number of steps of a run that can go on, and report what that changes."""
    done, steps = max(saved_steps(folder.checkpoints), default=0), new.recipe.train.steps
    if steps == old.recipe.train.steps:
        return
    if done and newest(folder.checkpoints)[0] is None:  # else the recipe would be changed, and the run would fail
        raise DiskError(f"{folder.path}: all of its checkpoints are damaged; start again in another folder")
    write_steps(folder, steps)
    with TextLog(folder.log) as log:
        for line in describe_extension(old, new, done):
            progress.message(line)
            log.write(line)


def _open_folder(plan: Plan, registry: Registry, out: Path | None) -> RunFolder:
    if out is None:
        return RunFolder.create(Path("runs"), plan.recipe.name)
    folder = RunFolder.open(expand_home(out))
    try:
        _check_same_recipe(plan, registry, folder, out)
    except TransganError:
        folder.close()
        raise
    return folder


def _check_same_recipe(plan: Plan, registry: Registry, folder: RunFolder, out: Path) -> None:
    if folder.recipe.exists():
        there = read_recipe(folder.recipe)  # whatever its hooks: they watch a run, which is the same with others
        there = replace(there, recipe=there.recipe.model_copy(update={"hooks": plan.recipe.hooks}))
        if keys := differing_keys(plan, make_plan(there, registry)):
            raise UsageError(
                f"{out} holds a run of another recipe; they differ in {listed(keys, 6)}. "
                f"Choose another {option('out')}, or resume that one"
            )


def differing_keys(first: Plan, second: Plan) -> list[str]:
    """Return the keys in which the recipes of two plans differ, the options of plugins that neither says included."""

    def walk(a: object, b: object, path: str) -> list[str]:
        if isinstance(a, dict) and isinstance(b, dict):
            keys = dict.fromkeys((*a, *b))
            return [
                line
                for key in keys
                for line in walk(a.get(key), b.get(key), f"{path}.{key}".lstrip(".").replace(".options", ""))
            ]
        return [] if a == b or (a in _NOTHING and b in _NOTHING) else [path]

    return walk(filled_table(first), filled_table(second), "")


#: What is the same as a key that is not there.
_NOTHING: tuple[object, ...] = (None, {}, [])
