"""The script that measures steps of recipes: it runs, and sees that a larger batch needs more memory."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_recipes_are_measured_one_beside_the_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    monkeypatch.setattr(sys, "argv", ["measure_steps.py", *self_and_larger(), "--steps", "1", "--rounds", "1"])
    import measure_steps

    measure_steps.main()
    lines = re.findall(r"(\d+\.\d+) s \(.*\) +(\d+) MB  (.*)", capsys.readouterr().out)
    assert [what for _, _, what in lines] == self_and_larger()
    small, large = (int(memory) for _, memory, _ in lines)
    assert large > small + 100


def self_and_larger() -> list[str]:
    """Return a small recipe, and the same with batches that need several hundred MB."""
    recipe = f"{ROOT / 'recipes/cut_shapes.toml'} train.batch=1"
    return [recipe, f"{recipe.removesuffix('1')}32 data.size=64"]
