"""From a recording to what a network sees, and to a recording of the same length."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("soundfile", reason="reading recordings needs soundfile")
pytest.importorskip("scipy", reason="drawn voices and resampling need scipy")

from transgan_voice.audio import Sound, loudness, read_sound
from transgan_voice.media import VoiceMedia, VoiceOptions, frame_numbers, reflected
from transgan_voice.sources import DrawnVoice, speaker

from transgan.api import Column, DataError
from transgan.data.draws import SampleDraws

SMALL: dict[str, Any] = {"bands": 32, "hop": 256, "window": 1024, "iterations": 4}


def media_of(size: int = 16, *, learnt: bool = True, **options: Any) -> VoiceMedia:
    media = VoiceMedia(VoiceOptions(**{**SMALL, **options}), size)
    if learnt:
        media.learnt = {
            name: {"mean": torch.linspace(-6, -5, media.channels) + i, "std": torch.linspace(1, 2, media.channels) + i}
            for i, name in enumerate("ab")
        }
    return media


def voice(index: int = 0, who: str = "low") -> DrawnVoice:
    return DrawnVoice(0, index, speaker(who, 1.1))


def draws(count: int, epoch: int = 0) -> SampleDraws:
    return SampleDraws(0, np.full(count, epoch), np.arange(count))


def test_statistics_are_those_of_active_frames() -> None:
    media = media_of(learnt=False)
    rng = np.random.default_rng(0)
    loud = [rng.normal(np.linspace(-3, 0, 32), 0.5, (n, 32)).astype(np.float32) for n in (300, 200)]
    silent = [np.concatenate([np.full((400, 32), -11.5, np.float32), each]) for each in loud]
    learnt = media.learn(iter(silent))
    every = np.concatenate(loud)
    assert np.allclose(learnt["mean"], every.mean(0), atol=1e-5) and np.allclose(learnt["std"], every.std(0), atol=1e-5)
    media.learnt = {"a": learnt}
    x = media.batch([torch.from_numpy(each) for each in loud], None, ["a", "a"])
    assert x.shape == (2, 32, 256) and abs(float(x.mean())) < 0.1 and abs(float(x.std()) - 1) < 0.1
    assert np.allclose(media.restored(media.normalised(loud[0], "a"), "a"), loud[0], atol=1e-5)


def test_a_domain_of_silence_can_be_learnt_and_does_not_divide_by_nothing() -> None:
    media = media_of(learnt=False)
    media.learnt = {"a": media.learn([media.decode(Sound(np.zeros(9000, np.float32), 16_000))])}
    x, undo = media.to_model(Sound(np.zeros(5000, np.float32), 16_000), 4, False, "a")
    assert x.isfinite().all()
    assert np.array_equal(media.from_model(x, undo, "a").samples, np.zeros(5000))


def test_each_sample_of_a_batch_is_normalised_by_its_own_domain() -> None:
    media = media_of()
    decoded = [torch.randn(n, 32) for n in (50, 16, 80)]
    mixed = media.batch(decoded, draws(3), ["a", "b", "a"])
    alone = media.batch(decoded, draws(3), ["a", "a", "a"])
    assert mixed.shape == (3, 32, 16)
    assert torch.equal(mixed[0], alone[0]) and torch.equal(mixed[2], alone[2])
    (one, two), (mean, std) = media.statistics("a"), media.statistics("b")
    assert torch.allclose(alone[1].T * two + one, mixed[1].T * std + mean, atol=1e-5)


def test_crops_follow_from_the_draws_and_lie_within_the_recording() -> None:
    media = media_of()
    decoded = [torch.arange(60.0)[:, None].expand(60, 32)] * 40
    raw = media.batch(decoded, draws(40), ["a"] * 40)[:, 0] * 1.0 - 6.0  # std 1 and mean -6 of the first band
    begins = raw[:, 0].round().int().tolist()
    assert torch.allclose(raw - raw[:, :1], torch.arange(16.0).expand(40, 16), atol=1e-4)
    assert len(set(begins)) > 8 and min(begins) >= 0 and max(begins) <= 44
    again = media.batch(decoded[:3], draws(3), ["a"] * 3)
    assert torch.equal(again, media.batch(decoded, draws(40), ["a"] * 40)[:3])
    assert not torch.equal(again, media.batch(decoded[:3], draws(3, epoch=1), ["a"] * 3))


def test_crops_of_silence_are_drawn_again() -> None:
    media = media_of()
    quiet = torch.full((400, 32), -11.5)
    quiet[150:250] = 0.0
    x = media.batch([quiet] * 100, draws(100), ["a"] * 100)
    spoken = (x[:, 0] > 3).float().mean(1) >= 0.25
    assert spoken.float().mean() > 0.6  # of single draws about a quarter is
    assert media.batch([torch.full((400, 32), -11.5)], draws(1), ["a"]).isfinite().all()


@pytest.mark.parametrize("length", [1, 2, 3, 15, 16, 17])
def test_recordings_shorter_than_a_crop_go_back_and_forth(length: int) -> None:
    assert set(frame_numbers(length, 16, 0)) == set(range(min(length, 16)))
    steps = np.abs(np.diff(frame_numbers(length, 64, 0)))
    assert (steps == (1 if length > 1 else 0)).all()
    assert reflected(np.array([-2, -1, 0, 1]), 10).tolist() == [2, 1, 0, 1]
    x = media_of().batch([torch.randn(length, 32)], draws(1), ["a"])
    assert x.shape == (1, 32, 16) and x.isfinite().all()


LENGTHS = [*range(1, 40), 127, 128, 129, 255, 256, 257, 511, 512, 513, 1000, 1023, 1024, 1025, 2048, 3333, 4999, 5000]


@pytest.mark.parametrize("native", [False, True])
def test_as_many_samples_come_out_as_went_in(native: bool) -> None:
    media = media_of(iterations=1)
    noise = np.random.default_rng(0).normal(0, 0.1, 5000).astype(np.float32)
    for length in LENGTHS:
        x, undo = media.to_model(Sound(noise[:length], 16_000), 4, native, "a")
        assert x.shape[1] == 32 and x.shape[2] % 4 == 0 and x.shape[2] >= 16
        made = media.from_model(x, undo, "b")
        assert made.rate == 16_000 and made.samples.shape == (length,) and np.isfinite(made.samples).all()


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_rate_length_and_loudness_are_kept(rate: int) -> None:
    media = media_of()
    sound = Sound(0.1 * voice()(rate)[: rate * 2 - 37], rate)
    x, undo = media.to_model(sound, 1, False, "a")
    made = media.from_model(x, undo, "a")
    assert made.rate == rate and len(made.samples) == len(sound.samples)
    assert loudness(made) == pytest.approx(loudness(sound), rel=1e-3)


def frames_given(media: VoiceMedia) -> dict[str, np.ndarray]:
    """What is heard is made of these `frames`: the newest, once something was translated."""
    kept: dict[str, np.ndarray] = {}
    original = media.front.converted

    def converted(analysis: Any, frames: Any, *known: Any) -> Any:
        kept["frames"] = frames
        return original(analysis, frames, *known)

    media.front.converted = converted  # type: ignore[method-assign]
    return kept


@pytest.mark.parametrize("size", [16, 17, 64])
def test_windows_are_joined_without_a_seam(size: int) -> None:
    media = media_of(size)
    sound = media.read(voice())
    x, undo = media.to_model(sound, 1, False, "a")
    whole, _ = media.to_model(sound, 1, True, "a")
    assert x.shape[0] > 1 and x.shape[2] == size
    kept = frames_given(media)
    media.from_model(x, undo, "a")
    assert np.allclose(kept["frames"], media.restored(whole[0, :, : len(kept["frames"])], "a"), atol=1e-4)
    # A network that says something else in every window: what is heard goes from one to the next, step by step.
    y = torch.arange(len(x), dtype=torch.float32)[:, None, None].expand_as(x)
    media.from_model(y, undo, "a")
    steps = np.abs(np.diff(media.normalised(kept["frames"], "a")[0].numpy()))
    assert steps.max() < 4.3 / size  # a window fades over a quarter of its length


def test_what_a_network_returns_is_of_the_target_domain() -> None:
    media = media_of()
    kept = frames_given(media)
    x, undo = media.to_model(media.read(voice()), 1, True, "a")
    media.from_model(torch.zeros_like(x), undo, "b")
    assert np.allclose(kept["frames"], media.statistics("b").mean.numpy())
    with pytest.raises(DataError, match="statistics of 'c' for 32 bands were neither learnt nor stored"):
        media.to_model(media.read(voice()), 1, True, "c")
    media.learnt = {"a": {"mean": torch.zeros(7), "std": torch.ones(7)}}
    with pytest.raises(DataError, match="statistics of 'a' for 32 bands"):
        media.statistics("a")


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Log-spectral distance in dB over active frames, 64 ms each."""
    spectra = [
        np.log10(
            np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(x, 1024)[::128] * np.hanning(1024))) + 1e-4
        )
        for x in (a, b)
    ]
    loud = spectra[1].max(1) > spectra[1].max() - 1.75
    rms: np.ndarray = 20 * np.sqrt(((spectra[0] - spectra[1]) ** 2).mean(1))
    return float(rms[loud].mean())


