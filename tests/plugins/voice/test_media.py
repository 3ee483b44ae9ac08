"""The media `voice`: from recordings to normalized features, and back to recordings of the same length."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

pytest.importorskip("soundfile", reason="reading recordings needs soundfile")
pytest.importorskip("scipy", reason="synthetic voices and resampling need scipy")

import soundfile
from transgan_voice.audio import Encoding, Sound, active, loudness, read_sound
from transgan_voice.media import VoiceMedia, VoiceMediaOptions
from transgan_voice.quality import describe
from transgan_voice.sources import SyntheticVoice, speaker
from transgan_voice.spectrogram_images import colorize
from transgan_voice.windows import crop_frames, reflect

from transgan.api import Column, DataError, DataWarning, PluginError
from transgan.rng import CounterRng

pytestmark = pytest.mark.filterwarnings("ignore::transgan.errors.DataWarning")

SMALL: dict[str, Any] = {"bands": 32, "hop": 256, "window": 1024, "iterations": 4}


def media_of(size: int = 16, *, statistics: bool = True, **options: Any) -> VoiceMedia:
    media = VoiceMedia(VoiceMediaOptions(**{**SMALL, **options}), size)
    if statistics:
        media.statistics = {
            name: {"mean": torch.linspace(-6, -5, media.channels) + i, "std": torch.linspace(1, 2, media.channels) + i}
            for i, name in enumerate("ab")
        }
    return media


def kept(media: VoiceMedia, frames: Tensor | np.ndarray) -> Tensor:
    """Return what the media keeps of a recording of these frames."""
    return torch.from_numpy(media.with_activity(np.asarray(frames)))


def voice(index: int = 0, who: str = "low") -> SyntheticVoice:
    return SyntheticVoice(0, index, speaker(who, 1.1))


def rng(count: int, epoch: int = 0) -> CounterRng:
    return CounterRng(0, np.full(count, epoch), np.arange(count))


def test_statistics_are_those_of_active_frames() -> None:
    media = media_of(statistics=False)
    generator = np.random.default_rng(0)
    loud = [generator.normal(np.linspace(-3, 0, 32), 0.5, (n, 32)).astype(np.float32) for n in (300, 200)]
    silent = [np.concatenate([np.full((400, 32), -11.5, np.float32), each]) for each in loud]
    statistics = media.fit_statistics(kept(media, each).numpy() for each in silent)
    every = np.concatenate(loud)
    assert np.allclose(statistics["mean"], every.mean(0), atol=1e-5)
    assert np.allclose(statistics["std"], every.std(0), atol=1e-5)
    media.statistics = {"a": statistics}
    x = media.batch([kept(media, each) for each in loud], None, ["a", "a"])
    assert x.shape == (2, 32, 256) and abs(float(x.mean())) < 0.1 and abs(float(x.std()) - 1) < 0.1
    assert np.allclose(media.denormalize(media.normalize(loud[0], "a"), "a"), loud[0], atol=1e-5)


# Kind: a recording with nothing in it, or with little. It teaches nothing, and what was silence stays silence.


def silences() -> dict[str, Sound]:
    rng = np.random.default_rng(0)
    return {
        "zeros": Sound(np.zeros(9000, np.float32), 16_000),
        "a constant": Sound(np.full(9000, 0.2, np.float32), 16_000),
        "dither": Sound(rng.integers(-1, 2, 9000).astype(np.float32) / 32768, 16_000),
        "the noise of 8 bits": Sound(
            rng.integers(-1, 2, 9000).astype(np.float32) / 128, 16_000, Encoding("WAV", "PCM_U8")
        ),
        "a quiet room": Sound(rng.normal(0, 3e-4, 9000).astype(np.float32), 44_100),
    }


@pytest.mark.parametrize("name", silences())
def test_silence_is_silence_from_end_to_end(name: str) -> None:
    sound = silences()[name]
    assert describe(sound, True, 16_000, 8000).figures["% of silence"] == 100


@pytest.mark.parametrize("name", silences())
@pytest.mark.parametrize("loudness", ["rms", "peak", "none"])
def test_silence_is_refused_in_training_and_translated_to_silence(tmp_path: Path, name: str, loudness: Any) -> None:
    media, sound = media_of(loudness=loudness), silences()[name]
    sound.save(tmp_path / "a.wav")
    with pytest.raises(
        DataError, match=r"a\.wav: silence: -\d+ dB of full scale; expected more than -(60|42) dB \(option silence\)"
    ):
        media.decode(tmp_path / "a.wav")
    x, undo = media.to_model(media.read(tmp_path / "a.wav"), 4, False, "a")
    assert x.isfinite().all()
    translated = media.from_model(x, undo, "b")
    assert translated.samples.shape == sound.samples.shape and media.is_silent(translated)


def test_what_is_silence_is_an_option() -> None:
    quiet = Sound(1e-3 * voice()() / np.abs(voice()()).max(), 16_000)
    with pytest.raises(DataError, match="a sound: silence: "):
        media_of().decode(quiet)
    loud, low = (media_of(silence=-110.0).decode(each) for each in (Sound(voice()(), 16_000), quiet))
    assert np.abs(loud - low).max() < 0.2  # normalized like any other


@pytest.mark.parametrize("features", ["mel", "world"])
def test_statistics_are_those_without_silent_recordings(features: str) -> None:
    if features == "world":
        pytest.importorskip("pyworld")
    media = media_of(statistics=False, features=features)
    speech = [media.decode(voice(i)) for i in range(3)]
    silent = media.with_activity(media.extractor.pack(media.analyze(Sound(np.zeros(32_000, np.float32), 16_000))))
    expected = media.fit_statistics(speech)
    for recordings in ([silent, *speech], [*speech, silent, silent]):
        found = media.fit_statistics(recordings)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert all(value.isfinite().all() for value in media.fit_statistics([silent]).values())


@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_a_word_in_a_long_silence_counts_as_speech(noise: float) -> None:
    """Where less than 3% of a recording is speech, its percentile of levels is the level of the silence."""
    media, generator = media_of(statistics=False), np.random.default_rng(0)
    word = voice()()[8_000:24_000]
    background = generator.normal(0, 1, 16_000 * 80).astype(np.float32) * np.float32(noise)
    background[640_000:656_000] += word
    sparse = Sound(background, 16_000)
    assert loudness(sparse) == pytest.approx(loudness(Sound(word, 16_000)), rel=0.1)
    alone, within = (media.fit_statistics([media.decode(each)]) for each in (Sound(word, 16_000), sparse))
    assert (alone["mean"] - within["mean"]).abs().max() < 0.5
    assert (alone["std"] / within["std"]).log().abs().max() < 0.4
    media.statistics = {"a": within}
    crops = media.batch([torch.from_numpy(media.decode(sparse))] * 100, rng(100), ["a"] * 100)
    loudest = crops.mean(1).amax(1)
    assert (loudest > -0.5).all() and crops.mean((1, 2)).unique().numel() > 10  # no crop is silence, and they differ


def test_a_click_does_not_hide_speech() -> None:
    media, speech = media_of(statistics=False), 0.1 * voice()()
    clicked = speech.copy()
    clicked[5000:5003] = 1.0
    frames = [media.extractor.levels(media.analyze(Sound(each, 16_000)).frames) for each in (speech, clicked)]
    shares = [active(each).mean() for each in frames]
    assert shares[1] == pytest.approx(shares[0], abs=0.1)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize(("subtype", "channels", "rate"), [("PCM_24", 2, 48_000), ("PCM_16", 6, 8_000)])
def test_a_translation_has_the_encoding_of_its_source(
    tmp_path: Path, name: str, subtype: str, channels: int, rate: int
) -> None:
    media = media_of()
    gains = np.linspace(-1, 1, channels) if channels == 2 else np.array([0, 0.1, 1, 0, 0.5, 0.5])
    samples = 0.2 * voice()(rate)[: rate * 2 - 37, None] * gains
    soundfile.write(str(tmp_path / name), samples, rate, subtype=subtype)
    x, undo = media.to_model(media.read(tmp_path / name), 1, False, "a")
    media.write(media.from_model(x, undo, "b"), tmp_path / f"b{name}")
    before, after = (soundfile.info(str(tmp_path / each)) for each in (name, f"b{name}"))
    kept = [(each.samplerate, each.channels, each.subtype, each.frames, each.format) for each in (before, after)]
    assert kept[0] == kept[1]
    written = soundfile.read(str(tmp_path / f"b{name}"))[0]
    rms = [np.sqrt((each**2).mean(0)) for each in (samples, written)]
    assert rms[1] == pytest.approx(rms[0], rel=0.25, abs=1e-4)  # each channel as loud as it was


def test_the_longest_recording_is_an_option(tmp_path: Path) -> None:
    Sound(voice()()[:20_000], 16_000).save(tmp_path / "a.wav")
    assert len(media_of(max_seconds=1.25).read(tmp_path / "a.wav").samples) == 20_000
    with pytest.raises(DataError, match="at most max_seconds = 1 s are read"):
        media_of(max_seconds=1).decode(tmp_path / "a.wav")


# Kind: what is lost on the way through a model is reported, once.


def reports(media: VoiceMedia, sound: Sound, out: Path | None = None) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        media.to_model(sound, 1, False, "a")
        if out:
            media.write(sound, out)
    return [str(each.message) for each in caught if issubclass(each.category, DataWarning)]


@pytest.mark.parametrize("rate", [16_000, 22_050, 32_000])
def test_usual_recordings_are_not_reported(tmp_path: Path, rate: int) -> None:
    soundfile.write(str(tmp_path / "a.wav"), voice()(rate)[:, None].repeat(2, 1), rate)
    media = media_of()
    assert reports(media, media.read(tmp_path / "a.wav"), tmp_path / "b.wav") == []


@pytest.mark.parametrize(
    ("rate", "gains", "noise", "expected"),
    [
        (
            48_000,
            [1],
            0.0,
            "has 48,000 Hz, the model 16,000 Hz: the result has the recording's sample rate, ",
        ),
        (4_000, [1], 0.0, "has 4,000 Hz, the model 16,000 Hz: half or more of its bands are empty"),
        (16_000, [1, -1], 0.0, "its channels cancel each other: the loudest one is taken"),
        (
            16_000,
            [1, 1],
            0.1,
            "its 2 channels differ, and are mixed to one: ",
        ),
        (16_000, [0, 0], 0.0, "silence, and so is the result"),
    ],
)
def test_what_a_model_loses_of_a_recording_is_reported_once(
    tmp_path: Path, rate: int, gains: list[float], noise: float, expected: str
) -> None:
    samples = voice()(rate)[:, None] * np.array(gains)
    samples = samples + np.random.default_rng(0).normal(0, 1, samples.shape) * noise
    soundfile.write(str(tmp_path / "a.wav"), samples, rate)
    media = media_of()
    (report,) = reports(media, media.read(tmp_path / "a.wav"))
    assert report.startswith(f"{tmp_path / 'a.wav'}: {expected}") and report.endswith(" (said once)")
    assert reports(media, media.read(tmp_path / "a.wav")) == []


def test_a_result_that_is_made_quieter_is_reported(tmp_path: Path) -> None:
    media = media_of()
    (report,) = reports(media, Sound(2 * voice()() / np.abs(voice()()).max(), 16_000), tmp_path / "b.wav")
    assert report == f"{tmp_path / 'b.wav'}: made quieter by 6.0 dB, else it would clip (said once)"


def test_a_domain_of_silence_gives_finite_features() -> None:
    media = media_of(statistics=False)
    silence = media.with_activity(media.extractor.pack(media.analyze(Sound(np.zeros(9000, np.float32), 16_000))))
    media.statistics = {"a": media.fit_statistics([silence])}
    x, undo = media.to_model(Sound(np.zeros(5000, np.float32), 16_000), 4, False, "a")
    assert x.isfinite().all()
    assert np.array_equal(media.from_model(x, undo, "a").samples, np.zeros(5000))


def test_each_sample_of_a_batch_is_normalized_by_its_own_domain() -> None:
    media = media_of()
    decoded = [kept(media, torch.randn(n, 32)) for n in (50, 16, 80)]
    mixed = media.batch(decoded, rng(3), ["a", "b", "a"])
    alone = media.batch(decoded, rng(3), ["a", "a", "a"])
    assert mixed.shape == (3, 32, 16)
    assert torch.equal(mixed[0], alone[0]) and torch.equal(mixed[2], alone[2])
    (mean_a, std_a), (mean_b, std_b) = media.normalization("a"), media.normalization("b")
    assert torch.allclose(alone[1].T * std_a + mean_a, mixed[1].T * std_b + mean_b, atol=1e-5)


def test_crops_are_determined_by_the_rng_and_lie_within_the_recording() -> None:
    media = media_of()
    decoded = [kept(media, torch.arange(60.0)[:, None].expand(60, 32) / 100)] * 40
    raw = media.batch(decoded, rng(40), ["a"] * 40)[:, 0] * 100 - 600  # std 1 and mean -6 of the first band
    starts = raw[:, 0].round().int().tolist()
    assert torch.allclose(raw - raw[:, :1], torch.arange(16.0).expand(40, 16), atol=1e-4)
    assert len(set(starts)) > 8 and min(starts) >= 0 and max(starts) <= 44
    again = media.batch(decoded[:3], rng(3), ["a"] * 3)
    assert torch.equal(again, media.batch(decoded, rng(40), ["a"] * 40)[:3])
    assert not torch.equal(again, media.batch(decoded[:3], rng(3, epoch=1), ["a"] * 3))


def test_nearly_silent_crops_are_avoided() -> None:
    media = media_of()
    quiet = torch.full((400, 32), -11.5)
    quiet[150:250] = 0.0
    x = media.batch([kept(media, quiet)] * 100, rng(100), ["a"] * 100)
    active = (x[:, 0] > 3).float().mean(1) >= 0.25
    assert active.float().mean() > 0.6  # of single random crops about a quarter
    assert media.batch([kept(media, torch.full((400, 32), -11.5))], rng(1), ["a"]).isfinite().all()


@pytest.mark.parametrize("length", [1, 2, 3, 15, 16, 17])
def test_recordings_shorter_than_a_crop_are_reflected(length: int) -> None:
    assert set(crop_frames(length, 16, 0)) == set(range(min(length, 16)))
    steps = np.abs(np.diff(crop_frames(length, 64, 0)))
    assert (steps == (1 if length > 1 else 0)).all()
    assert reflect(np.array([-2, -1, 0, 1]), 10).tolist() == [2, 1, 0, 1]
    media = media_of()
    x = media.batch([kept(media, torch.randn(length, 32))], rng(1), ["a"])
    assert x.shape == (1, 32, 16) and x.isfinite().all()


LENGTHS = [*range(1, 40), 127, 128, 129, 255, 256, 257, 511, 512, 513, 1000, 1023, 1024, 1025, 2048, 3333, 4999, 5000]


@pytest.mark.parametrize("native", [False, True])
def test_the_number_of_samples_is_preserved(native: bool) -> None:
    media = media_of(iterations=1)
    noise = np.random.default_rng(0).normal(0, 0.1, 5000).astype(np.float32)
    for length in LENGTHS:
        x, undo = media.to_model(Sound(noise[:length], 16_000), 4, native, "a")
        assert x.shape[1] == 32 and x.shape[2] % 4 == 0 and x.shape[2] >= 16
        converted = media.from_model(x, undo, "b")
        assert converted.rate == 16_000 and converted.samples.shape == (length,)
        assert np.isfinite(converted.samples).all()


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_rate_length_and_loudness_are_preserved(rate: int) -> None:
    media = media_of()
    sound = Sound(0.1 * voice()(rate)[: rate * 2 - 37], rate)
    x, undo = media.to_model(sound, 1, False, "a")
    converted = media.from_model(x, undo, "a")
    assert converted.rate == rate and len(converted.samples) == len(sound.samples)
    assert loudness(converted) == pytest.approx(loudness(sound), rel=1e-3)


def record_frames(media: VoiceMedia) -> dict[str, np.ndarray]:
    """Return a dict whose `frames` are, after each translation, those from which the sound is synthesized."""
    recorded: dict[str, np.ndarray] = {}
    original = media.extractor.convert

    def convert(analysis: Any, frames: Any, *statistics: Any) -> Any:
        recorded["frames"] = frames
        return original(analysis, frames, *statistics)

    media.extractor.convert = convert  # type: ignore[method-assign]
    return recorded


@pytest.mark.parametrize("size", [16, 17, 64])
def test_windows_are_cross_faded(size: int) -> None:
    media = media_of(size)
    sound = media.read(voice())
    x, undo = media.to_model(sound, 1, False, "a")
    whole, _ = media.to_model(sound, 1, True, "a")
    assert x.shape[0] > 1 and x.shape[2] == size
    recorded = record_frames(media)
    media.from_model(x, undo, "a")
    count = len(recorded["frames"])
    assert np.allclose(recorded["frames"], media.denormalize(whole[0, :, :count], "a"), atol=1e-4)
    # Of windows with different constants, each fades into the next.
    y = torch.arange(len(x), dtype=torch.float32)[:, None, None].expand_as(x)
    media.from_model(y, undo, "a")
    steps = np.abs(np.diff(media.normalize(recorded["frames"], "a")[0].numpy()))
    assert steps.max() < 4.3 / size  # a window fades over a quarter of its length


def test_the_output_is_denormalized_by_the_target_domain() -> None:
    media = media_of()
    recorded = record_frames(media)
    x, undo = media.to_model(media.read(voice()), 1, True, "a")
    media.from_model(torch.zeros_like(x), undo, "b")
    assert np.allclose(recorded["frames"], media.normalization("b").mean.numpy())
    with pytest.raises(DataError, match="domain 'c': there are no statistics for 32 features"):
        media.to_model(media.read(voice()), 1, True, "c")
    media.statistics = {"a": {"mean": torch.zeros(7), "std": torch.ones(7)}}
    with pytest.raises(DataError, match="domain 'a': there are no statistics for 32 features"):
        media.normalization("a")


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the log-spectral distance in dB over active frames of 64 ms."""
    spectra = [
        np.log10(
            np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(x, 1024)[::128] * np.hanning(1024))) + 1e-4
        )
        for x in (a, b)
    ]
    loud = spectra[1].max(1) > spectra[1].max() - 1.75
    rms: np.ndarray = 20 * np.sqrt(((spectra[0] - spectra[1]) ** 2).mean(1))
    return float(rms[loud].mean())


