"""What a person sees while a run goes on: on stderr, one line that moves on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Mapping
from statistics import fmean
from typing import Any

from rich.console import Console, Group
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
        """How far it is, how long it will take, how the tasks stand, and the losses: of translations the mean."""
        now = time.monotonic()
        if self.started is None:
            self.started = (now, step)
        terminal = self.console.is_terminal
        if not terminal and now - self.spoke < EVERY and step not in (1, self.steps):
            return
        self.spoke = now
        means: dict[str, list[float]] = {}
        for name, value in losses.items():
            means.setdefault(name.partition("/")[2], []).append(value)
        shown = "  ".join(
            f"{name.replace('generator/', 'G ').replace('discriminator/', 'D ')} {fmean(values):.3f}"
            for name, values in means.items()
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
            self.out.print(figures_table(translations, title, self.out.width))
        self.out.print(
            Text(
                f"samples  {folder.samples}\nfigures  {folder.result}\n"
                f"report   {folder.report}\nmodel    {folder.model}"
            ),
            soft_wrap=True,
        )


def figures_table(translations: Figures, title: str, width: int) -> Group:
    """A column a translation, a row a figure; in several tables where the columns would be too narrow to be read.

    Args:
        width: characters that there are.
    """
    cells = list(rows(translations))
    first = max((len(name) for name, _ in cells), default=0)
    column = max(len(each) for each in (*translations, *(cell for _, row in cells for cell in row)))
    fit = max(1, (width - first - 4) // (column + 3))
    tables = []
    for begin in range(0, len(translations), fit):
        table = Table(title=title if not begin else None)
        table.add_column("", no_wrap=True)
        for translation in list(translations)[begin : begin + fit]:
            table.add_column(Text(translation), justify="right")
        for name, row in cells:
            if any(row[begin : begin + fit]):
                table.add_row(name, *row[begin : begin + fit])
        tables.append(table)
    return Group(*tables)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
