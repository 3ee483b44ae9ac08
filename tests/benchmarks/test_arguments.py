"""Wrong arguments of the programs in benchmarks/: one line, and no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["memory.py"], "memory.py: error: the following arguments are required: recipe"),
        (["memory.py", "nonesuch"], "error: no recipe 'nonesuch'"),
        (["memory.py", "cut_shapes", "train.batsh=2"], "unknown key. Did you mean 'batch'?"),
        (["plain_cyclegan.py", "--rounds", "0"], "argument --rounds: found '0'; expected a number from 1 on"),
        (["hidden_light.py"], "the following arguments are required: runs"),
        (["hidden_light.py", "nonesuch"], "error: model nonesuch does not exist"),
    ],
)
def test_wrong_arguments_are_one_line(command: list[str], message: str, tmp_path: Path) -> None:
    script, *arguments = command
    done = subprocess.run(
        [sys.executable, FOLDER / script, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode != 0
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
