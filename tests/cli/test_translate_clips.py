"""`transgan translate` with clips: every frame is translated, and the rest of the clip is kept."""

import os
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from transgan.api import Region, RegionDetector, Register, Tensor, hookimpl
from transgan.registry import Registry

av = pytest.importorskip("av", reason="PyAV is not installed")


class Corner(RegionDetector):
    """Detects the upper left 16 x 16 pixels of items whose first pixel is not black."""

    def detect(self, x: Tensor, min_extent: float) -> list[Region]:
        return [Region(x[:, :16, :16], 16.0, None)] if x[:, 0, 0].mean() > -0.9 else []

    def paste(self, x: Tensor, regions: list[Region], changes: list[Tensor]) -> Tensor:
        pasted = x.clone()
        for region, change in zip(regions, changes, strict=True):
            pasted[:, :16, :16] = region.sample + change
        return pasted


class Plugin:
    @hookimpl
    def register_region_detectors(self, register: Register) -> None:
        register("corners", Corner)


@pytest.fixture
def corners(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = Registry.installed

    def with_corners() -> Registry:
        registry = installed()
        registry.add(Plugin(), "corners")
        return registry

    monkeypatch.setattr(Registry, "installed", with_corners)


def frame(number: int, width: int = 48, height: int = 40) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([60 + 3 * x, 60 + 4 * y, 90 + x + y + 5 * number], -1).clip(0, 255).astype(np.uint8)


@pytest.fixture
def write_clip() -> Callable[..., Path]:
    """`write_clip("a.mkv")`: write a lossless clip with sound."""

    def write(name: str, count: int = 4, dark_from: int = 99) -> Path:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        with av.open(name, "w") as container:
            stream = container.add_stream("ffv1", rate=5)
            stream.width, stream.height, stream.pix_fmt = 48, 40, "yuv444p"
            heard = container.add_stream("pcm_s16le", rate=16000)
            heard.layout = "mono"
            sound = av.AudioFrame.from_ndarray(np.arange(3200 * count, dtype=np.int16)[None], "s16", "mono")
            sound.sample_rate, sound.pts = 16000, 0
            container.mux(heard.encode(sound))
            for i in range(count):
                pixels = frame(i) if i < dark_from else np.zeros_like(frame(i))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))
            container.mux(heard.encode(None))
        return Path(name)

    return write


