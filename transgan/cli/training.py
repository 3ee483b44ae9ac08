"""What `run` and `resume` share: processes, plan, folder, and the run itself."""

from pathlib import Path

from transgan.data.domains import Domains
from transgan.engine import Processes, Run
from transgan.engine.progress import Progress
from transgan.errors import TransganError, UsageError
from transgan.plan import make_plan
from transgan.plan.reach import check_reach
from transgan.recipe import Document, Recipe, read_recipe
from transgan.registry import Registry
from transgan.runs import RunFolder


def train(document: Document, registry: Registry, out: Path | None, quiet: bool) -> int:
    """Trains in `out`, where a run of the same recipe goes on; returns the exit code."""
    plan = make_plan(document, registry)
    processes = Processes()
    progress = Progress(plan.recipe.train.steps, quiet or not processes.main)
    for warning in check_reach(plan) if processes.main else []:
        progress.say(f"warning: {warning}")
    domains = Domains(plan)  # before there is a folder, which a mistake in the data need not leave behind
    folder, failure = None, None
    if processes.main:
        try:
            folder = _folder(document, out)
        except TransganError as error:
            failure = error
    if failure := processes.share(failure):
        raise failure
    try:
        run = Run(document, plan, registry, processes, folder, domains)
        if folder:
            progress.say(f"training in {folder.path}")
        return run.go(progress)
    finally:
        if folder:
            folder.close()
        processes.end()


def _folder(document: Document, out: Path | None) -> RunFolder:
    if out is None:
        return RunFolder.create(Path("runs"), document.recipe.name)
    folder = RunFolder.open(out.expanduser())
    try:
        _check_same(document, folder, out)
    except TransganError:
        folder.close()
        raise
    return folder


def _check_same(document: Document, folder: RunFolder, out: Path) -> None:
    if folder.recipe.exists():
        differences = differing(document.recipe, read_recipe(folder.recipe).recipe)
        if differences:
            raise UsageError(
                f"{out} holds a run of another recipe; they differ in {', '.join(differences[:6])}"
                f"{', ...' if len(differences) > 6 else ''}. Choose another --out, or transgan resume {out}"
            )


def differing(first: Recipe, second: Recipe) -> list[str]:
    """Keys in which two recipes differ, of those that the first one sets; the defaults of plugins count as equal."""

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
