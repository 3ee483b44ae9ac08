"""The console of a run: on stderr, one line that is overwritten on a terminal or in a notebook, else plain lines."""

import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from statistics import fmean
from typing import Any

from transgan.progress import EVERY, console, duration, on_terminal
from transgan.reporting.tables import figures_table
from transgan.storage import RunFolder
from transgan.text import printable, show, write

#: Characters of the bar before the step, on a terminal that is wide enough for it.
_BAR, _WIDE = 20, 80
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
            self.clear()
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
        left = f"{duration(passed / done * (self.steps - step))} left" if done else ""
        line = "  ".join(part for part in (f"step {step}/{self.steps}", left, tasks, means) if part)
        if clear:
            width = shutil.get_terminal_size().columns
            filled = min(_BAR, _BAR * step // max(1, self.steps))
            bar = f"[{'#' * filled}{'.' * (_BAR - filled)}]  " if width >= _WIDE else ""
            write(clear + (bar + printable(line))[: width - 1], error=True)
        else:
            show(line, error=True)

    def clear(self) -> None:
        """Clear the line that is overwritten, so that what others print does not stand behind it."""
        if not self.quiet and (clear := _clearing()):
            write(clear, error=True)

    def result(self, result: Mapping[str, Any], folder: RunFolder) -> None:
        """Print the table of figures, on stdout, and where the results are."""
        if self.quiet:
            return
        self.clear()
        with suppress(OSError):
            if translations := result["translations"]:
                title = "held-out samples" if result["held_out"] else "training samples (none were held out)"
                show_figures(translations, title)
            show(
                f"samples  {folder.samples}\nfigures  {folder.result}\n"
                f"report   {folder.report}\nmodel    {folder.model}"
            )


def show_figures(translations: Mapping[str, Mapping[str, float]], title: str) -> None:
    """Print the table of figures on stdout.

    Raises:
        OSError: stdout cannot be written.
    """
    screen = console()
    with screen.capture() as captured:
        screen.print(figures_table(translations, title, screen.width))
    write(captured.get())


def _clearing() -> str:
    """Return what clears the current line of stderr; an empty text where no line can be overwritten."""
    if on_terminal():
        return _CLEAR
    in_notebook = type(sys.stderr).__module__.startswith("ipykernel.")  # which knows \r, and no escape sequence
    return f"\r{' ' * (shutil.get_terminal_size().columns - 1)}\r" if in_notebook else ""
