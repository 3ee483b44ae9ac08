"""`python -m transgan` in its own process."""

import os
import subprocess
import sys
from pathlib import Path

from transgan import __version__
from transgan.storage import RunFolder

IMPORT_CHECK = """
import sys
from transgan.cli import main

for words in (["--help"], ["run", "--help"], ["translate", "--help"], ["--version"]):
    sys.argv = ["transgan", *words]
    try:
        main()
    except SystemExit as stop:
        assert not stop.code
heavy = {"torch", "numpy", "accelerate", "PIL"} & set(sys.modules)
assert not heavy, heavy
"""


RECIPE_CHECK = """
import sys
from transgan.cli import main

for command in ("check", "run", "data"):
    sys.argv = ["transgan", command, *(["check"] if command == "data" else []), *sys.argv[-1:]]
    try:
        main()
    except SystemExit as stop:
        assert stop.code == 2, stop.code
heavy = {"torch", "numpy", "accelerate", "PIL"} & set(sys.modules)
assert not heavy, heavy
"""


def python(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_help_and_version_import_no_heavy_packages() -> None:
    done = python("-c", IMPORT_CHECK)
    assert done.returncode == 0, done.stderr
    assert "Usage: transgan [OPTIONS] COMMAND" in done.stdout
    assert done.stdout.splitlines()[-1] == f"transgan {__version__}"
    assert done.stderr == ""


def test_mistakes_in_a_recipe_are_reported_before_heavy_packages_are_imported(recipe: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(recipe.read_text().replace("steps", "stepz"), encoding="utf-8")
    done = python("-c", RECIPE_CHECK, wrong)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("[train] stepz: unknown key. Did you mean 'steps'?") == 3
    wrong.write_text("[data\n", encoding="utf-8")
    done = python("-c", RECIPE_CHECK, wrong)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("not valid TOML") == 3


def test_run_folder_is_locked_against_other_processes(recipe: Path, tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run"):
        busy = python("-m", "transgan", "run", recipe, "--out", tmp_path / "run")
    assert (busy.returncode, busy.stdout) == (8, "")
    assert busy.stderr.startswith(f"error: {tmp_path}/run is in use by process {os.getpid()} on ")
    assert len(busy.stderr.splitlines()) == 1


def test_run_in_its_own_process(recipe: Path, tmp_path: Path) -> None:
    done = python("-m", "transgan", "run", recipe, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "cycle_error" in done.stdout
    assert done.stdout.splitlines()[-1] == f"model    {tmp_path}/run/model"
    assert "step 2/2" in done.stderr
