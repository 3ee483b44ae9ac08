"""Progress of work on many items: a bar on a terminal, plain lines elsewhere, always on stderr."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from transgan.text import is_quiet, printable, show

#: Seconds between two plain lines.
EVERY = 10.0
#: Seconds between two states of a bar.
_REFRESH = 0.1


@contextmanager
def progress_bar(what: str, total: int | None, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """Yield a function to call after each of `total` items.

    On a terminal it advances a bar on stderr; elsewhere it prints a line there every ten seconds.

    Args:
        what: is being done, in a few words.
        total: None where it is not known.
        quiet: show nothing, as with `--quiet`.
    """
    with _bar(what, total, quiet, shares=False) as update:
        count = 0

        def advance() -> None:
            nonlocal count
            count += 1
            update(count)

        yield advance


@contextmanager
def share_bar(what: str, quiet: bool = False) -> Iterator[Callable[[float], None]]:
    """Yield a function to call with the share that is done, 0 to 1; it shows what `progress_bar` shows."""
    with _bar(what, 1, quiet, shares=True) as update:
        yield update


def on_terminal() -> bool:
    """Return whether stderr is a terminal that can move its cursor, and this process the one that may write to it."""
    if os.environ.get("TERM", "").lower() in ("dumb", "unknown") or os.environ.get("LOCAL_RANK", "0") != "0":
        return False
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # there is none, or it is closed
        return False


def console(error: bool = False) -> Any:
    """Return a `rich.console.Console` on stdout or stderr; NO_COLOR, or a dumb terminal, wants no colors."""
    from rich.console import Console

    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "").lower() in ("dumb", "unknown")
    return Console(stderr=error, highlight=False, color_system=None if plain else "auto")


def duration(seconds: float) -> str:
    """Return a time as `1:02`, or `1:02:03` from an hour on."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


@contextmanager
def _bar(what: str, total: int | None, quiet: bool, shares: bool) -> Iterator[Callable[[float], None]]:
    """Yield a function to call with how much of the total is done."""
    if quiet or is_quiet() or os.environ.get("LOCAL_RANK", "0") != "0":
        yield lambda done: None
    elif on_terminal():
        with _drawn(what, total, shares) as update:
            yield update
    else:
        yield _Lines(what, total, shares)


@contextmanager
def _drawn(what: str, total: int | None, shares: bool) -> Iterator[Callable[[float], None]]:
    """Yield a function that draws a bar; its first call shows it. A terminal that is gone ends nothing."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    done_so_far = TaskProgressColumn() if shares else MofNCompleteColumn()
    columns = TextColumn("{task.description}", markup=False), BarColumn(), done_so_far, TimeRemainingColumn()
    bar = Progress(*columns, console=console(error=True), transient=True, auto_refresh=False)
    task = bar.add_task(printable(what), total=total)
    refreshed = 0.0

    def update(done: float) -> None:
        nonlocal refreshed
        with suppress(OSError, ValueError):
            bar.start()
            bar.update(task, completed=done)
            if time.monotonic() - refreshed > _REFRESH:
                refreshed = time.monotonic()
                bar.refresh()

    try:
        yield update
    finally:
        with suppress(OSError, ValueError):
            bar.stop()


class _Lines:
    """Prints a line every ten seconds: what short work does is not worth one."""

    def __init__(self, what: str, total: int | None, shares: bool):
        self.what = what
        self.total = total
        self.shares = shares
        self.printed = time.monotonic()
        self.first: tuple[float, float] | None = (self.printed, 0.0) if shares else None
        """When how much was done first; of items the first, for what is prepared before is no part of an estimate."""

    def __call__(self, done: float) -> None:
        now = time.monotonic()
        self.first = self.first or (now, done)
        if now - self.printed < EVERY:
            return
        self.printed = now
        count = f"{done:.0%}" if self.shares else f"{done:,.0f}" + (f" of {self.total:,}" if self.total else "")
        passed, since = now - self.first[0], done - self.first[1]
        left = passed / since * (self.total - done) if self.total and since > 0 else 0.0
        show(f"{self.what}  {count}" + (f"  {duration(left)} left" if left > 0 else ""), error=True)
