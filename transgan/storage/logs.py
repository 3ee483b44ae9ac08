"""The append-only logs of a run: metrics.jsonl for programs, log.txt for people."""

import json
import math
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from transgan.errors import DiskError
from transgan.storage import atomic
from transgan.text import printable_lines

#: Lines that are kept while they cannot be written; of more, the oldest are lost.
MAX_PENDING = 10_000
#: Bytes at the end of log.txt that are read for people.
MAX_LOG = 1_000_000


class _Log:
    """A file to which whole lines are appended. What a full disk does not take is written with the next lines."""

    def __init__(self, path: Path):
        self.path = path
        self._pending: deque[bytes] = deque(maxlen=MAX_PENDING)
        self._written = 0
        with atomic.disk_errors(path):
            self._handle = atomic.open_to_append(path)

    def _append(self, lines: str) -> None:
        self._pending.append(lines.encode(errors="backslashreplace"))
        self._write_pending()

    def _write_pending(self) -> None:
        with atomic.disk_errors(self.path):
            atomic.append(self._handle, b"".join(self._pending))
            self._written += len(self._pending)
            self._pending.clear()

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class MetricsLog(_Log):
    """`metrics.jsonl`: one JSON record a line, in the file as soon as it is written.

    Opening it removes an incomplete line at its end, which a crash left.

    Raises:
        DiskError: the file cannot be written.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        with atomic.disk_errors(path):
            lines = path.read_bytes().split(b"\n")
            incomplete = len(lines.pop())
            while lines and _record(lines[-1]) is None:  # a crash of the system can leave a page of zeros
                incomplete += len(lines.pop()) + 1
            if incomplete:
                atomic.drop_end(self._handle, incomplete)
            self._written = sum(_record(line) is not None for line in lines)

    def write(self, record: Mapping[str, float | int | str]) -> None:
        """Append one record; NaN and infinities are written as null."""
        values = {name: None if _is_non_finite(value) else value for name, value in record.items()}
        self._append(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n")

    @property
    def count(self) -> int:
        """The number of records, with those that are still to be written."""
        return self._written + len(self._pending)

    @property
    def written(self) -> int:
        """The number of records in the file."""
        return self._written

    def sync(self) -> None:
        """Wait until all records are on the disk.

        Raises:
            DiskError: some cannot be written.
        """
        self._write_pending()
        with atomic.disk_errors(self.path):
            atomic.sync_file(self._handle)

    def rewind(self, step: int, count: int | None = None) -> None:
        """Remove the records of steps after `step`, and those after the first `count`: a run writes them again.

        Where these are the last ones, the file is cut, which a full disk does not prevent.
        """
        self._pending.clear()
        with atomic.disk_errors(self.path):
            content = self.path.read_bytes()
            records = [(line + b"\n", record) for line in content.split(b"\n") if (record := _record(line))]
            lines = [line for line, record in records[:count] if not _is_after(record, step)]
            kept = b"".join(lines)
            if content.startswith(kept):
                atomic.drop_end(self._handle, len(content) - len(kept))
            else:
                self.close()
                try:
                    atomic.replace(self.path, kept)
                finally:  # reopen the old file where the replacement failed
                    self._handle = atomic.open_to_append(self.path)
            self._written = len(lines)


class TextLog(_Log):
    """`log.txt`: messages, each line with the time."""

    def write(self, text: str) -> None:
        """Append one line or several."""
        now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        self._append("".join(f"{now}  {line}\n" for line in printable_lines(text).split("\n")))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Return the records of a `metrics.jsonl`, null as NaN; an incomplete last line is ignored.

    Returns:
        The records in the order written; an empty list where there is no file.

    Raises:
        DiskError: the file cannot be read, or a line before the last is damaged.
    """
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


def read_log(path: Path) -> list[tuple[str, str]]:
    """Return the time and the text of each line of a `log.txt`, of a long one of its newest part; [] without a file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - MAX_LOG))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return []
    found = (re.fullmatch(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\S*)  (.*)", line) for line in lines)
    return [(match[1], match[2]) for match in found if match]


class MetricsReader:
    """Reads a `metrics.jsonl` while it grows: each reading takes in what was added since the one before.

    Nothing is kept, so a log of any length costs little memory. Damaged lines are skipped: a page shows what it can.
    """

    def __init__(self, path: Path):
        self.path = path
        self._offset = 0
        self._newest = b""

    def read(self) -> tuple[bool, Iterator[dict[str, Any]]]:
        """Return whether reading begins at the start of the file, and the records, null as None.

        It begins anew where records that were read are gone, as after a rollback.
        """
        anew = not self._offset or not self._is_continued()
        if anew:
            self._offset, self._newest = 0, b""
        return anew, self._records()

    def _is_continued(self) -> bool:
        """Return whether the file still has the newest line that was read, at its place."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset - len(self._newest))
                return file.read(len(self._newest)) == self._newest
        except OSError:
            return False

    def _records(self) -> Iterator[dict[str, Any]]:
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    self._offset += len(line)
                    self._newest = line
                    record = _record(line)
                    if record is not None:
                        yield record
        except OSError:
            return


def _record(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line, or None where the line is damaged: a step, and numbers, nulls or strings.

    What has a path for a name, such as a loss or a figure, is no string: whoever reads it computes with it.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    valid = (
        isinstance(record, dict)
        and _is_number(record.get("step"))
        and all(
            value is None or _is_number(value) or (isinstance(value, str) and "/" not in name)
            for name, value in record.items()
        )
    )
    return record if valid else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_after(record: Mapping[str, Any], step: int) -> bool:
    at = record.get("step")
    return isinstance(at, int | float) and at > step


def _is_non_finite(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
