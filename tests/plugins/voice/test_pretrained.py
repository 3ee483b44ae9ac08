"""Pretrained networks: the speaker encoder against an explicit computation, messages, and real speech."""

import importlib.util
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("soundfile", reason="reading recordings needs soundfile")
pytest.importorskip("scipy", reason="synthetic voices need scipy")
pytest.importorskip("pocketsphinx", reason="recognising phones needs the extra voice-metrics")
pytest.importorskip("swift_f0", reason="this estimator of pitch needs the extra voice-metrics")

from transgan_voice import pretrained
from transgan_voice.analysis import Analyzer
from transgan_voice.audio import Sound, read_sound
from transgan_voice.measures import f0_errors
from transgan_voice.pretrained import (
    PredictedQuality,
    RecognizedPhones,
    SpeakerEncoder,
    SpeakerSimilarity,
    SwiftF0,
    edit_distance,
)
from transgan_voice.sources import SyntheticVoice, speaker

from transgan.api import PluginError

DATA = Path(__file__).resolve().parents[4] / "shared/data/speech"


@torch.no_grad()
def test_the_speaker_encoder_equals_its_cells_written_out() -> None:
    torch.manual_seed(0)
    encoder = SpeakerEncoder()
    x = torch.rand(1, 7, 40)
    layer = x[0].double().numpy()
    state = {name: each.double().numpy() for name, each in encoder.state_dict().items()}

    def sigmoid(a: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-a))

    for k in range(3):
        wi, wh, bi, bh = (state[f"lstm.{kind}_l{k}"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        hidden, cell, outputs = np.zeros(256), np.zeros(256), []
        for frame in layer:
            i, f, g, o = np.split(wi @ frame + bi + wh @ hidden + bh, 4)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            hidden = sigmoid(o) * np.tanh(cell)
            outputs.append(hidden)
        layer = np.array(outputs)
    raw = np.maximum(state["linear.weight"] @ layer[-1] + state["linear.bias"], 0)
    assert np.allclose(encoder(x)[0].numpy(), raw / np.linalg.norm(raw), atol=1e-5)


def test_a_recording_is_the_mean_of_its_windows() -> None:
    torch.manual_seed(0)
    encoder = SpeakerEncoder().eval()
    sound = Sound(SyntheticVoice(0, 1, speaker("low", 1.1))(), 16_000)
    vector = encoder.embed(sound)
    assert vector.shape == (256,) and np.linalg.norm(vector) == pytest.approx(1)
    quiet = [encoder.embed(Sound(sound.samples * factor, 16_000)) for factor in (0.01, 0.02)]
    assert np.allclose(*quiet, atol=1e-3)  # raised to -30 dB of full scale
    assert encoder.embed(Sound(sound.samples[8000:9000], 16_000)).shape == (256,)  # less than a window


@pytest.mark.parametrize(
    ("measure", "command"),
    [(SpeakerSimilarity, "pip install --no-deps resemblyzer"), (PredictedQuality, 'install "transgan[voice-metrics]"')],
)
def test_what_is_missing_is_named(measure: Any, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda name: None)
    with pytest.raises(PluginError) as error:
        measure()
    assert command in str(error.value) and "\n" not in str(error.value)


def test_predicted_quality_falls_with_noise_and_lies_on_its_scale() -> None:
    if importlib.util.find_spec("speechmos") is None or importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("speechmos and ONNX Runtime, of the extra voice-metrics, are not installed")
    if not DATA.is_dir():
        pytest.skip(f"recordings of real speakers are not in {DATA}")
    sound = read_sound(sorted((DATA / "eval/SF1").glob("*.wav"))[0])
    noise = np.random.default_rng(0).normal(0, 0.03, len(sound.samples)).astype(np.float32)
    quality = PredictedQuality()
    clean, noisy = (quality(each, None, sound) for each in (sound, Sound(sound.samples + noise, sound.rate)))
    assert 1 < noisy < clean - 0.5 < 4.5


def naive_distance(one: str, other: str) -> int:
    if not one or not other:
        return len(one) + len(other)
    return min(
        naive_distance(one[1:], other) + 1,
        naive_distance(one, other[1:]) + 1,
        naive_distance(one[1:], other[1:]) + (one[0] != other[0]),
    )


@pytest.mark.parametrize(
    ("one", "other"), [("kitten", "sitting"), ("", ""), ("", "abc"), ("abc", ""), ("abab", "baba"), ("same", "same")]
)
def test_the_edit_distance_is_that_of_its_definition(one: str, other: str) -> None:
    assert edit_distance(one, other) == naive_distance(one, other)


def test_phones_of_a_recording_do_not_depend_on_those_before() -> None:
    sounds = [Sound(SyntheticVoice(0, i, speaker("low", 1.1))(), 16_000) for i in range(3)]
    together = RecognizedPhones()
    heard = [together.phones(each) for each in sounds]
    assert heard == [RecognizedPhones().phones(each) for each in sounds]
    assert all(heard) and all(phone.isalpha() and phone.isupper() for each in heard for phone in each)
    assert together(sounds[0], None, sounds[0]) == 0
    silence = Sound(np.zeros(16_000, np.float32), 16_000)
    assert together.phones(silence) == [] and together(silence, None, sounds[0]) == 1
    assert together(sounds[0], None, silence) == len(heard[0])  # what is heard where nothing was said


def test_phones_tell_speech_from_mush_and_other_sentences() -> None:
    if not DATA.is_dir():
        pytest.skip(f"recordings of real speakers are not in {DATA}")
    speech = {
        name: [read_sound(path) for path in sorted((DATA / "eval" / name).glob("*.wav"))[:6]] for name in ("SF1", "TM3")
    }
    rng, error = np.random.default_rng(0), RecognizedPhones()

    def mush(sound: Sound) -> Sound:
        """Return noise with the spectrum of a recording."""
        spectrum = np.abs(np.fft.rfft(sound.samples)) * np.exp(2j * np.pi * rng.random(len(sound.samples) // 2 + 1))
        return Sound(np.fft.irfft(spectrum, len(sound.samples)).astype(np.float32), sound.rate)

    pairs = list(zip(speech["TM3"], speech["SF1"], strict=True))
    same = np.mean([error(a, None, b) for a, b in pairs])
    other = np.mean([error(a, None, b) for (a, _), (_, b) in pairwise(pairs)])
    noise = np.mean([error(mush(b), None, b) for _, b in pairs])
    assert same < 0.75 < 0.9 < min(other, noise)


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_the_pitch_is_that_of_synthetic_voices(noise: float) -> None:
    rng = np.random.default_rng(0)
    errors: dict[str, list[float]] = {"dio": [], "swift": []}
    for voice in (SyntheticVoice(0, i, speaker(name, 1.1)) for i in range(3) for name in ("low", "high")):
        samples = voice()
        samples = samples + rng.normal(0, noise * samples.std(), len(samples)).astype(np.float32)
        for name, analyzer in (("dio", Analyzer()), ("swift", Analyzer(SwiftF0()))):
            found = analyzer(Sound(samples, 16_000))
            cents, voicing = f0_errors(found.f0, voice.ground_truth().at(found.times).f0)
            errors[name].append(cents)
            assert len(found.f0) == len(found.times) and (name == "dio" or voicing < 0.06)
    assert np.mean(errors["swift"]) < 20 and np.mean(errors["swift"]) < np.mean(errors["dio"])


def test_speakers_are_distinguished() -> None:
    if importlib.util.find_spec("resemblyzer") is None:
        pytest.skip("the weights of Resemblyzer are not installed")
    if not DATA.is_dir():
        pytest.skip(f"recordings of real speakers are not in {DATA}")
    similarity = SpeakerSimilarity()
    speech = {
        name: [read_sound(p) for p in sorted((DATA / "eval" / name).glob("*.wav"))[:4]] for name in ("SF1", "TM3")
    }
    reference = similarity.reference(speech["SF1"][:2])
    own, other = (np.mean([similarity(each, reference, each) for each in speech[name][2:]]) for name in ("SF1", "TM3"))
    assert own > other + 0.2