def test_the_round_trip_by_mel_is_close_and_128_bands_are_closer_than_80() -> None:
    sound = Sound(voice(1)()[:32_000], 16_000)
    found = {}
    for bands, iterations in ((80, 32), (128, 32), (128, 1)):
        media = media_of(bands=bands, hop=128, iterations=iterations)
        made, truth = media.sound(media.analyse(sound)), sound.samples * np.float32(media.gain(sound))
        found[bands, iterations] = distance(made.samples, truth)
        heard = np.abs(media.front.analyse(made.samples).frames - media.front.analyse(truth).frames)
        if iterations == 32 and bands == 128:
            assert np.median(heard) * 8.686 < 1.5  # dB in a band
    assert found[128, 32] < found[80, 32] and found[128, 32] < 7.0


class Vocoder(torch.nn.Module):
    """As many samples as it should make, all of the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.share = torch.nn.Parameter(torch.full((32, 1), 1 / 32))

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        return (mel * self.share).sum(1, keepdim=True).repeat_interleave(256, 2)


@pytest.mark.parametrize("ending", [".pt", pytest.param(".pt2", marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_a_network_in_a_file_may_make_the_sound(tmp_path: Path, ending: str) -> None:
    path, mel = tmp_path / f"vocoder{ending}", torch.zeros(1, 32, 20)
    if ending == ".pt":
        torch.jit.trace(Vocoder(), mel).save(str(path))
    else:
        frames = torch.export.Dim("frames", min=2, max=4096)
        torch.export.save(torch.export.export(Vocoder(), (mel,), dynamic_shapes=({2: frames},)), path)
    media = media_of(vocoder=str(path))
    analysis = media.analyse(media.read(voice()))
    made = media.sound(analysis).samples
    assert len(made) == analysis.length
    assert np.allclose(made[:2560], analysis.frames[:10].mean(1).repeat(256), atol=1e-4)
    with pytest.raises(DataError, match="does not take"):
        media_of(vocoder=str(path), bands=40).sound(media_of(bands=40).analyse(media.read(voice())))
    path.write_bytes(b"no program")
    for where, why in ((path, "cannot be loaded"), (tmp_path / "none", "there is no such file")):
        with pytest.raises(DataError, match=why):
            media_of(vocoder=str(where)).sound(analysis)


@pytest.mark.parametrize("item", ["path", "sound", "array", "voice"])
def test_an_item_is_a_path_a_sound_an_array_or_a_drawn_voice(tmp_path: Path, item: str) -> None:
    media, samples = media_of(), voice()()
    Sound(samples, 16_000).save(tmp_path / "a.flac")
    items = {"path": tmp_path / "a.flac", "sound": Sound(samples, 16_000), "array": samples, "voice": voice()}
    assert np.abs(media.read(items[item]).samples - samples).max() < 1e-4


def test_loudness_is_taken_out_and_silence_cut_off() -> None:
    quiet, loud = Sound(0.05 * voice()(), 16_000), Sound(voice()(), 16_000)
    for how, same in (("rms", True), ("peak", True), ("none", False)):
        media = media_of(loudness=how)
        a, b = (media.decode(each) for each in (quiet, loud))
        assert (np.abs(a - b).max() < 0.05) == same, how
    assert len(media_of(trim=True).decode(loud)) < len(media_of().decode(loud))


def test_the_preview_is_a_picture_and_a_recording_for_each_column(tmp_path: Path) -> None:
    media = media_of(excerpt=40)
    items: Sequence[torch.Tensor] = [torch.randn(32, 40) for _ in range(3)]
    columns = {"task: a\n(given)": Column("a", items), "task: -> b\n(made)": Column("b", items)}
    path = media.preview(columns, tmp_path / "samples/step-00000007")
    assert path == tmp_path / "samples/step-00000007.png"
    with Image.open(path) as picture:
        assert picture.size == (4 + 2 * 44, 34 + 3 * 36 + 4)
    names = sorted(each.name for each in path.parent.iterdir())
    assert names == ["step-00000007-1-task-a-given.wav", "step-00000007-2-task-b-made.wav", "step-00000007.png"]
    heard = read_sound(path.parent / names[0])
    assert len(heard.samples) == 3 * (39 * 256 + 4800)


def test_pictures_go_from_dark_to_light() -> None:
    from transgan_voice.pictures import coloured

    ramp = coloured(np.linspace(0, 1, 50)[None], 0.0, 1.0)[0].astype(int)
    grey = ramp @ np.array([299, 587, 114])
    assert (np.diff(grey) >= 0).all() and ramp[0].tolist() == [0, 0, 4] and ramp[-1].tolist() == [252, 255, 164]


def test_the_options_that_need_a_package_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from transgan.api import PluginError

    monkeypatch.setitem(__import__("sys").modules, "pyworld", None)
    with pytest.raises(PluginError, match=r'features = "world" needs pyworld.*transgan\[world\]'):
        VoiceMedia(VoiceOptions(features="world"), 16)
    assert SimpleNamespace(kind=media_of().kind).kind == "bands"
