"""Voices on the command line: from the recipe to the converted recording."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("soundfile", reason="reading recordings needs soundfile")
pytest.importorskip("scipy", reason="synthetic voices need scipy")

import soundfile
from safetensors.torch import load_file
from transgan_voice.media import VoiceMedia

VOICES = """\
name = "voices"
[data]
source = { use = "synthetic_voices", count = 4 }
media = { use = "voice", bands = 16, hop = 256, window = 1024, iterations = 2, excerpt = 24 }
size = 16
held_out = 0.3
[domains]
low = "low"
high = "high"
deep = "deep"
[tasks]
speech = { between = ["low", "high", "deep"], targets = "random" }
[train]
steps = 2
batch = 3
checkpoint_every = 1
[generators.residual_1d]
width = 8
[discriminators.gated_patch]
per = "task"
width = 4
layers = 2
[losses]
lsgan = 1.0
cycle = 1.0
[metrics]
cycle_error = true
"""


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    path = tmp_path / "voices.toml"
    path.write_text(VOICES)
    return path


def test_trained_model_converts_recordings(
    transgan: Callable[..., Any], voices: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert transgan("check", voices).code == 0
    assert transgan("run", voices, "--out", "run", "-q").code == 0
    statistics = load_file(tmp_path / "run/checkpoints/step-00000002/statistics.safetensors")
    model = load_file(tmp_path / "run/model/model.safetensors")
    assert set(statistics) == {f"{name}|{what}" for name in ("low", "high", "deep") for what in ("mean", "std")}
    assert all(np.array_equal(model[f"data.media|{key}"], value) for key, value in statistics.items())
    report = (tmp_path / "run/report.html").read_text()
    assert '<img src="data:image/' in report
    assert "<figcaption>1 speech low source</figcaption>" in report
    assert '<audio controls preload="metadata" src="data:audio/' in report

    rng = np.random.default_rng(0)
    for name, rate, frames, channels in (("a.wav", 44_100, 30_001, 2), ("deep/b.flac", 8_000, 77, 1)):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "in" / name, rng.normal(0, 0.1, (frames, channels)), rate)
    error = transgan("translate", "run", "in", "--to", "high", "-o", "out").error(2)
    assert "more than one translation matches" in error and "--from" in error  # statistics of both sources differ
    done = transgan("translate", "run", "in", "--to", "high", "--from", "low", "-o", "out")
    assert done.code == 0 and "2 of 2 translated" in done.out
    for name, rate, frames, channels in (("a.wav", 44_100, 30_001, 2), ("deep/b.flac", 8_000, 77, 1)):
        info = soundfile.info(tmp_path / "out" / name)
        assert (info.samplerate, info.frames, info.channels) == (rate, frames, channels)

    def never(*arguments: Any) -> None:
        raise AssertionError("statistics were fitted again")

    (tmp_path / "run/checkpoints/step-00000002").rename(tmp_path / "aside")
    monkeypatch.setattr(VoiceMedia, "fit_statistics", never)
    assert transgan("resume", "run").code == 0
    again = load_file(tmp_path / "run/checkpoints/step-00000002/networks.safetensors")
    before = load_file(tmp_path / "aside/networks.safetensors")
    assert all(np.array_equal(again[key], value) for key, value in before.items())
    assert json.loads((tmp_path / "run/result.json").read_text())["steps"] == 2


def test_best_model_survives_an_interruption(transgan: Callable[..., Any], voices: Path, tmp_path: Path) -> None:
    """The learning rate is so large that conversions get worse: the best model precedes the interruption."""
    keep_best = ("evaluate.every=1", "evaluate.keep_best=cycle_error", "metrics.cycle_error=true")
    diverging = ("optimizers.generator.lr=0.1", "train.steps=4", "train.keep=9", "train.ema=0.5")
    assert (
        transgan("run", voices, *(f"--set={each}" for each in (*keep_best, *diverging)), "--out", "whole", "-q").code
        == 0
    )
    result = json.loads((tmp_path / "whole/result.json").read_text())
    assert result["kept"] < result["steps"] == 4
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shutil.rmtree(tmp_path / "cut/model")
    (tmp_path / "cut/result.json").unlink()
    for step in range(result["kept"] + 1, 5):
        shutil.rmtree(tmp_path / f"cut/checkpoints/step-{step:08}")
    assert transgan("resume", "cut", "-q").code == 0
    for name in ("model/model.safetensors", "result.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    last = load_file(tmp_path / "cut/checkpoints/step-00000004/ema.safetensors")
    model = load_file(tmp_path / "cut/model/model.safetensors")
    assert not all(np.array_equal(model[key], value) for key, value in last.items() if key in model)


def test_folders_of_recordings_can_be_trained_on(transgan: Callable[..., Any], voices: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for name in ("low", "high", "deep"):
        for i in range(4):
            path = tmp_path / "data" / name / f"{i}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, rng.normal(0, 0.1, 2_000 + 3_000 * i), 8_000)
    arguments = ("--set", "data.root=data", "--set", "data.source=folders", "--set", "train.steps=1")
    assert transgan("run", voices, *arguments, "--out", "run", "-q").code == 0
    (tmp_path / "data/low/0.wav").write_bytes(b"RIFF")
    error = transgan("run", voices, *arguments, "--out", "other", "-q").error(3)
    said = "[domains] low: 1 of 4 samples cannot be read, at most 0 may: "
    assert error.startswith(f"{said}data/low/0.wav: not a recording that can be read")
