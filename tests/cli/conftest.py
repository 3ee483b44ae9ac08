"""The command line as a function, a recipe that takes a second, and the model that it trains."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

FACES = """\
name = "small"
[data]
source = { use = "drawn_faces", count = 16 }
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
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    def mistake(self, code: int) -> str:
        """The one line in which a mistake was told."""
        assert self.code == code, self
        (line,) = self.err.splitlines()
        assert line.startswith("error: ") and "Traceback" not in line
        return line.removeprefix("error: ")


Command = Callable[..., Result]


@pytest.fixture
def transgan(typed: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Command:
    """`transgan("run", recipe)`: how it ends within this process, and what it says."""

    def run(*words: object) -> Result:
        code = typed(*words)
        return Result(code, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test stands in a folder of its own, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / ".cache"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Drawn faces, two steps."""
    path = tmp_path / "small.toml"
    path.write_text(FACES)
    return path


@pytest.fixture
def picture() -> Callable[..., Path]:
    """`picture(path)` writes some picture there."""

    def write(path: Path, size: tuple[int, int] = (40, 32)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows, columns = np.mgrid[: size[1], : size[0]]
        Image.fromarray(np.stack([rows * 5, columns * 5, rows + columns], -1).astype(np.uint8)).save(path)
        return path

    return write


@pytest.fixture(scope="session")
def model(typed: Callable[..., int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of a run of two steps."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "small.toml").write_text(FACES)
    assert typed("run", folder / "small.toml", "--out", folder / "run", "-q") == 0
    return folder / "run" / "model"
