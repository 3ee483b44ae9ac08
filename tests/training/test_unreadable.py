"""A picture that cannot be read, among many that can, costs a warning and not the run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

RECIPE = """
[data]
source = "folders"
root = "{root}"
size = 16
held_out = 0.0
[domains]
dark = "dark"
bright = "bright"
[tasks.light]
between = ["dark", "bright"]
[train]
steps = 16
batch = 8
[generators.g]
use = "resnet"
width = 2
blocks = 0
[losses]
cycle = 1.0
"""


def test_a_replaced_picture_is_named_in_the_log(
    trained: Any, written: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "cache"))
    for name, level in (("dark", 20), ("bright", 220)):
        (tmp_path / name).mkdir()
        for i in range(110):
            Image.fromarray(np.full((16, 16, 3), level + i // 8, np.uint8)).save(tmp_path / name / f"{i:03}.png")
    (tmp_path / "dark" / "050.png").write_bytes(b"no picture")
    trained(written(RECIPE.format(root=tmp_path.as_posix())), tmp_path / "run")
    told = [line for line in (tmp_path / "run" / "log.txt").read_text().splitlines() if "replaced" in line]
    assert len(told) == 1
    assert "050.png" in told[0]
