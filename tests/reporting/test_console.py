"""What a person reads while a run goes on and at its end."""

import io

import pytest
from rich.console import Console

from transgan.reporting.console import Progress
from transgan.reporting.tables import figures_table

SPEAKERS = ["anna", "bert", "cleo", "dora"]
FIGURES = {
    f"voice: {a} -> {b}": {"share": 0.125, "error": 3.5 + i, "error_low": 3.0, "error_high": 4.0}
    for i, (a, b) in enumerate((a, b) for a in SPEAKERS for b in SPEAKERS if a != b)
}


@pytest.mark.parametrize("width", [40, 80, 120, 400])
def test_every_figure_of_many_translations_can_be_read(width: int) -> None:
    file = io.StringIO()
    Console(file=file, width=width).print(figures_table(FIGURES, "held-out samples", width))
    shown = file.getvalue()
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width and "…" not in shown
    for i, name in enumerate(FIGURES):
        assert shown.count(name) == 1
        assert shown.count(f"{3.5 + i:.{1 if i > 6 else 3}f} ±{0.5:.{1 if i > 6 else 3}f}") == 1
    assert shown.count("held-out samples") == 1


def test_losses_are_shown_as_means_so_that_many_translations_look_like_few(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(10)
    progress.step(1, {f"{name}/generator/lsgan": float(i) for i, name in enumerate(FIGURES)})
    assert "step 1/10  G lsgan 5.500" in capsys.readouterr().err
