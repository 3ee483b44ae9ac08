"""A run on clips from its folders to a translated frame: trained, resumed, evaluated, used."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transgan import Translator, storage

RECIPE = """
name = "clips"
data = {{ root = "{root}", source = {{ use = "clips", stride = 4 }}, media = {{ use = "clip" }}, size = 16 }}
domains = {{ day = "day", night = "night" }}
tasks = {{ light = {{ between = ["day", "night"] }} }}
train = {{ steps = 2, batch = 2, checkpoint_every = 1, sample_every = 1, ema = 0.9 }}
nodes = "recycle_translation"
generators = {{ framewise_resnet = {{ per = "translation", width = 4, blocks = 1 }} }}
encoders = {{ predictor = {{ use = "next_frame", per = "domain", width = 4 }} }}
discriminators = {{ framewise_patch = {{ per = "domain", width = 4, layers = 1, history = 4 }} }}
losses = {{ lsgan = 1.0, recurrent = 10.0, recycle = 10.0, cycle = {{ weight = 1.0, quality = true }}, identity = 1.0 }}
metrics = {{ temporal_cycle = true, flicker = true, cycle_error = true }}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A recipe, and the clips that it names: a folder of frames and a file in each domain."""
    rng = np.random.default_rng(0)
    for domain in ("day", "night"):
        for clip in range(3):
            folder = tmp_path / f"data/{domain}/clip{clip}"
            folder.mkdir(parents=True)
            for frame in range(9):
                pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{frame}.png")
        frames = [Image.fromarray(rng.integers(0, 256, (24, 32), dtype=np.uint8)) for _ in range(6)]
        frames[0].save(tmp_path / f"data/{domain}/moving.gif", save_all=True, append_images=frames[1:])
    path = tmp_path / "clips.toml"
    path.write_text(RECIPE.format(root=tmp_path / "data"))
    return path


def test_a_run_is_resumed_evaluated_and_used(
    recipe: Path, tmp_path: Path, run_cli: Callable[..., int], trained: Callable[..., storage.Checkpoint]
) -> None:
    run = tmp_path / "run"
    assert run_cli("check", recipe) == 0
    assert trained(recipe, run).step == 2
    assert run_cli("resume", run, "--steps", 3) == 0
    figures = json.loads((run / "result.json").read_text())["translations"]["light: day -> night"]
    assert {"temporal_cycle", "flicker", "flicker_of_source", "cycle_error"} <= set(figures)
    assert list((run / "samples").glob("*.png"))
    assert run_cli("evaluate", run, "--out", tmp_path / "again.json") == 0
    again = json.loads((tmp_path / "again.json").read_text())["translations"]["light: day -> night"]
    assert again == pytest.approx(figures, rel=1e-4)

    frame = tmp_path / "data/day/clip0/0.png"
    assert run_cli("translate", run, frame, "--to", "night", "--out", tmp_path / "out") == 0
    translator = Translator.from_pretrained(run)
    frames = [frame.with_name(f"{number}.png") for number in range(5)]
    together = translator(frames, to="night")
    assert len(together) == 5 and together[0].size == (32, 24)
    alone = translator(frames[0], to="night")
    np.testing.assert_allclose(np.asarray(alone, float), np.asarray(together[0], float), atol=1)
    with Image.open(tmp_path / "out/0.png") as written:
        np.testing.assert_array_equal(np.asarray(written), np.asarray(alone))
    whole = tmp_path / "data/day/clip0.frames"
    frame.parent.rename(whole)
    assert run_cli("translate", run, whole, "--to", "night", "--out", tmp_path / "clips") == 0
    assert len(list((tmp_path / "clips/clip0.frames").iterdir())) == 9
