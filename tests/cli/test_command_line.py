"""`python -m transgan` in its own process."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

#: What names a thing that is not there, or the wrong kind of thing, and how its line begins. RUN is a run of two steps.
ABSENT = {
    "info runs/cut-1": "model runs/cut-1 does not exist; expected the folder of a model, a run or a checkpoint",
    "info RUN/modle": "model RUN/modle does not exist; expected the folder of a model, a run or a checkpoint. "
    "Did you mean 'RUN/model'?",
    "info a.file": "model a.file is a file; expected",
    "info .": ". holds no model; expected",
    "info RUN --step 77": "--step 77: RUN has no checkpoint of this step; it has 1, 2",
    "info RUN --plugin no.py": "--plugin no.py: there is no such file; expected a Python file",
    "resume runs/cut-1": "runs/cut-1: not the folder of a run: it does not exist",
    "info gone": "model gone does not exist; expected the folder of a model, a run or a checkpoint. It is a link to "
    "'nowhere', which does not exist",
    "resume a.file": "a.file: not the folder of a run: it is a file",
    "resume RUN --plugin a.file": "--plugin a.file: not a Python file",
    "finish runs/cut-1": "runs/cut-1: not the folder of a run",
    "watch runs/cut-1": "runs/cut-1: not the folder of a run",
    "compare RUN runs/cut-1": "runs/cut-1: not the folder of a run",
    "compare RUN RUN --out a.file": "--out a.file exists, and is no .html file",
    "evaluate runs/cut-1": "model runs/cut-1 does not exist",
    "evaluate RUN --out a.file": "--out a.file exists, and is no .json file",
    "translate runs/cut-1 a.png": "model runs/cut-1 does not exist",
    "translate RUN c.png": "c.png: no such file or folder",
    "translate RUN b.file": "b.file: no such file or folder. Did you mean 'a.file'?",
    "translate RUN a.file --memory much": "--memory much: expected a size such as 2GB",
    "translate RUN a.file --with age": "--with age: expected NAME=VALUE",
    "translate RUN a.file --out a.file": "--out a.file is a file; expected a folder",
    "run cuut": "no recipe 'cuut'. Did you mean 'cut'?",
    "run cut --plugin no.py": "--plugin no.py: there is no such file",
    "check cut --set train.stepz=3": "--set train.stepz=3: unknown key. Did you mean 'steps'?",
    "data check nowhere": "nowhere: no such folder or recipe",
    "bench step cut --plugin .": "--plugin .: is a folder; expected a Python file",
    "schema --out .": "--out . exists; expected a file",
    "samples a.file": "a.file is a file; expected a folder",
    "import no.pth --out new": "no.pth: there is no such file",
    "init --data nowhere": "--data nowhere: there is no such folder or file",
    "recipes cuut": "no recipe 'cuut'. Did you mean 'cut'?",
}


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


def test_what_is_not_there_is_reported_before_heavy_packages_are_imported(
    early_errors: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.file").write_text("mine")
    (tmp_path / "gone").symlink_to("nowhere")
    lines = [line.replace("RUN", shlex.quote(str(model.parent))) for line in ABSENT]
    codes, errors = early_errors(lines)
    assert len(codes) == len(ABSENT) and set(codes) == {2, 3}
    for line, (words, expected) in zip(errors, ABSENT.items(), strict=True):
        assert line.startswith(f"error: {expected.replace('RUN', str(model.parent))}"), words
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {"a.file", "gone"}


def test_only_what_is_of_the_wanted_kind_is_proposed(
    early_errors: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    (tmp_path / "place.txt").write_text("mine")
    proposals = {
        "resume place.txd": "",
        "compare RUN place.txd": "",
        "info place.txd": "",
        "data check place.txd": "",
        "translate RUN place.txd": ". Did you mean 'place.txt'?",
    }
    lines = [line.replace("RUN", shlex.quote(str(model.parent))) for line in proposals]
    for line, proposal in zip(early_errors(lines)[1], proposals.values(), strict=True):
        assert line.partition(". Did you")[1:] == proposal.partition(". Did you")[1:], line
    (tmp_path / "place.tx").mkdir()
    for line in early_errors(lines[:-1])[1]:
        assert line.endswith(". Did you mean 'place.tx'?"), line


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
