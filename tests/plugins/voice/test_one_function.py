"""Evaluation, the choice of a model and translation of a file compute the same for the same sound, of any length."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("soundfile", reason="reading recordings needs soundfile")
pytest.importorskip("scipy", reason="synthetic voices need scipy")

import soundfile
from transgan_voice.media import VoiceMedia
from transgan_voice.sources import SyntheticVoice, speaker

from transgan import Translator

SIZE = 16
RECIPE = """
[data]
source = "folders"
root = "{root}"
media = {{ use = "voice", bands = 16, hop = 256, window = 1024, iterations = 1, excerpt = 64 }}
size = {size}
[domains]
anna = {{ path = "train/anna", held_out = "test/anna" }}
bert = {{ path = "train/bert", held_out = "test/anna" }}
[tasks]
voice = {{ from = "anna", to = "bert" }}
[train]
steps = 1
[nodes]
use = "voice_translation"
[generators.g]
use = "{network}"
width = 4
blocks = 1
[losses]
anchor = 1.0
[[phases]]
side = "generator"
[metrics]
conversion = {{ trained_on = 2 }}
"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Training sentences, and held-out recordings shorter than a window, of some windows, longer than an excerpt."""
    root = tmp_path_factory.mktemp("recordings")
    sounds = {f"train/{name}/{i}": (name, 2 * i + (name == "bert")) for name in ("anna", "bert") for i in range(2)}
    lengths = {"test/anna/a": 3_000, "test/anna/b": 9_001, "test/anna/c": 28_000}
    for file, (name, number) in {**sounds, **dict.fromkeys(lengths, ("anna", 10))}.items():
        samples = SyntheticVoice(0, number, speaker("low" if name == "anna" else "high", 1.1))()
        start = np.abs(samples).argmax() // 2 if file in lengths else 0
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / f"{file}.wav", samples[start:][: lengths.get(file)], 16_000)
    return root


@pytest.mark.parametrize("network", ["gated_1d", "gated_2_1_2d", "residual_1d"])
def test_figures_are_of_what_is_written(
    recordings: Path, network: str, recipe_file: Any, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[tuple[Any, np.ndarray]] = []
    original = VoiceMedia.from_model

    def from_model(self: VoiceMedia, y: Tensor, undo: Any, domain: str) -> Any:
        sound = original(self, y, undo, domain)
        measured.append((undo.sound, sound.samples))
        return sound

    monkeypatch.setattr(VoiceMedia, "from_model", from_model)
    trained(recipe_file(RECIPE.format(root=recordings, network=network, size=SIZE)), tmp_path / "run")
    monkeypatch.undo()
    conversions = measured[::5]  # each is followed by three baselines and the truth
    assert len(conversions) == 3
    translator = Translator.from_pretrained(tmp_path / "run", device="cpu")
    [direction] = translator.plan.directions
    media: Any = translator.media["bert"]
    media.statistics = translator.statistics
    for file, (source, samples) in zip(sorted((recordings / "test/anna").iterdir()), conversions, strict=True):
        assert source.name.endswith(file.name)
        assert np.allclose(translator(file).samples, samples, atol=1e-5)
        # The frames behind it: in windows, of the whole recording at once, and of an excerpt as keep_best sees it.
        windows, undo = media.to_model(media.read(file), 1, False, "anna")
        joined = media.join(translator.translate_batch(windows, direction), undo)
        if len(undo.analysis.frames) <= SIZE:
            continue
        whole, undo_whole = media.to_model(media.read(file), 1, True, "anna")
        at_once = media.join(translator.translate_batch(whole, direction), undo_whole)
        assert torch.allclose(at_once, joined, atol=1e-4)
        excerpt = media.batch([torch.from_numpy(media.decode(file))], None, ["anna"])
        fake = translator.translate_batch(excerpt, direction)[0]
        room = max(0, joined.shape[1] - excerpt.shape[-1])
        start, inner = room // 2 // (SIZE // 2) * (SIZE // 2), min(joined.shape[1], excerpt.shape[-1]) - SIZE
        a, b = fake[:, SIZE:inner], joined[:, start + SIZE : start + inner]
        assert a.shape[1] >= 4 and torch.allclose(a, b, atol=1e-4)
