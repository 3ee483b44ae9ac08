"""The curves of a run, in bounded memory: of a long run the mean, the lowest and the highest value of each bucket."""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

#: A run's records are divided into at most this many buckets; beyond, neighbours are joined.
MAX_BUCKETS = 400
#: Records that advice is based on: beyond twice as many, every second one is dropped.
KEPT = 1000
#: A pause between two records, of which nothing else is known, is none of training where it is longer than N seconds,
#: and than M times the usual.
PAUSE, USUAL = 300.0, 20.0

_NO_FIGURES = ("step", "epoch", "time")


@dataclass
class _Bucket:
    """Records in a row."""

    count: int
    steps: float
    """The sum of their steps."""
    values: dict[str, list[float]]
    """For each figure the number of values, their sum, the lowest, the highest."""

    def join(self, other: "_Bucket") -> None:
        self.count += other.count
        self.steps += other.steps
        for key, (count, total, low, high) in other.values.items():
            mine = self.values.get(key)
            if mine is None:
                self.values[key] = [count, total, low, high]
            else:
                mine[0] += count
                mine[1] += total
                mine[2] = min(mine[2], low)
                mine[3] = max(mine[3], high)


@dataclass(frozen=True)
class Line:
    """A figure over the run."""

    buckets: list[int]
    """The buckets that have a value."""
    means: list[float]
    lows: list[float]
    highs: list[float]


class Curves:
    """What a page shows of metrics.jsonl, updated record by record."""

    def __init__(self) -> None:
        self.size = 1
        """Records in a bucket."""
        self.records = 0
        self.buckets: list[_Bucket] = []
        self.newest: dict[str, float] = {}
        """The newest value of each figure."""
        self.step = 0
        self.seconds = 0.0
        """Time between records, without pauses."""
        self.recent: list[Mapping[str, Any]] = []
        """Records with diagnostics, thinned."""
        self.begins: Sequence[float] = ()
        """When training began, and went on after each end, in seconds since 1970, as far as that is known."""
        self._time: tuple[float, float] | None = None
        self._rates: deque[float] = deque(maxlen=60)

    def update(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take in records, in their order. Values that are not finite are omitted."""
        for record in records:
            self._add(record)

    def _add(self, record: Mapping[str, Any]) -> None:
        step = float(record["step"])
        self.step = int(step)
        if self.records % self.size == 0:
            if len(self.buckets) >= MAX_BUCKETS:
                self._halve()
            self.buckets.append(_Bucket(0, 0.0, {}))
        bucket = self.buckets[-1]
        bucket.count += 1
        bucket.steps += step
        self.records += 1
        values, newest = bucket.values, self.newest
        for key, value in record.items():
            if key in _NO_FIGURES or not isinstance(value, (int, float)) or not math.isfinite(value):
                continue  # a step that was skipped has no numbers
            newest[key] = value
            found = values.get(key)
            if found is None:
                values[key] = [1, value, value, value]
            else:
                found[0] += 1
                found[1] += value
                if value < found[2]:
                    found[2] = value
                elif value > found[3]:
                    found[3] = value
        if any("/diagnostics/" in key for key in record):
            self.recent.append(record)
            if len(self.recent) > 2 * KEPT:
                self.recent = self.recent[::2]
        if isinstance(time := record.get("time"), (int, float)):
            self._add_time(step, float(time))

    def _halve(self) -> None:
        for first, second in zip(self.buckets[::2], self.buckets[1::2], strict=True):
            first.join(second)
        self.buckets = self.buckets[::2]
        self.size *= 2

    def _add_time(self, step: float, time: float) -> None:
        if self._time is not None:
            begin = max((each for each in self.begins if self._time[1] < each <= time), default=self._time[1])
            steps, passed = step - self._time[0], time - begin
            usual = self.seconds_per_step
            if steps > 0 and passed > 0 and not (passed > PAUSE and passed > USUAL * steps * (usual or 0.0)):
                self.seconds += passed
                self._rates.append(passed / steps)
        self._time = (step, time)

    @property
    def seconds_per_step(self) -> float | None:
        """The usual time of a step in the newest part of the run; None where it is not known."""
        return median(self._rates) if self._rates else None

    @property
    def steps(self) -> list[int]:
        """The mean step of each bucket."""
        return [round(bucket.steps / bucket.count) for bucket in self.buckets]

    def lines(self) -> dict[str, Line]:
        """Return every figure over the run."""
        found: dict[str, Line] = {}
        for number, bucket in enumerate(self.buckets):
            for key, (count, total, low, high) in bucket.values.items():
                line = found.get(key)
                if line is None:
                    line = found[key] = Line([], [], [], [])
                line.buckets.append(number)
                line.means.append(total / count)
                line.lows.append(low)
                line.highs.append(high)
        return found
