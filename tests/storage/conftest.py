"""Helpers for tests of storage: functions that crash, fork or limit their process run in a fresh one."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture
def in_fresh_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`in_fresh_process(__file__, function, *words)`: run the test module as a script that calls one of its functions.

    The process that runs the tests must not fork: torch may have started threads in it, which the forked process lacks
    and would wait for. A fresh process may fork as long as torch uses one thread.
    """
    started = []

    def start(module: str, function: Callable[..., None], *words: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore", module, function.__name__, *map(str, words)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