def test_mel_analysis_and_synthesis_is_closer_with_128_bands_than_with_80() -> None:
    sound = Sound(voice(1)()[:32_000], 16_000)
    found = {}
    for bands, iterations in ((80, 32), (128, 32), (128, 1)):
        media = media_of(bands=bands, hop=128, iterations=iterations)
        synthesized = media.synthesize(media.analyze(sound)).samples
        truth = sound.samples * np.float32(media.gain(sound))
        found[bands, iterations] = distance(synthesized, truth)
        errors = np.abs(media.extractor.analyze(synthesized).frames - media.extractor.analyze(truth).frames)
        if iterations == 32 and bands == 128:
            assert np.median(errors) * 8.686 < 1.5  # dB of a band
    assert found[128, 32] < found[80, 32] and found[128, 32] < 7.0


class Vocoder(torch.nn.Module):
    """A vocoder that repeats the mean over bands of each frame."""

    def __init__(self) -> None:
        super().__init__()
        self.share = torch.nn.Parameter(torch.full((32, 1), 1 / 32))

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return (mel * self.share).sum(1, keepdim=True).repeat_interleave(256, 2)


@pytest.mark.parametrize("ending", [".pt", pytest.param(".pt2", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_neural_vocoder_is_loaded_from_a_file(tmp_path: Path, ending: str) -> None:
    path, mel = tmp_path / f"vocoder{ending}", torch.zeros(1, 32, 20)
    if ending == ".pt":
        torch.jit.trace(Vocoder(), mel).save(str(path))
    else:
        frames = torch.export.Dim("frames", min=2, max=4096)
        torch.export.save(torch.export.export(Vocoder(), (mel,), dynamic_shapes=({2: frames},)), path)
    media = media_of(vocoder=str(path))
    analysis = media.analyze(media.read(voice()))
    samples = media.synthesize(analysis).samples
    assert len(samples) == analysis.length
    assert np.allclose(samples[:2560], analysis.frames[:10].mean(1).repeat(256), atol=1e-4)
    with pytest.raises(DataError, match="failed for input of shape"):
        media_of(vocoder=str(path), bands=40).synthesize(media_of(bands=40).analyze(media.read(voice())))
    path.write_bytes(b"no program")
    for where, why in ((path, "cannot be (loaded|read)"), (tmp_path / "none", "there is no such file")):
        with pytest.raises(DataError, match=why):
            media_of(vocoder=str(where)).synthesize(analysis)


@pytest.mark.parametrize("item", ["path", "sound", "array", "voice"])
def test_an_item_is_a_path_a_sound_an_array_or_a_synthetic_voice(tmp_path: Path, item: str) -> None:
    media, samples = media_of(), voice()()
    Sound(samples, 16_000).save(tmp_path / "a.flac")
    items = {"path": tmp_path / "a.flac", "sound": Sound(samples, 16_000), "array": samples, "voice": voice()}
    assert np.abs(media.read(items[item]).samples - samples).max() < 1e-4


def test_loudness_is_normalized_and_silence_trimmed() -> None:
    quiet, loud = Sound(0.05 * voice()(), 16_000), Sound(voice()(), 16_000)
    for how, same in (("rms", True), ("peak", True), ("none", False)):
        media = media_of(loudness=how)
        a, b = (media.decode(each) for each in (quiet, loud))
        assert (np.abs(a - b).max() < 0.05) == same, how
    assert len(media_of(trim=True).decode(loud)) < len(media_of().decode(loud))


def test_the_preview_is_an_image_and_a_recording_for_each_column(tmp_path: Path) -> None:
    media = media_of(excerpt=40)
    items: Sequence[torch.Tensor] = [torch.randn(32, 40) for _ in range(3)]
    columns = {"task: a\n(source)": Column("a", items), "task: -> b\n(translated)": Column("b", items)}
    path = media.preview(columns, tmp_path / "samples/step-00000007")
    assert path == tmp_path / "samples/step-00000007.png"
    with Image.open(path) as image:
        assert image.size == (4 + 2 * 44, 34 + 3 * 36 + 4)
    names = sorted(each.name for each in path.parent.iterdir())
    assert names == ["step-00000007-1-task-a-source.wav", "step-00000007-2-task-b-translated.wav", "step-00000007.png"]
    sound = read_sound(path.parent / names[0])
    assert len(sound.samples) == 3 * (39 * 256 + 4800)


def test_the_color_scale_goes_from_dark_to_light() -> None:
    ramp = colorize(np.linspace(0, 1, 50)[None], 0.0, 1.0)[0].astype(int)
    grey = ramp @ np.array([299, 587, 114])
    assert (np.diff(grey) >= 0).all() and ramp[0].tolist() == [0, 0, 4] and ramp[-1].tolist() == [252, 255, 164]


def test_a_missing_package_is_named_in_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(PluginError, match=r'features = "world" needs pyworld.*transgan\[voice\]'):
        VoiceMedia(VoiceMediaOptions(features="world"), 16)
