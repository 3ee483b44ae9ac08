"""The console of a run: on stderr, one line that is overwritten on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.text import Text

from transgan.reporting.tables import figures_table
from transgan.storage import RunFolder

#: Seconds between two plain lines.
EVERY = 10.0


class Progress:
    """Prints for the main process; other processes are quiet.

    Args:
        steps: of the whole run.
        quiet: print nothing.
    """

    def __init__(self, steps: int, quiet: bool = False):
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.out = Console(highlight=False, quiet=quiet)
        self.steps = steps
        self.started: tuple[float, int] | None = None
        self.printed = 0.0

    def message(self, text: str) -> None:
        """Print a line of its own."""
        self._clear()
        self.console.print(Text(text), soft_wrap=True)

    def step(self, step: int, losses: Mapping[str, float], tasks: str = "") -> None:
        """Print the step, the time left, the state of the tasks, and the losses, averaged over translations.

        Args:
            losses: by `translation/loss_G/name` and `translation/loss_D/name`.
        """
        now = time.monotonic()
        if self.started is None:
            self.started = (now, step)
        terminal = self.console.is_terminal
        if not terminal and now - self.printed < EVERY and step not in (1, self.steps):
            return
        self.printed = now
        by_loss: dict[str, list[float]] = {}
        for name, value in losses.items():
            by_loss.setdefault(name.partition("/")[2], []).append(value)
        means = "  ".join(f"{name} {fmean(values):.3f}" for name, values in by_loss.items())
        passed, done = now - self.started[0], step - self.started[1]
        left = f"{_duration(passed / done * (self.steps - step))} left" if done else ""
        line = "  ".join(part for part in (f"step {step}/{self.steps}", left, tasks, means) if part)
        if terminal and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K" + line[: self.console.width - 1])
            sys.stderr.flush()
        else:
            self.console.print(Text(line), soft_wrap=True)

    def _clear(self) -> None:
        if self.console.is_terminal and sys.stderr.isatty() and not self.console.quiet:
            sys.stderr.write("\r\x1b[K")

    def result(self, result: Mapping[str, Any], folder: RunFolder) -> None:
        """Print the table of figures, on stdout, and where the results are."""
        self._clear()
        translations = result["translations"]
        if translations:
            title = "held-out samples" if result["held_out"] else "training samples (none were held out)"
            self.out.print(figures_table(translations, title, self.out.width))
        self.out.print(
            Text(
                f"samples  {folder.samples}\nfigures  {folder.result}\n"
                f"report   {folder.report}\nmodel    {folder.model}"
            ),
            soft_wrap=True,
        )


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
