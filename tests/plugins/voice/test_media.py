"""The media `voice`: from recordings to normalized features, and back to recordings of the same length."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("soundfile", reason="reading recordings needs soundfile")
pytest.importorskip("scipy", reason="synthetic voices and resampling need scipy")

from transgan_voice.audio import Sound, loudness, read_sound
from transgan_voice.media import VoiceMedia, VoiceMediaOptions, crop_frames, reflect
from transgan_voice.sources import SyntheticVoice, speaker
from transgan_voice.spectrogram_images import colorize

from transgan.api import Column, DataError, PluginError
from transgan.rng import CounterRng

SMALL: dict[str, Any] = {"bands": 32, "hop": 256, "window": 1024, "iterations": 4}


def media_of(size: int = 16, *, statistics: bool = True, **options: Any) -> VoiceMedia:
    media = VoiceMedia(VoiceMediaOptions(**{**SMALL, **options}), size)
    if statistics:
        media.statistics = {
            name: {"mean": torch.linspace(-6, -5, media.channels) + i, "std": torch.linspace(1, 2, media.channels) + i}
            for i, name in enumerate("ab")
        }
    return media


def voice(index: int = 0, who: str = "low") -> SyntheticVoice:
    return SyntheticVoice(0, index, speaker(who, 1.1))


def rng(count: int, epoch: int = 0) -> CounterRng:
    return CounterRng(0, np.full(count, epoch), np.arange(count))


def test_statistics_are_those_of_active_frames() -> None:
    media = media_of(statistics=False)
    generator = np.random.default_rng(0)
    loud = [generator.normal(np.linspace(-3, 0, 32), 0.5, (n, 32)).astype(np.float32) for n in (300, 200)]
    silent = [np.concatenate([np.full((400, 32), -11.5, np.float32), each]) for each in loud]
    statistics = media.fit_statistics(iter(silent))
    every = np.concatenate(loud)
    assert np.allclose(statistics["mean"], every.mean(0), atol=1e-5)
    assert np.allclose(statistics["std"], every.std(0), atol=1e-5)
    media.statistics = {"a": statistics}
    x = media.batch([torch.from_numpy(each) for each in loud], None, ["a", "a"])
    assert x.shape == (2, 32, 256) and abs(float(x.mean())) < 0.1 and abs(float(x.std()) - 1) < 0.1
    assert np.allclose(media.denormalize(media.normalize(loud[0], "a"), "a"), loud[0], atol=1e-5)


def test_a_domain_of_silence_gives_finite_features() -> None:
    media = media_of(statistics=False)
    media.statistics = {"a": media.fit_statistics([media.decode(Sound(np.zeros(9000, np.float32), 16_000))])}
    x, undo = media.to_model(Sound(np.zeros(5000, np.float32), 16_000), 4, False, "a")
    assert x.isfinite().all()
    assert np.array_equal(media.from_model(x, undo, "a").samples, np.zeros(5000))


def test_each_sample_of_a_batch_is_normalized_by_its_own_domain() -> None:
    media = media_of()
    decoded = [torch.randn(n, 32) for n in (50, 16, 80)]
    mixed = media.batch(decoded, rng(3), ["a", "b", "a"])
    alone = media.batch(decoded, rng(3), ["a", "a", "a"])
    assert mixed.shape == (3, 32, 16)
    assert torch.equal(mixed[0], alone[0]) and torch.equal(mixed[2], alone[2])
    (mean_a, std_a), (mean_b, std_b) = media.normalization("a"), media.normalization("b")
    assert torch.allclose(alone[1].T * std_a + mean_a, mixed[1].T * std_b + mean_b, atol=1e-5)


def test_crops_are_determined_by_the_rng_and_lie_within_the_recording() -> None:
    media = media_of()
    decoded = [torch.arange(60.0)[:, None].expand(60, 32)] * 40
    raw = media.batch(decoded, rng(40), ["a"] * 40)[:, 0] * 1.0 - 6.0  # std 1 and mean -6 of the first band
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
    x = media.batch([quiet] * 100, rng(100), ["a"] * 100)
    active = (x[:, 0] > 3).float().mean(1) >= 0.25
    assert active.float().mean() > 0.6  # of single random crops about a quarter
    assert media.batch([torch.full((400, 32), -11.5)], rng(1), ["a"]).isfinite().all()


@pytest.mark.parametrize("length", [1, 2, 3, 15, 16, 17])
def test_recordings_shorter_than_a_crop_are_reflected(length: int) -> None:
    assert set(crop_frames(length, 16, 0)) == set(range(min(length, 16)))
    steps = np.abs(np.diff(crop_frames(length, 64, 0)))
    assert (steps == (1 if length > 1 else 0)).all()
    assert reflect(np.array([-2, -1, 0, 1]), 10).tolist() == [2, 1, 0, 1]
    x = media_of().batch([torch.randn(length, 32)], rng(1), ["a"])
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
    for where, why in ((path, "cannot be loaded"), (tmp_path / "none", "there is no such file")):
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
    with pytest.raises(PluginError, match=r'features = "world" needs pyworld.*transgan\[world\]'):
        VoiceMedia(VoiceMediaOptions(features="world"), 16)
