"""Run folders that are written by hand: pages read nothing but files."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from transgan.reporting.html import KINDS
from transgan.reporting.runs import RunReader, RunView
from transgan.storage import RunFolder

RECIPE = """\
version = 2  # default
name = "zebra"  # default

[train]
steps = 100  # zebra.toml:4
seed = 7  # default

[tasks.coat]
between = ["horse", "zebra"]  # zebra.toml:6

[losses.cycle]
weight = 10.0  # zebra.toml:9
"""
BEGIN = "2026-01-02 03:04:05+00:00  begins at step 0 of 100 on cpu"
LINE = "coat: horse -> zebra"

WriteRun = Callable[..., RunFolder]


def record(step: int, **more: Any) -> dict[str, Any]:
    """Return a record of metrics.jsonl as a run logs it."""
    values = {f"{LINE}/loss_G/cycle": 1 / step, f"{LINE}/diagnostics/change": 0.1, "lr/generator": 0.1, **more}
    return {"step": step, "epoch": 0.1, "time": 1000.0 + 2 * step, **values}


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """`write_run(name, records, log, result)`: write a run folder; its process is this one."""

    def write(
        name: str = "zebra-1",
        records: Sequence[Mapping[str, Any]] = (),
        log: Sequence[str] = (BEGIN,),
        result: Mapping[str, Any] | None = None,
        recipe: str = RECIPE,
    ) -> RunFolder:
        folder = RunFolder.at(tmp_path / name)
        folder.samples.mkdir(parents=True, exist_ok=True)
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "started": "2026-01-02T03:04:05+00:00"}
        (folder.path / ".lock").write_text(json.dumps(holder))
        folder.recipe.write_text(recipe)
        folder.environment.write_text('{"torch": "2.10", "device": "cpu"}')
        folder.metrics.write_text("".join(json.dumps(each) + "\n" for each in records))
        folder.log.write_text("".join(f"{line}\n" for line in log))
        if result is not None:
            folder.result.write_text(json.dumps(result))
        return folder

    return write


@pytest.fixture
def view_of() -> Callable[[RunFolder], RunView]:
    """`view_of(folder)`: what a page says about a run."""
    return lambda folder: RunReader(folder, None, KINDS).read()


@pytest.fixture
def chromium(tmp_path: Path) -> Callable[..., str]:
    """`chromium(url, *flags)`: the output of a headless browser; skips where there is none."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs chromium, to look at a page as a browser shows it")

    def run(url: object, *flags: str) -> str:
        command = [
            *(program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--user-data-dir={tmp_path / 'browser'}", "--timeout=20000", "--virtual-time-budget=10000"),
            *(*flags, str(url)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run
