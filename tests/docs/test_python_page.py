"""The page about Python: what it shows is what happens, in one session, with a small run in place of the long one."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transgan_images  # noqa: F401 - so that no plugin is imported for the first time within the page
from PIL import Image

import transgan
from transgan import storage
from transgan.training import run as training

PAGE = Path(__file__).resolve().parents[2] / "docs/howto/python.md"
SMALL = {
    "data.source": {"use": "synthetic_faces", "count": 24},
    "data.size": 32,
    "generators.face.width": 2,
    "discriminators.face.width": 2,
    "evaluate.samples": 2,
    "metrics": {"cycle_error": True},
    "train.ema": 0.0,
}


@pytest.mark.filterwarnings("ignore::transgan.errors.DataWarning")
def test_every_snippet_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(picture).save("photo.jpg")
    train, resume, wanted = training.train, training.Run.resume, []

    def small_train(recipe: str, overrides: dict[str, Any], out: str | None = None) -> transgan.Run:
        wanted.append(overrides)
        return train(recipe, {**SMALL, **overrides, **({"train.steps": 2} if "train.steps" in overrides else {})}, out)

    def small_resume(run: transgan.Run, steps: int | None = None, from_step: int | None = None) -> transgan.Run:
        back_to = None if from_step is None else storage.saved_steps(run.folder / "checkpoints")[-1]
        return resume(run, steps=None if steps is None else 3, from_step=back_to)

    monkeypatch.setattr(training, "train", small_train)
    monkeypatch.setattr(training.Run, "resume", small_resume)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) > 8
    session: dict[str, Any] = {}
    for block in blocks:
        exec(block, session)  # noqa: S102 - a page of this repository
        for said in re.findall(r"print\(error\)  # (.*)", block):
            assert said in capsys.readouterr().out
    assert wanted[0] == {"train.steps": 1500}
    assert session["run"].losses()["step"][-1] == 3
    assert session["older"].size == (40, 40)
    assert session["translator"].media["young"].options.max_pixels == 4_000_000
