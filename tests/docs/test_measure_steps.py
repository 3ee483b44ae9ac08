"""The script that measures steps of recipes: it runs, and sees that a larger batch needs more memory."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_recipes_are_measured_one_beside_the_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = ROOT / "recipes/cut_shapes.toml"
    wanted = [f"{recipe} train.batch=64", f"{recipe} train.batch=4"]
    monkeypatch.syspath_prepend(ROOT / "docs")
    monkeypatch.setattr(sys, "argv", ["measure_steps.py", *wanted, "--steps", "1", "--rounds", "1"])
    import measure_steps

    measure_steps.main()
    lines = re.findall(r"(\d+\.\d+) s \(.*\) +(\d+) MB  (.*)", capsys.readouterr().out)
    assert [what for _, _, what in lines] == wanted
    large, small = (int(memory) for _, memory, _ in lines)
    assert large > small + 100
