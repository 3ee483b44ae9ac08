"""Training from a script or a notebook: `transgan.train`, and the folder of a run as an object, `transgan.Run`."""

import gc
import os
import random
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from accelerate.state import AcceleratorState, GradientState, PartialState

from transgan import storage
from transgan.arguments import as_count, as_flag, as_path, as_table, as_texts
from transgan.errors import TRAINING_REMEDY, DataError, TransganError, as_user_error
from transgan.inference.translator import Translator
from transgan.networks import fp32_precisions, set_fp32_precisions
from transgan.plan import make_plan
from transgan.plan.of_run import check_plugins
from transgan.plugin_errors import as_plugin_error
from transgan.plugin_files import using_files
from transgan.recipe import read_recipe
from transgan.recipe.of_run import read_run
from transgan.recipe.write import as_overrides
from transgan.registry import Registry
from transgan.reporting.html import KINDS, escape
from transgan.reporting.result import read_result
from transgan.reporting.runs import RunReader, RunView
from transgan.text import quietly, show
from transgan.training import start
from transgan.training.distributed import StopRequests

Overrides = Mapping[str, Any] | Iterable[str]
"""Values by the recipe's keys, `{"train.steps": 200}`, or texts, `["train.steps=200"]`."""
#: Held while this process trains: the processes' group, the environment and what is printed are the process's own.
_TRAINING = threading.RLock()


def train(
    recipe: str | Path,
    overrides: Overrides | None = None,
    out: str | Path | None = None,
    *,
    plugins: Iterable[str | Path] = (),
    quiet: bool = False,
) -> "Run":
    """Check a recipe, train it, measure the model, and write a model folder: what `transgan run` does.

        run = transgan.train("conditional_face", {"train.steps": 200}, out="runs/faces")
        run.figures["age: young -> old"]
        run.translator()("photo.jpg", to="old")

    An interrupt (Ctrl-C, or that of a notebook) ends it after the current step and a checkpoint, and raises
    KeyboardInterrupt; `Run(folder).resume()` goes on. Signal handlers, random generators and settings of torch are
    afterwards as they were before. Of several threads one trains at a time, the others wait.

    Args:
        recipe: a TOML file, or the name of an installed recipe.
        overrides: values of the recipe's keys, by key: `{"train.steps": 200, "data.root": "photos"}`. Of a table,
            `{"train": {"steps": 200}}`, the keys that it has are set; replaced as a whole are slots with `use`, lists,
            schedules, `domains`, `tasks`, `inputs`, `attributes` and `train.balance`, and an empty table empties.
        out: the run folder; by default a new one below `runs/`. A run of the same recipe in it is resumed.
        plugins: Python files with plugins that are not installed.
        quiet: print nothing.

    Raises:
        TransganError: something that can be mended, in one line: `UsageError` and `RecipeError` for the arguments and
            the recipe, `DataError`, `DivergedError`, `DiskError`, `OutOfMemory` and others for the run.
    """
    document = as_path("recipe", recipe)  # or an installed one's name
    if isinstance(overrides, Mapping):
        texts = as_overrides(as_table("overrides", overrides))
    else:
        texts = as_texts("overrides", () if overrides is None else overrides)
    folder, quiet = None if out is None else as_path("out", out), as_flag("quiet", quiet)

    def begin(registry: Registry) -> start.Ended:
        return start.train(read_recipe(document, texts), registry, folder)

    return _run(begin, plugins, quiet)


