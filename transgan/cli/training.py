"""Training for the commands `run` and `resume`: plan, processes, run folder and trainer."""

from pathlib import Path

from transgan.data.domains import Domains
from transgan.errors import TransganError, UsageError
from transgan.plan import make_plan
from transgan.plan.conditioning import check_conditioning
from transgan.recipe import Document, Recipe, read_recipe
from transgan.registry import Registry
from transgan.reporting.console import Progress
from transgan.storage import RunFolder
from transgan.training.distributed import Processes
from transgan.training.trainer import Trainer


def train(document: Document, registry: Registry, out: Path | None, quiet: bool) -> int:
    """Train a recipe.

    Args:
        document: the recipe.
        registry: the installed plugins.
        out: the run folder, or None for a new one below runs/. A run of the same recipe in it is resumed.
        quiet: print nothing but errors.

    Returns:
        The exit code.

    Raises:
        UsageError: `out` holds a run of another recipe.
    """
    plan = make_plan(document, registry)
    processes = Processes()
    progress = Progress(plan.recipe.train.steps, quiet or not processes.main)
    for warning in check_conditioning(plan) if processes.main else []:
        progress.message(f"warning: {warning}")
    domains = Domains(plan)  # before the folder is created: a mistake in the data leaves none behind
    folder, failure = None, None
    if processes.main:
        try:
            folder = _open_folder(document, out)
        except TransganError as error:
            failure = error
    if failure := processes.broadcast(failure):
        raise failure
    try:
        trainer = Trainer(document, plan, registry, processes, folder, domains)
        if folder:
            progress.message(f"training in {folder.path}")
        return trainer.fit(progress)
    finally:
        if folder:
            folder.close()
        processes.end()


def _open_folder(document: Document, out: Path | None) -> RunFolder:
    if out is None:
        return RunFolder.create(Path("runs"), document.recipe.name)
    folder = RunFolder.open(out.expanduser())
    try:
        _check_same_recipe(document, folder, out)
    except TransganError:
        folder.close()
        raise
    return folder


def _check_same_recipe(document: Document, folder: RunFolder, out: Path) -> None:
    if folder.recipe.exists():
        keys = differing_keys(document.recipe, read_recipe(folder.recipe).recipe)
        if keys:
            raise UsageError(
                f"{out} holds a run of another recipe; they differ in {', '.join(keys[:6])}"
                f"{', ...' if len(keys) > 6 else ''}. Choose another --out, or transgan resume {out}"
            )


def differing_keys(first: Recipe, second: Recipe) -> list[str]:
    """Return the keys in which two recipes differ.

    Keys that only `second` has are ignored: a resolved recipe also holds the default options of plugins.
    """

    def walk(a: object, b: object, path: str) -> list[str]:
        if isinstance(a, dict) and isinstance(b, dict):
            keys = [key for key in a if key in b or a[key] not in (None, {}, [])]
            return [
                line
                for key in keys
                for line in walk(a[key], b.get(key), f"{path}.{key}".lstrip(".").replace(".options", ""))
            ]
        return [] if a == b else [path]

    return walk(first.model_dump(), second.model_dump(), "")
