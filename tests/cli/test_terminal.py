"""A real terminal, with and without NO_COLOR, and none: where escape sequences are, and bars."""

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

pty = pytest.importorskip("pty", reason="there are no pseudo-terminals on Windows")

#: What colors and styles text; other sequences move the cursor or clear a line.
COLOR = re.compile(r"\x1b\[[0-9;]*m")
#: A bar, the line of a run, and the table of figures, as commands print them.
PROGRAM = """
import time
from transgan.progress import progress_bar
from transgan.reporting.console import Progress, show_figures

with progress_bar("reading", 3) as seen:
    for _ in range(3):
        seen()
        time.sleep(0.11)
progress = Progress(2)
progress.step(1, {"age: a -> b/loss_G/lsgan": 0.5})
progress.step(2, {"age: a -> b/loss_G/lsgan": 0.25})
progress.message("done")
show_figures({"age: a -> b": {"error": 0.5}}, "held-out samples")
"""
PLAIN = dict.fromkeys(("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"), "")


class Piped(NamedTuple):
    """What a process has returned and printed."""

    returncode: int
    stdout: str
    stderr: str


def variables(**given: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in PLAIN}
    return {**kept, "TERM": "xterm-256color", "COLUMNS": "100", **given}


def read_terminal(ours: int, theirs: int, is_running: Callable[[], bool]) -> str:
    """Return all that a process prints in a terminal until it ends, and close the terminal."""
    printed = b""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        running = is_running()
        if select.select([ours], [], [], 0.05)[0]:
            printed += os.read(ours, 65536)
        elif not running:
            break
    os.close(ours)
    os.close(theirs)
    return printed.decode()


@pytest.fixture
def in_terminal(forked: Any) -> Callable[..., tuple[int, str]]:
    """`in_terminal(*words, **variables)`: run Python with a terminal as stdin, stdout and stderr.

    Returns its exit code and all that it has printed.
    """

    def run(*words: str, **given: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        process = forked(words, [os.ttyname(theirs)] * 3, environment=variables(**given))
        printed = read_terminal(ours, theirs, process.is_alive)
        process.join(60)
        return process.exitcode, printed

    return run


@pytest.fixture
def piped(forked: Any, tmp_path: Path) -> Callable[..., Piped]:
    """`piped(*words, **variables)`: run Python without a terminal."""

    def run(*words: str, **given: str) -> Piped:
        streams = tmp_path / "stdout", tmp_path / "stderr"
        for path in streams:
            path.write_text("")
        process = forked(words, (os.devnull, *streams), environment=variables(**given))
        process.join(240)
        return Piped(process.exitcode, *(path.read_text() for path in streams))

    return run


def test_a_terminal_has_bars_and_styles(in_terminal: Any) -> None:
    code, printed = in_terminal("-c", PROGRAM)
    assert code == 0, printed
    assert COLOR.search(printed) and "3/3" in printed
    assert "\r\x1b[K[##########..........]  step 1/2" in printed and "[####################]  step 2/2" in printed


def test_no_color_on_a_terminal(in_terminal: Any) -> None:
    code, printed = in_terminal("-c", PROGRAM, NO_COLOR="1")
    assert code == 0 and "3/3" in printed and "step 1/2" in printed and "error" in printed
    assert not COLOR.search(printed)
    assert COLOR.search(in_terminal("-c", PROGRAM, NO_COLOR="")[1])  # an empty value is none


def test_a_dumb_terminal_has_plain_lines(in_terminal: Any) -> None:
    code, printed = in_terminal("-c", PROGRAM, TERM="dumb")
    assert code == 0 and "\x1b" not in printed
    lines = printed.replace("\r\n", "\n").splitlines()
    assert lines[0].startswith("step 1/2  ") and lines[1].startswith("step 2/2  ") and lines[2] == "done"


def test_pipes_have_plain_lines_unless_color_is_forced(piped: Any) -> None:
    done = piped("-c", PROGRAM)
    assert "\x1b" not in done.stdout + done.stderr and "\r" not in done.stderr
    assert [line.split()[0] for line in done.stderr.splitlines()] == ["step", "step", "done"]
    forced = piped("-c", PROGRAM, FORCE_COLOR="1")
    assert COLOR.search(forced.stdout) and "\x1b" not in forced.stderr  # of color alone: there is no terminal for a bar
    assert "\x1b" not in piped("-c", PROGRAM, FORCE_COLOR="1", NO_COLOR="1").stdout


def test_only_the_first_process_of_a_machine_draws(in_terminal: Any) -> None:
    code, printed = in_terminal("-c", PROGRAM.partition("progress = ")[0], LOCAL_RANK="1")
    assert (code, printed) == (0, "")


def test_work_that_takes_long_prints_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from transgan import progress

    now = 100.0
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: now))
    with progress.progress_bar("reading", 30) as seen:
        for _ in range(30):
            now += 1.0
            seen()
    with progress.progress_bar("measuring", 4) as seen:
        now += 600.0  # of preparing
        for _ in range(4):
            now += 10.0
            seen()
    with progress.share_bar("a.file") as share:
        now += 30.0
        share(0.25)
    assert capsys.readouterr().err.splitlines() == [
        "reading  10 of 30  0:20 left",
        "reading  20 of 30  0:10 left",
        "reading  30 of 30",
        "measuring  1 of 4",
        "measuring  2 of 4  0:20 left",
        "measuring  3 of 4  0:10 left",
        "measuring  4 of 4",
        "a.file  25%  1:30 left",
    ]


@pytest.mark.parametrize("given", [{}, {"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}])
def test_help_errors_and_lists_have_no_colors_on_a_terminal(given: dict[str, str]) -> None:
    """Each in a new process, since the command line reads some variables when it is imported."""
    for line, expected in (("--help", 0), ("run -h", 0), ("run nowhere.toml", 2), ("trian", 2), ("recipes", 0)):
        ours, theirs = pty.openpty()
        words = [sys.executable, "-m", "transgan", *line.split()]
        process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=variables(**given))
        printed = read_terminal(ours, theirs, lambda process=process: process.poll() is None)
        assert process.returncode == expected and printed and "\x1b" not in printed


def test_lists_and_help_follow_the_width(piped: Any) -> None:
    for words, columns in (("--help", "60"), ("--help", "100"), ("plugins", "60")):
        done = piped("-m", "transgan", words, COLUMNS=columns)
        assert done.returncode == 0
        assert max(map(len, done.stdout.splitlines())) <= int(columns), words


def test_a_run_on_a_terminal(in_terminal: Any, recipe: Path) -> None:
    words = ("-m", "transgan", "run", str(recipe), "--set", "train.steps=4")
    code, printed = in_terminal(*words, NO_COLOR="1")
    assert code == 0, printed
    assert "[####################]  step 4/4" in printed and "cycle_error" in printed
    assert not COLOR.search(printed)
