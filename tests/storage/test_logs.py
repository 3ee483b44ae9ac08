"""Logs and text files: appended or replaced completely, or not at all."""

import json
import math
import os
import re
from pathlib import Path

import pytest

from transgan.errors import DiskError
from transgan.storage import MetricsLog, MetricsReader, TextLog, read_metrics, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_records_are_in_the_file_as_soon_as_written(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        log.write({"step": 1, "cycle": 0.25, "stage": "größer\n"})
        assert read_metrics(path) == [{"step": 1, "cycle": 0.25, "stage": "größer\n"}]
        log.write({"step": 2})
    with MetricsLog(path) as log:
        log.write({"step": 3})
    assert [record["step"] for record in read_metrics(path)] == [1, 2, 3]
    assert path.read_bytes().count(b"\n") == 3


def test_missing_log_has_no_records(tmp_path: Path) -> None:
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_non_finite_values_become_null(tmp_path: Path) -> None:
    with MetricsLog(tmp_path / "m") as log:
        log.write({"step": 1, "a": math.nan, "b": math.inf, "c": -math.inf})
    assert (tmp_path / "m").read_text() == '{"step": 1, "a": null, "b": null, "c": null}\n'
    record = read_metrics(tmp_path / "m")[0]
    assert record["step"] == 1 and all(math.isnan(record[name]) for name in "abc")


@pytest.mark.parametrize("end", [b'{"st', b'{"step": 3}', b"\x00\x00\n\x00\x00", b"}\n", b"\n", b"\xff\n{", b"[1]\n"])
def test_incomplete_last_line_is_ignored_and_removed(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n' + end)
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]
    with MetricsLog(path) as log:
        log.write({"step": 3})
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n{"step": 3}\n'


def test_log_truncated_at_any_byte_keeps_its_complete_records(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    whole = b'{"step": 1, "a": 0.5}\n{"step": 2, "a": 0.25}\n'
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        expected = whole[:length].count(b"\n")
        assert len(read_metrics(path)) == expected
        MetricsLog(path).close()
        assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[:expected])


def test_damage_in_the_middle_of_a_log_is_reported(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b'{"step": 1}\n{"ste\n{"step": 3}\n')
    with pytest.raises(DiskError, match="line 2 is damaged"):
        read_metrics(tmp_path / "m")


@pytest.mark.parametrize("name", ["coat: horse -> zebra/loss_G/cycle", "lr/generator"])
def test_a_text_in_place_of_a_figure_is_damage(tmp_path: Path, name: str) -> None:
    record = json.dumps({"step": 2, name: "0.5"})
    (tmp_path / "m").write_text(f'{{"step": 1}}\n{record}\n{{"step": 3}}\n')
    with pytest.raises(DiskError, match="m: line 2 is damaged; delete that line"):
        read_metrics(tmp_path / "m")
    assert [each["step"] for each in MetricsReader(tmp_path / "m").read()[1]] == [1, 3]


def test_rewind_removes_later_steps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsLog(path) as log:
        for step in (1, 2, 3):
            log.write({"step": step})
        log.rewind(2)
        log.write({"step": 3, "again": 1})
        assert read_metrics(path) == [{"step": 1}, {"step": 2}, {"step": 3, "again": 1}]
    assert names(tmp_path) == ["metrics.jsonl"]


def test_failed_rewind_leaves_the_log_unchanged_and_usable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the end of the file is removed, nothing is written that could fail; else the file is replaced."""
    path = tmp_path / "metrics.jsonl"

    def fail(*args: object) -> None:
        raise OSError(28, os.strerror(28))

    for call in ("fsync", "replace"):
        with MetricsLog(path) as log:
            log.write({"step": 9})
            log.write({"step": 1})
            before = path.read_bytes()
            with monkeypatch.context() as patch:
                patch.setattr(os, call, fail)
                with pytest.raises(DiskError, match="free some space"):
                    log.rewind(1)
            assert path.read_bytes() == before
            log.write({"step": 10})
        assert read_metrics(path)[-1] == {"step": 10}
        assert names(tmp_path) == ["metrics.jsonl"]


def test_record_is_written_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    calls = []

    def fill_up(handle: int, data: memoryview) -> int:
        calls.append(handle)
        if len(calls) == 2:
            raise OSError(28, os.strerror(28))
        return real(handle, data[:5])

    with MetricsLog(tmp_path / "m") as log:
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", fill_up)
            with pytest.raises(DiskError, match=r"cannot write .*m: No space left on device; free some space"):
                log.write({"step": 1, "loss": 0.5})
        log.write({"step": 2})
    assert (tmp_path / "m").read_text() == '{"step": 1, "loss": 0.5}\n{"step": 2}\n'  # kept, and written with the next


def test_text_file_is_written_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a" / "b" / "result.json"
    write_text(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()

    def fail(*args: object) -> None:
        raise OSError(28, os.strerror(28))

    for call in ("write", "fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fail)
            with pytest.raises(DiskError, match=r"cannot write .*result.json.*: No space left .*; free some space"):
                write_text(path, "smaller\n")
        assert path.read_bytes() == "größer\n".encode()
        assert names(path.parent) == ["result.json"]
    with pytest.raises(DiskError, match="Not a directory"):
        write_text(path / "below", "")


def test_links_are_replaced_and_devices_written_to(tmp_path: Path) -> None:
    """Of the kind: a write never reaches what a link at its place links to."""
    link, there = tmp_path / "link", tmp_path / "there"
    there.write_text("kept")
    link.symlink_to(there)
    write_text(link, "a")
    assert not link.is_symlink() and link.read_text() == "a" and there.read_text() == "kept"
    write_text(Path(os.devnull), "a")
    assert not Path(os.devnull).is_file()


def test_each_line_of_text_has_a_time(tmp_path: Path) -> None:
    with TextLog(tmp_path / "log.txt") as log:
        log.write("begun")
        log.write("two\nlines")
        log.write("a name that is not text: \udcff")
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    stamps = [re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d  (.*)", line) for line in lines]
    assert [stamp and stamp[1] for stamp in stamps] == ["begun", "two", "lines", r"a name that is not text: \udcff"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_full_disk_is_reported_by_the_text_log() -> None:
    with TextLog(Path("/dev/full")) as log, pytest.raises(DiskError, match="/dev/full: No space left on device"):
        log.write("a")
