"""What a run reports, on the console, in log.txt and in metrics.jsonl; and what fails without ending it."""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from transgan import storage
from transgan.errors import DiskError
from transgan.plugin_errors import reason_of
from transgan.registry import Registry
from transgan.reporting.console import Progress
from transgan.training.failures import Failures


class RunLog:
    """The console and the logs of a run, none of which ends it: what a full disk does not take is missing.

    Args:
        folder: the run folder; None on other processes than the main one, which write nothing.
        registry: the plugins, to name the one that has failed.
        step: returns the number of completed steps, for messages.
    """

    def __init__(self, folder: storage.RunFolder | None, registry: Registry, step: Callable[[], int]):
        self.folder = folder
        self.registry = registry
        self.step = step
        self.progress = Progress(0, quiet=True)
        self.metrics: storage.MetricsLog | None = None
        self.failures = Failures()
        self.position = 0
        """How many records of metrics.jsonl belong to a checkpoint of this step: see `note_position`."""
        self.data_warnings = 0
        """How many of the data's warnings have been reported."""
        self.disk_full = False
        """Whether the newest line could not be written."""

    @contextmanager
    def open(self, progress: Progress) -> Iterator[None]:
        """Report to this console, and keep metrics.jsonl open, while the body runs."""
        self.progress = progress
        if self.folder is None:
            yield
            return
        with storage.MetricsLog(self.folder.metrics) as self.metrics:
            yield

    def write(self, text: str) -> None:
        """Write a line of log.txt."""
        if self.folder:
            with self._surviving_full_disk(), storage.TextLog(self.folder.log) as log:
                log.write(text)

    def report(self, text: str) -> None:
        """Print a line, and write it to log.txt."""
        self.progress.message(text)
        self.write(text)

    def report_data(self, warnings: Sequence[str]) -> None:
        """Report what is new among the data's warnings."""
        for warning in warnings[self.data_warnings :]:
            self.report(f"warning: {warning}")
        self.data_warnings = len(warnings)

    def record(self, step: int, figures: Mapping[str, float]) -> None:
        """Write a record of metrics.jsonl."""
        if self.metrics:
            with self._surviving_full_disk():
                self.metrics.write({"step": step, **figures})

    def records(self) -> list[dict[str, Any]]:
        """Return the records of metrics.jsonl."""
        return storage.read_metrics(self.metrics.path) if self.metrics else []

    def rewind(self, step: int, count: int | None) -> None:
        """Remove the records that a run at a checkpoint of `step` writes again: those after the first `count`."""
        if self.metrics:
            self.metrics.rewind(step, count)

    def note_position(self) -> None:
        """Note that the step is logged: its evaluation and preview follow, which a resumed run does again."""
        if self.metrics:
            self.position = self.metrics.count

    def saved_position(self) -> int:
        """Wait until the records are on the disk; return how many of them belong to a checkpoint of this step."""
        if self.metrics is None:
            return 0
        with self._surviving_full_disk():
            self.metrics.sync()
        return min(self.position, self.metrics.written)

    @contextmanager
    def surviving(self, what: str) -> Iterator[None]:
        """Let the run go on where the body fails: report it once, and name it in result.json."""
        try:
            yield
        except Exception as error:
            self._fail(what, f"{what} failed: {reason_of(error, self.registry)}", error)

    def metric_failed(self, name: str, error: Exception) -> None:
        """Report that a metric has failed."""
        what = f"metric '{name}'"
        self._fail(what, f"{what} is omitted: {reason_of(error, self.registry)}", error)

    def hook_failed(self, moment: str, name: str, error: Exception) -> None:
        """Report that a method of hooks has failed."""
        what = f"hooks '{name}'"
        self._fail(
            what, f"{what}: {moment} failed, they are not called again: {reason_of(error, self.registry)}", error
        )

    def _fail(self, what: str, why: str, error: Exception) -> None:
        message = f"step {self.step()}: {why}"
        if self.failures.add(what, message):
            self.report(f"warning: {message}")
            self.write("".join(traceback.format_exception(error)).rstrip())

    @contextmanager
    def _surviving_full_disk(self) -> Iterator[None]:
        """Let the run go on where the body cannot write: print why, once until something can be written again."""
        try:
            yield
            self.disk_full = False
        except DiskError as error:
            if not self.disk_full:
                self.progress.message(f"warning: {error}; training goes on")
            self.disk_full = True
