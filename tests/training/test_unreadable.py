"""An image that cannot be read, among many that can, is excluded and reported by every run; the run goes on."""

import json
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


def test_an_image_that_cannot_be_read_is_reported_by_every_run(
    trained: Any, recipe_file: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "cache"))
    for name, level in (("dark", 20), ("bright", 220)):
        (tmp_path / name).mkdir()
        for i in range(110):
            Image.fromarray(np.full((16, 16, 3), level + i // 8, np.uint8)).save(tmp_path / name / f"{i:03}.png")
    (tmp_path / "dark" / "050.png").write_bytes(b"not an image")
    recipe = recipe_file(RECIPE.format(root=tmp_path.as_posix()))
    for run in (tmp_path / "first", tmp_path / "with the cache of the first"):
        trained(recipe, run)
        reported = [line for line in (run / "log.txt").read_text().splitlines() if "cannot be read" in line]
        assert len(reported) == 1
        assert "warning: [domains] dark: not used, since it cannot be read: 1 sample of 110: " in reported[0]
        assert "050.png: not an image that can be read" in reported[0]
        assert any("050.png" in warning for warning in json.loads((run / "result.json").read_text())["warnings"])


ON_ONE_MACHINE = """
import os, sys
from transgan.api import DataError
from transgan.cli import main
from transgan_images.media import ImageMedia

decode = ImageMedia.decode

def without_one(self, location):
    if os.environ["RANK"] == "1" and location.name == "050.png":
        raise DataError(f"{location}: permission denied")
    return decode(self, location)

ImageMedia.decode = without_one
main()
"""


def test_processes_that_read_different_samples_end(start_processes: Any, recipe_file: Any, tmp_path: Path) -> None:
    """The kind: a file that one machine cannot read; its processes would train on other samples than the rest."""
    for name, level in (("dark", 20), ("bright", 220)):
        (tmp_path / name).mkdir()
        for i in range(110):
            Image.fromarray(np.full((16, 16, 3), level + i // 8, np.uint8)).save(tmp_path / name / f"{i:03}.png")
    recipe = recipe_file(RECIPE.format(root=tmp_path.as_posix()))
    words = ("run", recipe, "--set", "data.cache=false", "--out", tmp_path / "run", "-q")
    ended = start_processes(2, "-c", ON_ONE_MACHINE, *words)
    assert [code for code, _ in ended] == [3, 3]
    assert any("some process cannot read samples that others read" in text for _, text in ended)
    assert not (tmp_path / "run").exists()
