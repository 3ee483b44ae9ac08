"""The script that draws held-out faces and their translations: which faces, which images, and what the judge reads."""

import json
import re
import sys
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from transgan import Translator
from transgan.data.domains import Domains
from transgan.evaluation.model import evaluation_plan

ROOT = Path(__file__).resolve().parents[2]

RECIPE = """
[data]
source = "labelled_faces"
size = 32
held_out = 0.4
root = "ROOT"
[tasks]
age = { between = ["young", "old"] }
[domains]
young = { age = [20, 40] }
old = { age = [50, 70] }
[train]
steps = 1
batch = 2
[conditionings]
domain = { use = "embedding", of = "domain", width = 4 }
[generators]
face = { use = "resnet", width = 4, blocks = 0 }
[discriminators]
face = { use = "patch", width = 4, layers = 1 }
[losses]
lsgan = 1.0
"""


@pytest.fixture
def make_face_sheet(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "docs")
    import make_face_sheet as module

    return module


@pytest.fixture
def run(tmp_path: Path, recipe_file: Callable[[str], Path], trained: Callable[..., Any]) -> Path:
    """A run on noisy grey images, brighter the older they are."""
    rng = np.random.default_rng(0)
    (tmp_path / "photographs").mkdir()
    for i in range(120):
        age = int(rng.integers(20, 41) if i % 2 else rng.integers(50, 71))
        pixels = np.clip(age * 2.5 + rng.normal(0, 12, (32, 32, 1)), 0, 255).astype(np.uint8).repeat(3, 2)
        Image.fromarray(pixels).save(tmp_path / f"photographs/{age}_{i % 3 % 2}_0_{i:06d}.png")
    trained(recipe_file(RECIPE.replace("ROOT", str(tmp_path / "photographs"))), tmp_path / "run")
    return tmp_path / "run"


def test_held_out_faces_stand_beside_their_translations(
    make_face_sheet: Any,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, out = tmp_path / "photographs", tmp_path / "faces.png"
    judge = json.dumps({"kind": "cnn", "width": 8, "epochs": 40})
    monkeypatch.setattr(  # a translation that is known: 50 levels brighter, which is 20 years
        Translator,
        "__call__",
        lambda self, item, *rest, **more: Image.fromarray(np.asarray(Image.open(item)) + np.uint8(50)),
    )
    capsys.readouterr()
    words = [str(run / "model"), str(data), "--to", "old", "--judge", judge, "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["make_face_sheet.py", *words])
    make_face_sheet.main()
    lines = re.findall(r"^(\S+)  (\S+) -> (\S+)$", capsys.readouterr().out, re.MULTILINE)

    plan = evaluation_plan(Translator.from_pretrained(run, "cpu").config, run, data, [])
    held_out = [sample.key for sample in Domains(plan)["young"].held_out]
    expected = sorted(held_out, key=lambda key: blake2b(key.encode()).digest())[:16]
    assert [name for name, _, _ in lines] == expected and len(held_out) > 16
    errors = [float(before) - int(name.split("_")[0]) for name, before, _ in lines]
    assert np.abs(errors).mean() < 6
    assert np.mean([float(after) - float(before) for _, before, after in lines]) == pytest.approx(20, abs=6)

    page = np.asarray(Image.open(out)).astype(float)
    side, gap = make_face_sheet.SIDE, make_face_sheet.GAP
    for i, name in enumerate(expected):
        row, column = divmod(i, make_face_sheet.COLUMNS)
        top = make_face_sheet.HEADER + row * (side + make_face_sheet.LINE + gap)
        left = gap + column * (2 * side + 2 * gap)
        mean = np.asarray(Image.open(data / f"{name}.png")).mean()
        for k, level in enumerate((mean, mean + 50)):
            assert page[top : top + side, left + k * side : left + (k + 1) * side].mean() == pytest.approx(level, abs=2)


def test_mistakes_are_said_in_one_line(
    make_face_sheet: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(tmp_path / "photographs")
    for more, message in (
        (["--judge", "{"], "error: --judge: no JSON"),
        (["--judge", '{"kind": "features"}'], "error: --judge: Value error, a judge of kind"),
        (["--to", "old", "--label", "agee"], "error: no samples have the label 'agee'. Did you mean 'age'?"),
        (["--to", "older"], "error: --to older: this model has no such domain"),
    ):
        monkeypatch.setattr(sys, "argv", ["make_face_sheet.py", str(run / "model"), data, *more])
        with pytest.raises(SystemExit, match=re.escape(message)):
            make_face_sheet.main()
