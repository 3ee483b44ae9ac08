"""The logs of a run, which grow line by line: numbers for programs, text for people."""

import json
import math
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from transgan.errors import DiskError
from transgan.runs import _disk


class _Lines:
    """A file that only grows, by whole lines."""

    def __init__(self, path: Path):
        self.path = path
        with _disk.blame(path):
            self._handle = _disk.appending(path)

    def _append(self, lines: str) -> None:
        with _disk.blame(self.path):
            _disk.append(self._handle, lines.encode(errors="backslashreplace"))

    def close(self) -> None:
        """Stop writing."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class MetricsLog(_Lines):
    """`metrics.jsonl`: one record a line, in the file as soon as written. What is not finite is written as null."""

    def __init__(self, path: Path):
        super().__init__(path)
        with _disk.blame(path):
            lines = path.read_bytes().split(b"\n")
            torn = len(lines.pop())
            while lines and _record(lines[-1]) is None:  # a lost page of a crashed system is a line of zeros
                torn += len(lines.pop()) + 1
            if torn:
                _disk.cut(self._handle, torn)

    def write(self, record: Mapping[str, float | int | str]) -> None:
        """Add one record."""
        numbers = {name: None if _not_finite(value) else value for name, value in record.items()}
        self._append(json.dumps(numbers, ensure_ascii=False, allow_nan=False) + "\n")

    def rewind(self, step: int) -> None:
        """Forget the records of later steps, which a resumed run makes again."""
        with _disk.blame(self.path):
            lines = self.path.read_bytes().split(b"\n")
            kept = [line + b"\n" for line in lines if (record := _record(line)) and not _later(record, step)]
            self.close()
            try:
                _disk.replace(self.path, b"".join(kept))
            finally:  # whichever file is there now, it is the one to go on with
                self._handle = _disk.appending(self.path)


class TextLog(_Lines):
    """`log.txt`: lines with their time."""

    def write(self, text: str) -> None:
        """Add one line, or several."""
        now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        self._append("".join(f"{now}  {line}\n" for line in text.splitlines() or [""]))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All records of a `metrics.jsonl`; a last line that is still being written is left out, null becomes nan."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DiskError(f"cannot read {path}: {error.strerror}") from error
    records: list[dict[str, Any]] = []
    damaged = 0
    for number, line in enumerate(lines[:-1], 1):
        record = _record(line)
        if record is None:
            damaged = damaged or number
        elif damaged:
            raise DiskError(f"{path}: line {damaged} is damaged; delete that line")
        else:
            records.append({name: math.nan if value is None else value for name, value in record.items()})
    return records


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _later(record: Mapping[str, Any], step: int) -> bool:
    at = record.get("step")
    return isinstance(at, int | float) and at > step


def _not_finite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
