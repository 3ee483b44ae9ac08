"""The features of WORLD: mel-cepstra by their definition, pitch from voice to voice, round trips measured."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("pyworld", reason="WORLD features need pyworld")
pytest.importorskip("scipy", reason="drawn voices need scipy")

from transgan_voice.audio import Sound
from transgan_voice.media import VoiceMedia, VoiceOptions
from transgan_voice.sources import DrawnVoice, speaker
from transgan_voice.world import ALPHA, WorldFeatures


@pytest.fixture(scope="module")
def front() -> WorldFeatures:
    return WorldFeatures(24, "dio")


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return DrawnVoice(0, 1, speaker("low", 1.1))()[:24_000]


def test_mel_cepstra_are_those_of_the_definition(front: WorldFeatures) -> None:
    # log|H(w)| = sum of c_m cos(m b(w)), b the phase of the all-pass filter: as many as there are orders come back.
    rng = np.random.default_rng(0)
    cepstra = rng.normal(0, 1, (3, 25)) * 0.8 ** np.arange(25)
    w = np.pi * np.arange(513) / 512
    bent = w + 2 * np.arctan2(ALPHA * np.sin(w), 1 - ALPHA * np.cos(w))
    power = np.exp(2 * cepstra @ np.cos(np.outer(np.arange(25), bent)))
    assert np.abs(front.cepstra(power) - cepstra).max() < 1e-3
    assert np.abs(np.log(front.envelope(cepstra) / power)).max() < 1e-2
    assert np.allclose(front.cepstra(np.full((1, 513), np.exp(2.0)))[0], [1, *[0] * 24], atol=1e-9)


def test_there_are_as_many_frames_as_in_the_contract(front: WorldFeatures, voice: np.ndarray) -> None:
    for length in (1, 79, 80, 81, 1599, 1600, 1601, 5000):
        analysis = front.analyse(voice[4000 : 4000 + length])
        assert len(analysis.frames) == length // 80 + 1 == len(analysis.f0) == len(analysis.aperiodicity)
        assert front.sound(analysis).shape == (length,)
    silence = front.analyse(np.zeros(3000, np.float32))
    assert np.isfinite(front.pack(silence)).all() and np.abs(front.sound(silence)).max() < 1e-3


def test_pitch_moves_by_mean_and_deviation_of_its_logarithm(front: WorldFeatures, voice: np.ndarray) -> None:
    analysis = front.analyse(voice)
    packed = front.pack(analysis)
    known = front.learn(packed, np.ones(len(packed), bool))
    spoken = np.log(analysis.f0[analysis.f0 > 0])
    assert known["log_f0"].tolist() == pytest.approx([spoken.mean(), spoken.std()], rel=1e-5)
    target = {"log_f0": torch.tensor([np.log(220.0), 0.05])}
    moved = front.converted(analysis, analysis.frames, known, target)
    assert np.array_equal(moved.f0 > 0, analysis.f0 > 0) and moved.aperiodicity is analysis.aperiodicity
    found = np.log(moved.f0[moved.f0 > 0])
    assert (found.mean(), found.std()) == pytest.approx((np.log(220.0), 0.05), rel=1e-3)


def test_the_round_trip_keeps_pitch_and_envelope(front: WorldFeatures, voice: np.ndarray) -> None:
    first = front.analyse(voice)
    again = front.analyse(front.sound(first))
    both = (first.f0 > 0) & (again.f0 > 0)
    assert both.sum() > 0.8 * (first.f0 > 0).sum()
    assert np.median(np.abs(1200 * np.log2(again.f0[both] / first.f0[both]))) < 15  # cents
    loud = first.decibels > np.percentile(first.decibels, 97) - 35
    mcd = 10 / np.log(10) * np.sqrt(2 * ((first.frames - again.frames)[loud] ** 2).sum(1)).mean()
    assert mcd < 4.0  # dB; on recordings it is about 2.6


def test_threads_do_not_disturb_each_other(front: WorldFeatures, voice: np.ndarray) -> None:
    alone = front.pack(front.analyse(voice))
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: front.pack(front.analyse(voice)), range(6)))
    assert all(np.array_equal(each, alone) for each in together)


def test_the_media_takes_a_voice_to_another_pitch() -> None:
    media = VoiceMedia(VoiceOptions(features="world", order=24, pitch="dio", excerpt=32), 32)
    sounds = {name: Sound(DrawnVoice(0, i, speaker(name, 1.1))(), 16_000) for i, name in enumerate(("low", "high"))}
    media.learnt = {name: media.learn([media.decode(sound)]) for name, sound in sounds.items()}
    assert media.channels == 24 and media.kind == "cepstra"
    x, undo = media.to_model(sounds["low"], 4, False, "low")
    made = media.from_model(x, undo, "high")
    assert len(made.samples) == len(sounds["low"].samples)
    f0 = media.analyse(made).f0
    assert np.median(f0[f0 > 0]) == pytest.approx(205, rel=0.2)  # that of `high`; `low` has 115
    heard = media.front.sound(media.front.imagined(media.restored(x[0], "low"), media.known("low")))
    assert np.isfinite(heard).all() and heard.std() > 1e-3
    assert media.front.picture(media.restored(x[0], "low")).shape == (96, 32)
