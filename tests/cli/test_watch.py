"""`transgan watch` and `transgan compare`: pages about the runs in folders."""

import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

#: The command, with SIGINT as a terminal sends it: what is started in the background of a script inherits that it is
#: ignored.
COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from transgan.cli import main
main()
"""


def test_watch_serves_a_finished_run_until_ctrl_c(model: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in model.parent.rglob("*")}
    command = [sys.executable, "-c", COMMAND, "watch", str(model.parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline()
            address = re.match(r"http://127\.0\.0\.1:\d+/", line)
            assert address, line
            with urllib.request.urlopen(address[0], timeout=60) as answer:
                page = answer.read().decode()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0 and process.stderr.read() == ""
        finally:
            process.kill()
    assert "Finished: 2 steps" in page and "Cycle consistency" in page
    assert {path: path.stat().st_mtime_ns for path in model.parent.rglob("*")} == before


@pytest.mark.parametrize("command", ["watch", "compare"])
def test_a_folder_that_is_no_run_is_one_line(transgan: Any, tmp_path: Path, command: str) -> None:
    more = ["."] if command == "compare" else []
    for folder in (tmp_path, tmp_path / "absent"):
        assert "not the folder of a run" in transgan(command, folder, *more).error(2)


@pytest.mark.parametrize("content", ["", "null", '{"translations": 3}', '{"steps": "x"}'])
def test_compare_refuses_a_damaged_result_in_one_line(transgan: Any, model: Path, tmp_path: Path, content: str) -> None:
    shutil.copytree(model.parent, tmp_path / "other")
    (tmp_path / "other/result.json").write_text(content)
    line = transgan("compare", model.parent, "other", "--out", "page.html").error(3)
    assert line.startswith(f"{tmp_path / 'other/result.json'}: cannot be read: ")
    assert line.endswith(f"; transgan finish {tmp_path / 'other'} writes it anew")
    assert not (tmp_path / "page.html").exists()


def test_compare_writes_a_page_and_a_table(transgan: Any, model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(model.parent, other)
    text = (other / "recipe.toml").read_text()
    (other / "recipe.toml").write_text(text.replace("weight = 5.0", "weight = 4.0"))
    done = transgan("compare", model.parent, other)
    assert done.code == 0 and done.err == ""
    rows = {line.split()[0]: line.split()[1:] for line in done.out.splitlines() if line.strip()}
    assert rows["losses.cycle.weight"] == ["5.0", "4.0"]
    assert rows["state"] == ["finished", "finished"] and rows["steps"] == ["2/2", "2/2"]
    assert rows["cycle_error"][0] == rows["cycle_error"][1]
    page = (tmp_path / "comparison.html").read_text()
    assert "losses.cycle.weight" in page and page.count("data:image/") == 2
    assert "exists" in transgan("compare", model.parent, other).error(2)
    assert transgan("compare", model.parent, other, "--overwrite").code == 0


def test_compared_runs_of_one_name_are_named_by_their_folders(transgan: Any, model: Path, tmp_path: Path) -> None:
    name = model.parent.name
    shutil.copytree(model.parent, tmp_path / "monday" / name)
    shutil.copytree(model.parent, tmp_path / "tuesday" / name)
    done = transgan("compare", f"monday/{name}", f"tuesday/{name}")
    assert done.out.splitlines()[0].split() == [f"monday/{name}", f"tuesday/{name}"]
    page = (tmp_path / "comparison.html").read_text()
    assert f"</span>monday/{name}" in page and f"</span>tuesday/{name}" in page


def test_compare_names_what_was_written_before_the_defaults_that_follow(
    transgan: Any, model: Path, tmp_path: Path
) -> None:
    """The kind: of two networks all options differ, and of them somebody chose a few."""
    other = tmp_path / "other"
    shutil.copytree(model.parent, other)
    text = (other / "recipe.toml").read_text()
    for old, new in {"seed = 0  # default": "seed = 7  # default", "weight = 5.0": "weight = 4.0"}.items():
        assert old in text
        text = text.replace(old, new)
    (other / "recipe.toml").write_text(text)
    rows = transgan("compare", model.parent, other).out.splitlines()
    first = next(i for i, line in enumerate(rows) if line.startswith("losses.cycle.weight "))
    # Two: of the run, and of the data.
    assert rows[first + 1].strip() == "and 2 defaults (see the page)" and "seed" not in "".join(rows)
    page = (tmp_path / "comparison.html").read_text()
    assert 0 < page.index(">losses.cycle.weight<") < page.index(">data.source.seed<") < page.index(">train.seed<")


def test_compare_replaces_nothing_but_its_pages(transgan: Any, model: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("mine")
    done = transgan("compare", model.parent, model.parent, "--out", "mine.toml", "--overwrite")
    assert "no .html file" in done.error(2) and (tmp_path / "mine.toml").read_text() == "mine"
    assert "is a folder" in transgan("compare", model.parent, model.parent, "--out", ".").error(2)
    assert "expected 2 to 8" in transgan("compare", model.parent).error(2)


def test_a_run_whose_plugin_is_missing_is_still_shown(transgan: Any, model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(model.parent, other)
    text = (other / "recipe.toml").read_text()
    (other / "recipe.toml").write_text(text.replace('use = "patch"', 'use = "of_tomorrow"'))
    done = transgan("compare", model.parent, other)
    assert done.code == 0 and done.err.startswith("note: ") and "without explanations" in done.err
