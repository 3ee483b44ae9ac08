"""`transgan translate --memory`: files that would take more memory are translated in tiles, with the same result."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from transgan.inference.passes import Passes


def test_a_file_is_translated_in_tiles_and_said_so(
    transgan: Any, model: Path, tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    write_image(tmp_path / "a.png", (101, 150))
    assert transgan("translate", model, "a.png", "--to", "old", "-o", "whole", "--native").err == ""
    done = transgan("translate", model, "a.png", "--to", "old", "-o", "tiles", "--native", "--memory", "0.2MB")
    assert done.code == 0
    (note,) = done.err.splitlines()
    assert "a.png: 3 x 152 x 104 numbers would take about" in note
    assert "of memory at once, and 200 kB are allowed: translated in tiles, with the same result" in note
    whole, tiles = (np.asarray(Image.open(tmp_path / name / "a.png")).astype(int) for name in ("whole", "tiles"))
    assert whole.std() > 1 and abs(whole - tiles).max() <= 1


@pytest.mark.parametrize("size", ["much", "2", "-1GB", "2XB", "0GB", "0.0001kB"])
def test_sizes_that_are_none(transgan: Any, model: Path, write_image: Callable[..., Path], size: str) -> None:
    write_image(Path("a.png"))
    message = transgan("translate", model, "a.png", "--to", "old", f"--memory={size}").error(2)
    assert message == f"--memory {size}: expected a size such as 2GB or 500MB"


def test_out_of_memory_advises_tiles(
    transgan: Any, model: Path, write_image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    write_image(Path("a.png"))
    monkeypatch.setattr(Passes, "run", fail)
    done = transgan("translate", model, "a.png", "--to", "old", "--native")
    assert done.code == 5
    assert done.err.splitlines()[0] == (
        "error: a.png: out of memory; translate in tiles with --memory 1GB or less, or leave out --native, "
        "or give --device cpu"
    )
