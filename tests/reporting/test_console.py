"""The console: the progress of a run, and the table of figures at its end."""

import io
import re
import sys

import pytest
from rich.console import Console

from transgan.progress import progress_bar
from transgan.reporting.console import Progress, show_figures
from transgan.reporting.tables import figures_table

SPEAKERS = ["anna", "bert", "cleo", "dora"]
FIGURES = {
    f"voice: {a} -> {b}": {"share": 0.125, "error": 3.5 + i, "error_low": 3.0, "error_high": 4.0}
    for i, (a, b) in enumerate((a, b) for a in SPEAKERS for b in SPEAKERS if a != b)
}


@pytest.mark.parametrize("width", [40, 80, 120, 400])
def test_every_figure_of_many_translations_is_printed(width: int) -> None:
    file = io.StringIO()
    Console(file=file, width=width).print(figures_table(FIGURES, "held-out samples", width))
    printed = file.getvalue()
    lines = printed.splitlines()
    assert max(map(len, lines)) <= width and "…" not in printed
    for i, name in enumerate(FIGURES):
        assert printed.count(name) == 1
        assert printed.count(f"{3.5 + i:.{1 if i > 6 else 3}f} ±{0.5:.{1 if i > 6 else 3}f}") == 1
    assert printed.count("held-out samples") == 1


@pytest.mark.parametrize("width", [20, 30, 40])
def test_in_a_narrow_terminal_names_are_wrapped_and_figures_whole(width: int) -> None:
    figures = {"low -> high": {"speaker_share_of_source": 0.123, "mel_cepstral_distortion_of_vocoder": 14.56}}
    file = io.StringIO()
    Console(file=file, width=width).print(figures_table(figures, "held-out samples", width))
    cells = [line.split("│")[1:3] for line in file.getvalue().splitlines() if line.startswith("│")]
    assert [right.strip() for _, right in cells if right.strip()] == ["0.123", "14.6"]
    assert "".join(left.strip() for left, _ in cells) == "".join(figures["low -> high"])


def test_losses_are_averaged_over_translations(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(10)
    progress.step(1, {f"{name}/loss_G/lsgan": float(i) for i, name in enumerate(FIGURES)})
    assert "step 1/10  loss_G/lsgan 5.500" in capsys.readouterr().err


class Terminal(io.StringIO):
    """A stderr that is a terminal; of an encoding, and one that goes away."""

    gone = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.gone:
            raise OSError(5, "Input/output error")
        return super().write(text)


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    return stream


def test_a_notebook_overwrites_the_line_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr("sys.stderr", stream)
    progress = Progress(10)
    shown = []
    for step in (1, 2):
        progress.step(step, {"age: young -> old/loss_G/lsgan": 1.0})
        shown.append(as_page(stream.getvalue()))
    progress.message("done")
    assert [re.search(r"step \d+/10", each)[0] for each in shown] == ["step 1/10", "step 2/10"] and "\n" not in "".join(
        shown
    )
    assert as_page(stream.getvalue()) == "done\n" and "\x1b" not in stream.getvalue()


def as_page(text: str) -> str:
    """Return a text as a page shows it: what follows a carriage return overwrites what is before it."""
    lines = []
    for line in text.split("\n"):
        cells: list[str] = []
        for part in line.split("\r"):
            cells[: len(part)] = part
        lines.append("".join(cells).rstrip())
    return "\n".join(lines)


def test_quiet_is_quiet_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the kind: every method of the console, on a terminal and elsewhere; other processes are quiet the same way."""
    stream = terminal(monkeypatch)
    progress = Progress(10, quiet=True)
    progress.step(1, {"age: a -> b/loss_G/lsgan": 0.5})
    progress.message("text")
    progress.result({"translations": FIGURES, "held_out": True}, folder=None)  # type: ignore[arg-type]
    assert stream.getvalue() == "" and capsys.readouterr().out == ""


def test_a_terminal_that_goes_away_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = terminal(monkeypatch)
    progress = Progress(10)
    progress.step(1, {"age: a -> b/loss_G/lsgan": 0.5})
    assert "step 1/10" in stream.getvalue()
    stream.gone = True
    progress.step(2, {"age: a -> b/loss_G/lsgan": 0.5})
    progress.message("text")


def test_names_cannot_control_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the kind: control characters and markup, in names of losses, translations, figures and messages."""
    stream = terminal(monkeypatch)
    progress = Progress(10)
    progress.step(1, {"age: a -> b/loss_G/\x1b[2Jx": 0.5})
    progress.message("a file\x1b]0;x\x07 [red]name[/red]")
    assert "\x1b" not in stream.getvalue().replace("\r\x1b[K", "")
    assert "\\u001b[2Jx 0.500" in stream.getvalue() and "[red]name[/red]" in stream.getvalue()
    show_figures({"a\x1b[31m": {"[bold]f1[/bold]\n": 0.5}}, "title [red]x")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "[bold]f1[/bold]\\u000a" in shown and "title [red]x" in shown


class Terminal(io.StringIO):
    """A terminal that may be gone: then nothing can be written."""

    gone = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.gone:
            raise OSError(5, "Input/output error")
        return super().write(text)


@pytest.mark.parametrize("quiet", [True, False])
@pytest.mark.parametrize("kind", ["terminal", "terminal that is gone", "file"])
def test_a_progress_bar_is_shown_on_a_terminal_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, kind: str, quiet: bool
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = io.StringIO() if kind == "file" else Terminal()
    if isinstance(stream, Terminal):
        stream.gone = kind == "terminal that is gone"
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar("reading", 3, quiet) as seen:
        for _ in range(3):
            seen()
    assert ("reading" in stream.getvalue()) == (kind == "terminal" and not quiet)
