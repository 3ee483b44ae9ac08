"""Fixtures for tests of the command line: commands as a function, a recipe that trains in a second, and its model."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from transgan.cli.offered import Offered

EARLY = """
import shlex, sys
from transgan.cli import main

for line in sys.stdin.read().splitlines():
    sys.argv = ["transgan", *shlex.split(line)]
    try:
        main()
    except SystemExit as stop:
        print(stop.code, flush=True)
    heavy = {"torch", "numpy", "accelerate", "PIL"} & set(sys.modules)
    assert not heavy, (line, heavy)
"""
EarlyErrors = Callable[[list[str]], tuple[list[int], list[str]]]

FACES = """\
name = "small"
[data]
source = { use = "synthetic_faces", count = 16 }
size = 32
[domains]
young = { age = [20, 30] }
old = { age = [50, 60] }
[tasks]
age = { between = ["young", "old"] }
[train]
steps = 2
batch = 2
ema = 0.9
checkpoint_every = 1
[generators.face]
use = "resnet"
per = "direction"
width = 4
blocks = 1
[discriminators.face]
use = "patch"
width = 4
layers = 1
[losses]
lsgan = 1.0
cycle = 5.0
[metrics]
cycle_error = true
"""


class Result(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str

    def error(self, code: int) -> str:
        """Check the exit code; return the one line of the error message."""
        assert self.code == code, self
        (line,) = self.err.splitlines()
        assert line.startswith("error: ") and "Traceback" not in line
        return line.removeprefix("error: ")


Command = Callable[..., Result]


@pytest.fixture
def transgan(run_cli: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Command:
    """`transgan("run", recipe)`: run a command within this process; return its exit code and output."""

    def run(*words: object) -> Result:
        code = run_cli(*words)
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test in its own working folder, with its own cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / ".cache"))


@pytest.fixture
def unread_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be known of plugins from their source: they may offer anything."""
    monkeypatch.setattr(Offered, "may_have", lambda self, hook, name: True)


@pytest.fixture(scope="session")
def faces() -> str:
    """The text of `recipe`."""
    return FACES


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe with synthetic faces and two steps."""
    path = tmp_path / "small.toml"
    path.write_text(FACES)
    return path


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """`write_image(path)`: write an image with a color gradient."""

    def write(path: Path, size: tuple[int, int] = (40, 32)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows, columns = np.mgrid[: size[1], : size[0]]
        Image.fromarray(np.stack([rows * 5, columns * 5, rows + columns], -1).astype(np.uint8)).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def model(run_cli: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of a run with two steps."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "small.toml").write_text(FACES)
    assert run_cli("run", folder / "small.toml", "--out", folder / "run", "-q") == 0
    return folder / "run" / "model"


@pytest.fixture
def early_errors() -> EarlyErrors:
    """`early_errors(lines)`: exit codes, and lines of stderr, of command lines that may import nothing heavy."""

    def run(lines: list[str]) -> tuple[list[int], list[str]]:
        given = [sys.executable, "-c", EARLY]
        done = subprocess.run(given, input="\n".join(lines), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return [int(code) for code in done.stdout.split()], done.stderr.splitlines()

    return run