def frames_of(path: str | Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [each.to_ndarray(format="rgb24") for each in container.decode(video=0)]


def sound_of(path: str | Path) -> bytes:
    with av.open(str(path)) as container:
        return b"".join(bytes(each) for each in container.demux(audio=0))


LOSSLESS = ("--set", "clip.codec=ffv1")


def test_frames_are_translated_as_pictures_are(transgan: Any, model: Path, write_clip: Callable[..., Path]) -> None:
    path = write_clip("in/a.mkv")
    for number, pixels in enumerate(frames_of(path)):
        Image.fromarray(pixels).save(f"{number}.png")
    done = transgan("translate", model, "in", "--to", "old", "-o", "out", *LOSSLESS)
    assert (done.code, done.err) == (0, "")
    assert done.out == "1 of 1 translated (age: young -> old) into out\n"
    assert transgan("translate", model, *[f"{i}.png" for i in range(4)], "--to", "old", "-o", "pictures").code == 0
    results = frames_of("out/a.mkv")
    assert len(results) == 4
    for number, pixels in enumerate(results):
        expected = np.asarray(Image.open(f"pictures/{number}.png")).astype(int)
        assert np.abs(pixels - expected).max() <= 4  # of colours as they are stored
    assert sound_of("out/a.mkv") == sound_of(path)


def test_large_frames_are_translated_in_tiles(transgan: Any, model: Path, write_clip: Callable[..., Path]) -> None:
    write_clip("a.mkv")
    common = ("translate", model, "a.mkv", "--to", "old", "--native", *LOSSLESS)
    assert transgan(*common, "-o", "whole").err == ""
    done = transgan(*common, "-o", "tiles", "--memory", "30kB")
    assert (done.code, done.err.count("\n")) == (0, 1)  # said once, and not of each frame
    assert "of memory at once, and 30 kB are allowed: translated in tiles, with the same result" in done.err
    for one, other in zip(frames_of("whole/a.mkv"), frames_of("tiles/a.mkv"), strict=True):
        assert one.std() > 1 and np.abs(one.astype(int) - other).max() <= 1


def test_a_clip_of_an_unlucky_frame_fails_in_one_line(
    transgan: Any, model: Path, write_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transgan_images.media import ImageMedia

    from transgan.api import DataError

    write_clip("a.mkv")
    read, calls = ImageMedia.read, []

    def fail(self: Any, item: Any) -> Any:
        calls.append(item)
        if len(calls) == 3:
            raise DataError("a frame of no kind")
        return read(self, item)

    monkeypatch.setattr(ImageMedia, "read", fail)
    done = transgan("translate", model, "a.mkv", "--to", "old", "-o", "out")
    assert done.code == 3
    assert done.err.splitlines()[0] == "error: a.mkv: item 3: a frame of no kind"
    assert list(Path("out").iterdir()) == []


def test_a_signal_to_end_leaves_no_temporary_file(
    transgan: Any, model: Path, write_clip: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from transgan_images.media import ImageMedia

    write_clip("a.mkv")
    read, calls = ImageMedia.read, []

    def end(self: Any, item: Any) -> Any:
        calls.append(item)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return read(self, item)

    monkeypatch.setattr(ImageMedia, "read", end)
    assert transgan("translate", model, "a.mkv", "--to", "old", "-o", "out").code == 143
    assert len(calls) == 3
    assert list(Path("out").iterdir()) == []


def test_the_ending_decides_what_is_written(
    transgan: Any, model: Path, write_clip: Callable[..., Path], write_image: Callable[..., Path]
) -> None:
    write_clip("a.mkv")
    done = transgan("translate", model, "a.mkv", "--to", "old", "-o", "out", "--ending", ".frames")
    assert done.err == "warning: out/a.frames: a folder of frames holds no sound; it is not kept\n"
    assert sorted(each.name for each in Path("out/a.frames").iterdir()) == [f"{i + 1:06}.png" for i in range(4)]
    done = transgan("translate", model, "out", "--to", "old", "-o", "back", "--ending", "mp4", "--set", "clip.rate=5")
    assert done.out == "1 of 1 translated (age: young -> old) into back\n"
    with av.open("back/a.mp4") as container:
        assert container.streams.video[0].average_rate == 5
    write_image(Path("b.png"))
    message = transgan("translate", model, "b.png", "--to", "old", "-o", "c", "--ending", ".mp4").error(2)
    assert message.startswith("--ending .mp4: b.png can be written as one of .png")
    message = transgan("translate", model, "a.mkv", "--to", "old", "-o", "c", "--ending", ".jpg").error(2)
    assert message.startswith("--ending .jpg: a.mkv can be written as one of .mp4")


def test_an_animated_picture_is_a_clip_and_a_still_one_is_not(
    transgan: Any, model: Path, write_image: Callable[..., Path]
) -> None:
    images = [Image.fromarray(frame(i)) for i in range(3)]
    images[0].save("a.gif", save_all=True, append_images=images[1:], duration=120)
    write_image(Path("b.gif"))
    assert transgan("translate", model, "a.gif", "b.gif", "--to", "old", "-o", "out").code == 0
    with Image.open("out/a.gif") as moving, Image.open("out/b.gif") as still:
        assert (moving.n_frames, moving.info["duration"], moving.size) == (3, 120, (48, 40))
        assert getattr(still, "n_frames", 1) == 1


def test_regions_of_each_frame_are_translated(
    transgan: Any, model: Path, write_clip: Callable[..., Path], corners: None
) -> None:
    path = write_clip("a.mkv", dark_from=2)
    done = transgan("translate", model, path, "--corners", "--to", "old", "-o", "out", *LOSSLESS)
    assert done.out == "1 of 1 translated (age: young -> old; 2 corners) into out\n"
    before, after = frames_of(path), frames_of("out/a.mkv")
    for i in range(4):
        change = np.abs(before[i].astype(int) - after[i])
        assert change[17:, 17:].max() <= 2
        assert (change[:16, :16].max() > 4) == (i < 2)


def test_a_clip_without_regions_stays_as_it_is(
    transgan: Any, model: Path, write_clip: Callable[..., Path], corners: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no file says of itself that its regions have been translated where there are none."""
    monkeypatch.setattr(Corner, "disclosure", "corners translated")
    path = write_clip("a.mkv", dark_from=0)
    done = transgan("translate", model, path, "--corners", "--to", "old", "-o", "out")
    assert done.err == "a.mkv: no corners found; copied\n"
    assert done.out == "0 of 1 translated (age: young -> old; 0 corners) into out\n"
    assert Path("out/a.mkv").read_bytes() == path.read_bytes()
    assert transgan("translate", model, path, "--corners", "--to", "old", "-o", "out", "--ending", ".mp4").code == 0
    with av.open("out/a.mp4") as container:
        assert container.metadata.get("comment", "") == ""
        assert sum(1 for _ in container.decode(video=0)) == 4
    lines = []
    for number in (0, 2):
        path = write_clip(f"{number}.mkv", dark_from=number)
        lines.append(
            transgan("translate", model, path, "--corners", "--to", "old", "-o", "out", "--ending", ".gif").err
        )
    assert "say beside it" not in lines[0]
    assert "out/0.gif: .gif files hold no sound" in lines[0]
    assert "out/2.gif: .gif files hold no comment; say beside it: corners translated" in lines[1]
    path = write_clip("b.mkv", dark_from=2)
    assert transgan("translate", model, path, "--corners", "--to", "old", "-o", "out", "--ending", ".mp4").code == 0
    with av.open("out/b.mp4") as container:
        assert container.metadata["comment"] == "corners translated"


def test_mistakes_are_one_line(transgan: Any, model: Path, write_clip: Callable[..., Path]) -> None:
    write_clip("a.mkv")
    words = ("translate", model, "a.mkv", "--to", "old", "-o", "out")
    assert "steadi" in transgan(*words, "--set", "clip.steadi=0.5").err
    assert "below 1" in transgan(*words, "--set", "clip.steady=1.5").err
    assert transgan(*words, "--set", "clip.codec=h999").err.startswith("error: a.mkv: there is no encoder 'h999'")
    Path("t.mp4").write_text("no clip")
    assert "t.mp4: no clip that can be read" in transgan("translate", model, "t.mp4", "--to", "old", "-o", "o2").err
    assert transgan(*words).code == 0
    assert "exist" in transgan(*words).error(2)


def test_a_folder_of_the_user_is_not_replaced(transgan: Any, model: Path, write_clip: Callable[..., Path]) -> None:
    write_clip("a.mkv")
    Path("out/a.frames").mkdir(parents=True)
    Path("out/a.frames/mine.txt").write_text("mine")
    done = transgan("translate", model, "a.mkv", "--to", "old", "-o", "out", "--ending", ".frames", "--overwrite")
    assert "a folder that holds mine.txt" in done.err
    assert Path("out/a.frames/mine.txt").read_text() == "mine"


def test_a_sequence_in_python_has_one_code(model: Path) -> None:
    from transgan.inference.translator import Translator

    translator = Translator.from_pretrained(model, "cpu")
    items = [frame(i) for i in range(3)]
    results = list(translator.translate_sequence(iter(items), to="old"))
    with torch.no_grad():
        expected = [translator(item, to="old") for item in items]
    assert [each.tobytes() for each in results] == [each.tobytes() for each in expected]


def test_the_rate_of_the_frames_is_that_of_the_clip(
    transgan: Any, model: Path, write_clip: Callable[..., Path]
) -> None:
    write_clip("a.mkv")
    assert transgan("translate", model, "a.mkv", "--to", "old", "-o", "out", "--ending", ".mp4").code == 0
    with av.open("out/a.mp4") as container:
        times = [each.pts * Fraction(each.time_base) for each in container.decode(video=0)]
    with av.open("out/a.mp4") as container:
        samples = sum(each.samples for each in container.decode(audio=0))
    assert times == [Fraction(i, 5) for i in range(4)]
    assert samples == 4 * 3200
