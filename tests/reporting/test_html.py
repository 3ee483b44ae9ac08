"""The report's curves: whatever is in the log, the page is valid and shows what can be shown."""

import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from transgan.reporting.html import write_report
from transgan.storage import RunFolder

RESULT = {"steps": 3, "seed": 0, "translations": {}, "conditions": {}, "guard": ["step 2: skipped"]}


class Points(HTMLParser):
    """Collects the points of every line."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[list[float]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "points":
                self.found.append([float(each) for pair in (value or "").split() for each in pair.split(",")])


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
def test_a_step_without_numbers_leaves_the_others(tmp_path: Path, at: int, bad: Any) -> None:
    """The kind: a record of a step that was skipped, first, last or between, whose losses are null in the log."""
    values = [1.0, 2.0, 4.0]
    values[at] = bad
    records = [{"step": i + 1, "t: a -> b/loss_G/x": value} for i, value in enumerate(values)]
    folder = RunFolder.at(tmp_path)
    write_report(folder, "run", records, RESULT)
    page = folder.report.read_text()
    assert "step 2: skipped." in page and "nan" not in page
    parser = Points()
    parser.feed(page)
    (points,) = parser.found
    assert len(points) == 4 and all(map(math.isfinite, points))
