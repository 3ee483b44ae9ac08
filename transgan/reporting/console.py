"""The console of a run: on stderr, one line that is overwritten on a terminal or in a notebook, else plain lines."""

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar

from transgan.reporting.tables import figures_table
from transgan.storage import RunFolder
from transgan.text import printable, show, write

#: Seconds between two plain lines.
EVERY = 10.0

#: Moves the cursor of a terminal to the start of its line, and clears it.
_CLEAR = "\r\x1b[K"


class Progress:
    """Prints for the main process; the others are quiet. A terminal that is gone never ends a run.

    Args:
        steps: of the whole run.
        quiet: print nothing.
    """

    def __init__(self, steps: int, quiet: bool = False):
        self.quiet = quiet
        self.steps = steps
        self.started: tuple[float, int] | None = None
        self.printed = 0.0

    def message(self, text: str) -> None:
        """Print lines of their own."""
        if not self.quiet:
            self._clear()
            show(text, error=True)

    def step(self, step: int, losses: Mapping[str, float], tasks: str = "") -> None:
        """Print the step, the time left, the state of the tasks, and the losses, averaged over translations.

        Args:
            losses: by `translation/loss_G/name` and `translation/loss_D/name`.
        """
        now = time.monotonic()
        if self.started is None:
            self.started = (now, step)
        clear = _clearing()
        if self.quiet or (not clear and now - self.printed < EVERY and step not in (1, self.steps)):
            return
        self.printed = now
        by_loss: dict[str, list[float]] = {}
        for name, value in losses.items():
            by_loss.setdefault(name.partition("/")[2], []).append(value)
        means = "  ".join(f"{name} {fmean(values):.3f}" for name, values in by_loss.items())
        passed, done = now - self.started[0], step - self.started[1]
        left = f"{_duration(passed / done * (self.steps - step))} left" if done else ""
        line = "  ".join(part for part in (f"step {step}/{self.steps}", left, tasks, means) if part)
        if clear:
            write(clear + printable(line)[: shutil.get_terminal_size().columns - 1], error=True)
        else:
            show(line, error=True)

    def _clear(self) -> None:
        if clear := _clearing():
            write(clear, error=True)

    def result(self, result: Mapping[str, Any], folder: RunFolder) -> None:
        """Print the table of figures, on stdout, and where the results are."""
        if self.quiet:
            return
        self._clear()
        with suppress(OSError):
            if translations := result["translations"]:
                title = "held-out samples" if result["held_out"] else "training samples (none were held out)"
                show_figures(translations, title)
            show(
                f"samples  {folder.samples}\nfigures  {folder.result}\n"
                f"report   {folder.report}\nmodel    {folder.model}"
            )


@contextmanager
def progress_bar(what: str, total: int | None, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each of `total` items: on a terminal it advances a bar on stderr.

    Args:
        total: None where it is not known.
        quiet: show nothing.
    """
    with _bar(what, total, MofNCompleteColumn(), quiet) as update:
        count = 0

        def advance() -> None:
            nonlocal count
            count += 1
            update(count)

        yield advance


@contextmanager
def share_bar(what: str) -> Iterator[Callable[[float], None]]:
    """Yield a function to call with the share that is done, 0 to 1: on a terminal it draws a bar on stderr."""
    with _bar(what, 1, TaskProgressColumn()) as update:
        yield update


@contextmanager
def _bar(
    what: str, total: int | None, column: ProgressColumn, quiet: bool = False
) -> Iterator[Callable[[float], None]]:
    """Yield a function to call with how much of the total is done; the first call shows the bar, on a terminal."""
    console = Console(stderr=True)
    shown = _is_terminal() and console.is_terminal and not quiet
    columns = TextColumn("{task.description}", markup=False), BarColumn(), column, TimeRemainingColumn()
    bar = Bar(*columns, console=console, transient=True, auto_refresh=False, disable=not shown)
    task = bar.add_task(printable(what), total=total)
    refreshed = 0.0

    def update(done: float) -> None:
        nonlocal refreshed
        with suppress(OSError, ValueError):  # the terminal may be gone
            bar.start()
            bar.update(task, completed=done)
            if shown and time.monotonic() - refreshed > 0.1:
                refreshed = time.monotonic()
                bar.refresh()

    try:
        yield update
    finally:
        with suppress(OSError, ValueError):
            bar.stop()


def show_figures(translations: Mapping[str, Mapping[str, float]], title: str) -> None:
    """Print the table of figures on stdout.

    Raises:
        OSError: stdout cannot be written.
    """
    console = Console(highlight=False)
    with console.capture() as captured:
        console.print(figures_table(translations, title, console.width))
    write(captured.get())


def _clearing() -> str:
    """Return what clears the current line of stderr; an empty text where no line can be overwritten."""
    if _is_terminal():
        return _CLEAR
    in_notebook = type(sys.stderr).__module__.startswith("ipykernel.")  # which knows \r, and no escape sequence
    return f"\r{' ' * (shutil.get_terminal_size().columns - 1)}\r" if in_notebook else ""


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