class Run:
    """The folder of a run, finished or not: its figures, its losses, its model. In a notebook it shows how it went.

    Args:
        folder: such as `runs/zebra-1`.

    Raises:
        UsageError: it is not the folder of a run.
    """

    def __init__(self, folder: str | Path):
        given = as_path("folder", folder)
        read_run(given)
        self._files = storage.RunFolder.at(given)
        self.folder = self._files.path
        """The run folder, absolute: the working directory may change."""

    def __repr__(self) -> str:
        view = self._view()
        return f"<Run {str(self.folder)!r}: {view.state}, step {view.step} of {view.steps}>"

    @property
    def report(self) -> Path:
        """The page about the run, `report.html`."""
        return self._files.report

    @property
    def result(self) -> dict[str, Any]:
        """The content of `result.json`: figures, warnings, advice.

        Raises:
            DataError: the run has not ended yet, or the file is damaged.
        """
        found = read_result(self._files.result)
        if found is None:
            raise DataError(f"{self.folder}: no figures yet: the run has not ended; resume() goes on")
        return found

    @property
    def figures(self) -> dict[str, dict[str, float]]:
        """The figures of each translation, measured at the end of the run, by name.

        Raises:
            DataError: the run has not ended yet.
        """
        return dict(self.result.get("translations", {}))

    def losses(self) -> dict[str, np.ndarray]:
        """Return the losses of the steps that were logged, as columns: `pandas.DataFrame(run.losses())` is a table.

        Returns:
            `step`, (R,) integers, and each loss, (R,) with NaN where a step has none, named
            `TRANSLATION/loss_G/NAME` for the generators and `loss_D` for the discriminators, without their weights.

        Raises:
            DiskError: metrics.jsonl is damaged.
        """
        records = [
            (record["step"], {name: value for name, value in record.items() if "/loss_" in name})
            for record in storage.read_metrics(self._files.metrics)
        ]
        records = [(step, losses) for step, losses in records if losses]
        names = dict.fromkeys(name for _, losses in records for name in losses)
        columns = {name: np.array([losses.get(name, np.nan) for _, losses in records], float) for name in names}
        return {"step": np.array([step for step, _ in records], int), **columns}

    def translator(
        self,
        device: torch.device | str | None = None,
        step: int | None = None,
        *,
        plugins: Iterable[str | Path] = (),
    ) -> Translator:
        """Return the run's model as an object.

        Args:
            device: where it runs; defaults to a GPU if there is one.
            step: the checkpoint of this step instead of the model.
            plugins: Python files with plugins that are not installed.

        Raises:
            DataError: there is no model yet, or no such checkpoint.
            PluginError: it needs a plugin that is not installed.
        """
        return Translator.from_pretrained(self.folder, device, step, plugins=plugins)

    def resume(
        self,
        steps: int | None = None,
        *,
        from_step: int | None = None,
        plugins: Iterable[str | Path] = (),
        quiet: bool = False,
    ) -> Self:
        """Go on from the newest intact checkpoint, as `transgan resume` does; return the run.

        Args:
            steps: another number of steps for the run; schedules are stretched.
            from_step: go back to the checkpoint of this step; those of later steps are deleted.
            plugins: Python files with plugins that are not installed.
            quiet: print nothing.

        Raises:
            TransganError: see `train`; `UsageError` where the run has done more steps than these, or has no
                checkpoint of `from_step`.
        """
        wanted, quiet = None if steps is None else as_count("steps", steps), as_flag("quiet", quiet)
        back_to = None if from_step is None else as_count("from_step", from_step, least=0)

        def go_on(registry: Registry) -> start.Ended:
            check_plugins(self.folder, registry)
            document = read_run(self.folder)
            return start.train(document, registry, self.folder, steps=wanted, from_step=back_to)

        _run(go_on, plugins, quiet)
        return self

    def _view(self) -> RunView:
        try:
            plan = make_plan(read_run(self.folder), Registry.installed())
        except TransganError:  # figures are then shown without explanations
            plan = None
        return RunReader(self._files, plan, KINDS).read()

    def _repr_html_(self) -> str:
        """Return how the run went, its figures and its newest preview, for a notebook."""
        view = self._view()
        head = f"<b>{escape(view.name)}</b>: {view.state}, step {view.step} of {view.steps}. {escape(view.headline)}"
        parts = [f"<p>{head}</p>", *_table(view)]
        for file in (file for preview in view.previews[-1:] for file in preview.files if file.kind == "img"):
            parts.append(f'<img src="{escape(file.source)}" alt="{escape(file.name)}" style="max-width: 100%">')
        parts.append(f"<p>{escape(self.report)}</p>")
        return "\n".join(parts)


def _table(view: RunView) -> list[str]:
    """Return the figures as an HTML table: a row for each figure, a column for each translation."""
    if not view.figures:
        return []
    head = "".join(f"<th>{escape(each)}</th>" for each in ("", *view.translations))
    rows = [
        f"<th>{escape(row.name)}</th>" + "".join(f"<td>{escape(each.text if each else '')}</td>" for each in row.cells)
        for row in view.figures
    ]
    return ["<table>", *(f"<tr>{row}</tr>" for row in (head, *rows)), "</table>"]


def _run(work: Callable[[Registry], start.Ended], plugins: Iterable[str | Path], quiet: bool) -> Run:
    """Train; leave this process as it was.

    Raises:
        TransganError: training has failed. An error that no user can mend is raised as it is.
    """
    with _TRAINING, using_files(plugins), quietly(quiet):
        registry = Registry.installed()
        try:
            with _unchanged():
                ended = work(registry)
        except TransganError:
            raise
        except Exception as error:
            known = as_user_error(error, TRAINING_REMEDY) or as_plugin_error(error, registry)
            if known is None:
                raise
            raise known from error
    gc.collect()  # networks and threads of a run are in cycles
    if ended.code:
        if not quiet:
            show(f"interrupted; transgan.Run({str(ended.folder)!r}).resume() goes on", error=True)
        names = {code: name for name, code in StopRequests.CODES.items()}
        signal.raise_signal(getattr(signal, names[ended.code]))  # for whoever handles it around this call
        if names[ended.code] == "SIGINT":  # which may be ignored, as in the background of a script
            raise KeyboardInterrupt
    return Run(ended.folder)


@contextmanager
def _unchanged() -> Iterator[None]:
    """Leave what all code of a process shares as it is: random generators, settings of torch, the environment."""
    environment, threads, grad = dict(os.environ), torch.get_num_threads(), torch.is_grad_enabled()
    generators = random.getstate(), np.random.get_state()
    benchmark, precisions = torch.backends.cudnn.benchmark, fp32_precisions()
    dtype = torch.get_default_dtype()
    compilations = torch._dynamo.config.recompile_limit
    shared = [(each, dict(each._shared_state)) for each in (PartialState, AcceleratorState, GradientState)]
    devices = list(range(torch.cuda.device_count()))
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices), torch.enable_grad():
            torch.set_default_dtype(torch.float32)
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = benchmark
        set_fp32_precisions(*precisions)
        torch._dynamo.config.recompile_limit = compilations
        random.setstate(generators[0])
        np.random.set_state(generators[1])
        os.environ.clear()
        os.environ.update(environment)
        if "WORLD_SIZE" not in environment:  # several processes stay a group
            for each, state in shared:
                each._shared_state.clear()
                each._shared_state.update(state)
