"""What a person sees while a run goes on: on stderr, one line that moves on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from transgan.runs import RunFolder
from transgan.runs.figures import Figures, rows

#: Seconds between two plain lines.
EVERY = 10.0


class Progress:
    """Speaks for the main process; the others are quiet."""

    def __init__(self, steps: int, quiet: bool = False):
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self.out = Console(highlight=False, quiet=quiet)
        self.steps = steps
        self.started: tuple[float, int] | None = None
        self.spoke = 0.0

    def say(self, text: str) -> None:
        """A line of its own."""
        self._clear()
        self.console.print(Text(text), soft_wrap=True)

    def step(self, step: int, losses: Mapping[str, float], tasks: str = "") -> None:
        """How far it is, how long it will take, how the tasks stand, and the losses, summed over translations."""
        now = time.monotonic()
        if self.started is None:
            self.started = (now, step)
        terminal = self.console.is_terminal
        if not terminal and now - self.spoke < EVERY and step not in (1, self.steps):
            return
        self.spoke = now
        sums: dict[str, float] = {}
        for name, value in losses.items():
            short = name.partition("/")[2]
            sums[short] = sums.get(short, 0.0) + value
        shown = "  ".join(
            f"{name.replace('generator/', 'G ').replace('discriminator/', 'D ')} {value:.3f}"
            for name, value in sums.items()
        )
        passed, done = now - self.started[0], step - self.started[1]
        left = f"{_duration(passed / done * (self.steps - step))} left" if done else ""
        line = "  ".join(part for part in (f"step {step}/{self.steps}", left, tasks, shown) if part)
        if terminal and sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K" + line[: self.console.width - 1])
            sys.stderr.flush()
        else:
            self.console.print(Text(line), soft_wrap=True)

    def _clear(self) -> None:
        if self.console.is_terminal and sys.stderr.isatty() and not self.console.quiet:
            sys.stderr.write("\r\x1b[K")

    def result(self, result: Mapping[str, Any], folder: RunFolder) -> None:
        """The table of figures, on stdout."""
        self._clear()
        translations = result["translations"]
        if translations:
            title = "held-out samples" if result["held_out"] else "training samples (none were held out)"
            self.out.print(figures_table(translations, title))
        self.out.print(
            Text(
                f"samples  {folder.samples}\nfigures  {folder.result}\n"
                f"report   {folder.report}\nmodel    {folder.model}"
            ),
            soft_wrap=True,
        )


def figures_table(translations: Figures, title: str) -> Table:
    """A column a translation, a row a figure."""
    table = Table(title=title)
    table.add_column("", no_wrap=True)
    for translation in translations:
        table.add_column(Text(translation), justify="right")
    for name, cells in rows(translations):
        table.add_row(name, *cells)
    return table


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
