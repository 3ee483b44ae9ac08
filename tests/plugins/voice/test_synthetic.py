"""Synthetic voices: deterministic, aligned between speakers, with the F0 and the formants of their speaker."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy", reason="the synthesiser needs scipy")

from transgan_voice.sources import SPEAKERS, SyntheticVoice, SyntheticVoices, speaker
from transgan_voice.synthetic import FRAME, PHONES, RATE, VOWELS, Utterance, make_utterance, pronounced, synthesize

from transgan.api import Sample, UsageError


def source(**options: float) -> SyntheticVoices:
    return SyntheticVoices(SyntheticVoices.Options(**options), None)


def test_an_utterance_is_determined_by_seed_and_index() -> None:
    one, again = (SyntheticVoice(3, 5, speaker("low", 1.1))() for _ in range(2))
    assert np.array_equal(one, again) and one.dtype == np.float32
    assert np.abs(one).max() == pytest.approx(0.6)
    contour, other = (make_utterance(seed, 5).f0_contour for seed in (3, 4))
    assert not np.array_equal(contour, other[: len(contour)])
    for index in range(40):
        utterance = make_utterance(0, index)
        assert 1.0 < utterance.durations.sum() * 0.005 < 6.0
        assert utterance.phones[0] == utterance.phones[-1] == "silence" and set(utterance.phones) <= set(PHONES)


def test_two_speakers_of_one_utterance_are_aligned() -> None:
    low, high = (SyntheticVoice(0, 2, speaker(name, 1.17)) for name in ("low", "high"))
    a, b, truth = low(), high(), low.ground_truth()
    assert len(a) == len(b) == FRAME * len(truth.labels)
    other = high.ground_truth()
    assert np.array_equal(truth.labels, other.labels) and np.array_equal(truth.voiced, other.voiced)
    silent = truth.labels == 0
    for x in (a, b):
        level = np.sqrt((x.reshape(-1, FRAME) ** 2).mean(1))
        vowel = np.isin(truth.labels, [PHONES.index(v) for v in VOWELS])
        middle = np.convolve(silent, np.ones(13) / 13, "same") > 0.999  # away from smoothed transitions
        assert level[middle].max() < 0.1 * np.median(level[vowel])
    at = truth.at(np.array([0.0, 0.0049, 0.0051, 99.0]))
    assert at.labels.tolist() == truth.labels[[0, 0, 1, -1]].tolist()


@pytest.mark.parametrize("name", list(SPEAKERS))
def test_the_voice_has_the_f0_of_its_ground_truth(name: str) -> None:
    voice = SyntheticVoice(1, 7, speaker(name, 1.1))
    x, truth = voice(), voice.ground_truth()
    errors = []
    for m in np.flatnonzero(np.convolve(truth.voiced, np.ones(21), "same") == 21)[::7]:
        window = x[FRAME * m - 480 : FRAME * m + 560].astype(np.float64)
        spectrum = np.abs(np.fft.rfft(window * np.hanning(len(window)), 8192)) ** 2
        autocorrelation = np.fft.irfft(spectrum)
        lags = np.arange(int(RATE / truth.f0[m] * 0.75), int(RATE / truth.f0[m] * 1.33))
        errors.append(1200 * np.log2(RATE / lags[autocorrelation[lags].argmax()] / truth.f0[m]))
    assert len(errors) > 10 and np.median(np.abs(errors)) < 25  # cents
    f0 = np.log(truth.f0[truth.voiced])
    assert np.exp(f0.mean()) == pytest.approx(SPEAKERS[name][0], rel=0.25)


def spectrum_of(tract: float, vowel: str) -> np.ndarray:
    """Return the mean log spectrum (dB) of a long vowel, in windows too short to resolve harmonics; bins of 15.6 Hz."""
    utterance = Utterance((vowel,), np.array([80]), np.zeros(80), 1)
    x = synthesize(utterance, replace(speaker("low", 1.1), tract=tract))[1600:-1600]
    frames = np.lib.stride_tricks.sliding_window_view(x, 200)[::40] * np.hanning(200)
    levels: np.ndarray = 10 * np.log10((np.abs(np.fft.rfft(frames, 1024)) ** 2).mean(0))
    return levels


@pytest.mark.parametrize("ratio", [1.05, 1.10, 1.17])
def test_the_formants_are_scaled_by_the_ratio(ratio: float) -> None:
    found = []
    for vowel in ("ah", "ae", "eh"):
        one, other = spectrum_of(1.0, vowel), spectrum_of(ratio, vowel)
        bins = np.arange(20, 200)  # 300 to 3100 Hz, up to the third formant
        ratios = np.arange(0.95, 1.3, 0.01)
        stretched = [np.interp(bins / r, np.arange(513), one) for r in ratios]
        found.append(ratios[np.argmax([np.corrcoef(each, other[bins])[0, 1] for each in stretched])])
    assert np.mean(found) == pytest.approx(ratio, abs=0.025)


def test_speakers_have_different_sentences_and_the_counterpart_is_the_ground_truth() -> None:
    voices = source(count=5, ratio=1.05)
    found = {name: voices.samples("d", name) for name in SPEAKERS}
    keys = [sample.key for samples in found.values() for sample in samples]
    assert len(set(keys)) == len(keys) == 20
    sample = found["high"][1]
    truth = voices.counterpart(sample, "high", "low")
    assert isinstance(truth, Sample) and truth.key == sample.key
    assert truth.location.index == sample.location.index and truth.location.speaker == speaker("low", 1.05)
    assert truth.location.speaker.tract == 1.0 and sample.location.speaker.tract == pytest.approx(1.05)
    assert speaker("high", 1.17).bandwidth == pytest.approx(1.25) and speaker("high", 1.17).tilt == pytest.approx(0.35)
    for unknown in ("nobody", 3, {"a": 1}):
        with pytest.raises(UsageError, match="expected a speaker: low, high, deep, middle"):
            voices.samples("d", unknown)


def test_voices_are_synthesized_at_any_sample_rate() -> None:
    voice = SyntheticVoice(0, 1, speaker("middle", 1.1))
    assert len(voice(8_000)) == len(voice()) // 2


def test_habits_change_single_phones_and_keep_every_moment_in_its_place() -> None:
    plain, habit = ({name: speaker(name, 1.1, manner) for name in ("low", "high")} for manner in (0.0, 1.0))
    assert plain["low"] == speaker("low", 1.1) and hash(habit["low"]) != hash(habit["high"])
    voices = {name: SyntheticVoice(0, 5, each) for name, each in habit.items()}
    sounds = {name: each() for name, each in voices.items()}
    truths = {name: each.ground_truth() for name, each in voices.items()}
    assert len(sounds["low"]) == len(sounds["high"]) == 80 * len(truths["low"].labels)
    assert np.array_equal(truths["low"].labels, truths["high"].labels)
    assert np.array_equal(truths["low"].voiced, truths["high"].voiced)
    ratios = np.array(
        [np.divide(b, a) for (_, a), (_, b) in zip(habit["low"].accent, habit["high"].accent, strict=True)]
    )
    assert ratios[:, :2].std() > 0.08  # no factor of all phones describes them
    for name, melody in (("high", 0.2 * 1.5), ("low", -0.16 * 1.2)):  # deviations of log F0 that the end rises
        before = SyntheticVoice(0, 5, plain[name]).ground_truth().f0
        change = np.log(truths[name].f0[before > 0] / before[before > 0])
        assert np.allclose(change[: len(change) // 2], 0) and change[-1] / melody == pytest.approx(1, abs=0.4)


def test_short_vowels_are_drawn_to_the_neutral_one_as_far_as_the_speaker_does() -> None:
    formants = [np.array(pronounced("iy", frames, {}, 0.6)) for frames in (16, 28, 1000)]
    full, neutral = np.array(VOWELS["iy"]), np.array(VOWELS["ah"])
    for found, share in zip(formants, (0.6, 0.3, 0.0), strict=True):
        assert found == pytest.approx(full + share * (neutral - full), rel=1e-6)
