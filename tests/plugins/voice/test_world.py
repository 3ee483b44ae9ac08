"""The features `world`: mel-cepstra by their definition, conversion of F0, analysis and synthesis."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

pytest.importorskip("pyworld", reason="WORLD features need pyworld")
pytest.importorskip("scipy", reason="synthetic voices need scipy")

from transgan_voice.analysis import Analyzer
from transgan_voice.audio import Sound
from transgan_voice.media import VoiceMedia, VoiceMediaOptions
from transgan_voice.sources import SyntheticVoice, speaker
from transgan_voice.world import ALPHA, WorldFeatures


@pytest.fixture(scope="module")
def extractor() -> WorldFeatures:
    return WorldFeatures(24, "dio")


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return SyntheticVoice(0, 1, speaker("low", 1.1))()[:24_000]


def test_mel_cepstra_equal_their_definition(extractor: WorldFeatures) -> None:
    # log|H(w)| = sum of c_m cos(m b(w)), b the phase of the all-pass filter.
    rng = np.random.default_rng(0)
    cepstra = rng.normal(0, 1, (3, 25)) * 0.8 ** np.arange(25)
    w = np.pi * np.arange(513) / 512
    warped = w + 2 * np.arctan2(ALPHA * np.sin(w), 1 - ALPHA * np.cos(w))
    power = np.exp(2 * cepstra @ np.cos(np.outer(np.arange(25), warped)))
    assert np.abs(extractor.cepstra(power) - cepstra).max() < 1e-3
    assert np.abs(np.log(extractor.envelope(cepstra) / power)).max() < 1e-2
    assert np.allclose(extractor.cepstra(np.full((1, 513), np.exp(2.0)))[0], [1, *[0] * 24], atol=1e-9)


def test_the_number_of_frames_and_samples(extractor: WorldFeatures, voice: np.ndarray) -> None:
    for length in (1, 79, 80, 81, 1599, 1600, 1601, 5000):
        analysis = extractor.analyze(voice[4000 : 4000 + length])
        assert len(analysis.frames) == length // 80 + 1 == len(analysis.f0) == len(analysis.aperiodicity)
        assert extractor.synthesize(analysis).shape == (length,)
    silence = extractor.analyze(np.zeros(3000, np.float32))
    assert np.isfinite(extractor.pack(silence)).all() and np.abs(extractor.synthesize(silence)).max() < 1e-3


def test_log_f0_is_converted_by_mean_and_deviation(extractor: WorldFeatures, voice: np.ndarray) -> None:
    analysis = extractor.analyze(voice)
    packed = extractor.pack(analysis)
    statistics = extractor.fit_statistics(packed, np.ones(len(packed), bool))
    log_f0 = np.log(analysis.f0[analysis.f0 > 0])
    assert statistics["log_f0"].tolist() == pytest.approx([log_f0.mean(), log_f0.std()], rel=1e-5)
    target = {"log_f0": torch.tensor([np.log(220.0), 0.05])}
    converted = extractor.convert(analysis, analysis.frames, statistics, target)
    assert np.array_equal(converted.f0 > 0, analysis.f0 > 0)
    assert converted.aperiodicity is analysis.aperiodicity
    log_f0 = np.log(converted.f0[converted.f0 > 0])
    assert (log_f0.mean(), log_f0.std()) == pytest.approx((np.log(220.0), 0.05), rel=1e-3)


def test_analysis_and_synthesis_preserve_f0_and_envelope(extractor: WorldFeatures, voice: np.ndarray) -> None:
    first = extractor.analyze(voice)
    again = extractor.analyze(extractor.synthesize(first))
    both = (first.f0 > 0) & (again.f0 > 0)
    assert both.sum() > 0.8 * (first.f0 > 0).sum()
    assert np.median(np.abs(1200 * np.log2(again.f0[both] / first.f0[both]))) < 15  # cents
    loud = first.decibels > np.percentile(first.decibels, 97) - 35
    mcd = 10 / np.log(10) * np.sqrt(2 * ((first.frames - again.frames)[loud] ** 2).sum(1)).mean()
    assert mcd < 4.0  # dB; on recordings it is about 2.6


def test_extraction_is_thread_safe(extractor: WorldFeatures, voice: np.ndarray) -> None:
    alone = extractor.pack(extractor.analyze(voice))
    with ThreadPoolExecutor(4) as pool:
        concurrent = list(pool.map(lambda _: extractor.pack(extractor.analyze(voice)), range(6)))
    assert all(np.array_equal(each, alone) for each in concurrent)


def test_the_media_converts_f0() -> None:
    media = VoiceMedia(VoiceMediaOptions(features="world", order=24, pitch="dio", excerpt=32), 32)
    sounds = {name: Sound(SyntheticVoice(0, i, speaker(name, 1.1))(), 16_000) for i, name in enumerate(("low", "high"))}
    media.statistics = {name: media.fit_statistics([media.decode(sound)]) for name, sound in sounds.items()}
    assert media.channels == 24 and media.kind == "cepstra"
    x, undo = media.to_model(sounds["low"], 4, False, "low")
    converted = media.from_model(x, undo, "high")
    assert len(converted.samples) == len(sounds["low"].samples)
    f0 = media.analyze(converted).f0
    assert np.median(f0[f0 > 0]) == pytest.approx(205, rel=0.2)  # that of `high`; `low` has 115
    frames, statistics = media.denormalize(x[0], "low"), media.domain_statistics("low")
    samples = media.extractor.synthesize(media.extractor.from_frames(frames, statistics))
    assert np.isfinite(samples).all() and samples.std() > 1e-3
    assert media.extractor.spectrogram(frames).shape == (96, 32)


@pytest.mark.parametrize(("source", "target"), [("low", "high"), ("high", "low")])
def test_with_mel_the_melody_is_moved_by_mean_and_deviation(source: str, target: str) -> None:
    """The frames are those of the true conversion; only the phase says at which pitch they are spoken."""
    voices = {name: SyntheticVoice(0, 3, speaker(name, 1.1)) for name in (source, target)}
    media = VoiceMedia(VoiceMediaOptions(melody="moved", iterations=16), 64)
    media.statistics = {n: media.fit_statistics([media.decode(Sound(v(), 16_000))]) for n, v in voices.items()}
    x, undo = media.to_model(Sound(voices[source](), 16_000), 1, True, source)
    y, _ = media.to_model(Sound(voices[target](), 16_000), 1, True, target)
    assert x.shape == y.shape and media.decode(Sound(voices[source](), 16_000)).shape[1] == 2 + 128
    converted = media.from_model(y, undo, target)
    found = Analyzer()(converted)
    known = voices[target].ground_truth().at(found.times)
    both = (known.f0 > 0) & (found.f0 > 0)
    cents = 1200 * np.log2(found.f0[both] / known.f0[both])
    assert both.mean() > 0.3 and np.median(np.abs(cents)) < 40
