"""Curves in bounded memory: compared with numpy over all records at once."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from transgan.reporting.comparison import mean_line
from transgan.reporting.curves import MAX_BUCKETS, Curves, Line
from transgan.storage import MetricsLog, MetricsReader


def curves_of(records: list[dict[str, Any]]) -> Curves:
    found = Curves()
    found.update(records)
    return found


@pytest.mark.parametrize("count", [1, MAX_BUCKETS, MAX_BUCKETS + 1, 2 * MAX_BUCKETS, 10_007])
def test_buckets_hold_mean_lowest_and_highest_of_their_records(count: int) -> None:
    values = np.random.default_rng(0).normal(size=count)
    curves = curves_of([{"step": 10 * i, "a": float(value)} for i, value in enumerate(values)])
    size = 1
    while count > MAX_BUCKETS * size:
        size *= 2
    assert curves.size == size
    parts = [values[first : first + size] for first in range(0, count, size)]
    line = curves.lines()["a"]
    assert line.buckets == list(range(len(parts)))
    assert np.allclose(line.means, [part.mean() for part in parts], rtol=1e-12, atol=1e-12)
    assert line.lows == [part.min() for part in parts] and line.highs == [part.max() for part in parts]
    middles = [round(10 * np.arange(count)[first : first + size].mean()) for first in range(0, count, size)]
    assert np.abs(np.array(curves.steps) - middles).max() <= 1  # halves are rounded


@pytest.mark.parametrize("bad", [math.nan, math.inf, None, "text"])
def test_what_is_no_number_is_omitted(bad: Any) -> None:
    curves = curves_of([{"step": 1, "a": 1.0}, {"step": 2, "a": bad, "b": 5}, {"step": 3, "a": 3.0}])
    lines = curves.lines()
    assert lines["a"] == Line([0, 2], [1.0, 3.0], [1.0, 3.0], [1.0, 3.0])
    assert lines["b"].buckets == [1]


def test_a_pause_is_no_time_of_training() -> None:
    times = [2.0 * step + (100_000 if step > 50 else 0) for step in range(1, 101)]  # resumed a day later
    curves = curves_of([{"step": step, "time": time} for step, time in enumerate(times, 1)])
    assert curves.seconds == 98 * 2 and curves.seconds_per_step == 2


def test_a_pause_that_is_shorter_than_usual_ones_is_none_either() -> None:
    """Stopped at step 50 and continued 100 seconds later: the run says when it began again."""
    times = [2.0 * step + (100 if step > 50 else 0) for step in range(1, 101)]
    curves = Curves()
    curves.begins = [0.0, 200.0]  # the first step after the second begin ends at 202
    curves.update({"step": step, "time": time} for step, time in enumerate(times, 1))
    assert curves.seconds == 99 * 2 and curves.seconds_per_step == 2


def test_a_log_is_read_as_it_grows_and_anew_after_a_rollback(tmp_path: Path) -> None:
    reader = MetricsReader(tmp_path / "metrics.jsonl")
    assert list(reader.read()[1]) == []  # there is no file yet
    with MetricsLog(reader.path) as log:
        for step in range(1, 6):
            log.write({"step": step, "a": math.nan if step == 2 else step})
        anew, records = reader.read()
        assert anew and [each["a"] for each in records] == [1, None, 3, 4, 5]
        log.write({"step": 6, "a": 6})
        anew, records = reader.read()
        assert not anew and [each["step"] for each in records] == [6]
        log.rewind(4)
        for step in (5, 6, 7):
            log.write({"step": step, "a": -step})
        anew, records = reader.read()
        assert anew and [each["a"] for each in records] == [1, None, 3, 4, -5, -6, -7]
    with reader.path.open("ab") as file:  # a line that is being written, and one that a crash has damaged
        file.write(b"\0\0\n" + json.dumps({"step": 8}).encode())
    anew, records = reader.read()
    assert not anew and list(records) == []


def test_the_mean_of_lines_is_over_those_that_have_a_bucket() -> None:
    first, second = Line([0, 1], [1, 2], [0, 2], [2, 2]), Line([1, 2], [4, 5], [3, 5], [6, 5])
    assert mean_line([first, second]) == Line([0, 1, 2], [1, 3, 5], [0, 2, 5], [2, 6, 5])
