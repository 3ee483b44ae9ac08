"""What ends a run early: SIGINT and SIGTERM, on any of its processes."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transgan.engine.processes import Processes
from transgan.errors import INTERRUPTED, TERMINATED

#: Steps between two looks for a signal that has reached another process; one process looks after every step.
AGREE_EVERY = 10


class Signals:
    """The first signal ends the run after the step and a checkpoint; a second one ends it at once."""

    def __init__(self, processes: Processes):
        self.processes = processes
        self.code = 0
        """The exit code that this process was told to end with; 0 for none."""

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Listens while the run goes on."""

        def note(number: int, frame: Any) -> None:
            if self.code:
                raise KeyboardInterrupt
            self.code = INTERRUPTED if number == signal.SIGINT else TERMINATED

        old = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for each, handler in old.items():
                signal.signal(each, handler)

    def stop_code(self, step: int) -> int:
        """The exit code if any process was told to stop: all of them learn of it at the same step."""
        if self.processes.world == 1 or step % AGREE_EVERY == 0:
            return self.processes.largest(self.code)
        return 0
