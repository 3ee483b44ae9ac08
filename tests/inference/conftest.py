"""Fixtures of inference tests: a recipe, and a trained run of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from transgan.storage import Checkpoint

RECIPE = """\
[data]
source = { use = "synthetic_faces", count = 16 }
size = 32
[tasks]
age = { between = ["young", "old"] }
race = { between = ["white", "black"] }
[train]
steps = 2
batch = 2
ema = 0.5
[conditionings]
task = { use = "embedding" }
[generators]
face = { use = "resnet", per = "direction", width = 4, blocks = 1 }
[discriminators]
face = { use = "patch", width = 4, layers = 1 }
[losses]
lsgan = 1.0
cycle = 5.0
"""


@pytest.fixture(scope="session")
def recipe() -> str:
    return RECIPE


@pytest.fixture(scope="session")
def run(
    trained: Callable[..., Checkpoint],
    recipe_file: Callable[[str], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run folder after two steps of the recipe."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    trained(recipe_file(RECIPE), folder)
    return folder
