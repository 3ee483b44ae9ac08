"""Writing clips: times, sizes, colours, sound and metadata are those of the source; an error leaves nothing behind."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from transgan_video.clips import Clip, Frame
from transgan_video.reading import open_clip
from transgan_video.writing import ClipWriter

from transgan.api import DataError, DataWarning, DiskError, UsageError

WriteClip = Callable[..., Path]


def copy(clip: Clip, path: Path, **options: Any) -> Clip:
    with ClipWriter(path, clip, **options) as writer:
        for frame in clip.frames():
            writer.write(frame)
    return open_clip(path)


@pytest.mark.parametrize("name", ["b.mp4", "b.mov", "b.mkv"])
def test_sound_is_copied_packet_by_packet(
    write_clip: WriteClip, stored: Callable[[Path], Any], tmp_path: Path, name: str
) -> None:
    source = write_clip("a.mp4", sound="aac")
    clip = copy(open_clip(source), tmp_path / name)
    before, after = stored(source), stored(tmp_path / name)
    assert clip.has_sound
    assert after.packets == before.packets
    assert after.sound_start == before.sound_start == 0
    gaps = [a - b for a, b in zip(after.times, before.times, strict=True)]
    if name == "b.mkv":  # which has no times below 0: what AAC needs before its start (1,024 samples) comes at 0
        assert after.sound_samples == before.sound_samples + 1024
        assert all(abs(each - Fraction(1024, 16000)) <= Fraction(1, 1000) for each in gaps)
    else:
        assert after.sound_samples == before.sound_samples
        assert set(gaps) == {0}


def test_other_sound_is_encoded_again_and_reported(
    write_clip: WriteClip, stored: Callable[[Path], Any], tmp_path: Path
) -> None:
    source = write_clip("a.mp4", sound="aac")
    with pytest.warns(DataWarning, match=r"encoded again: aac as opus") as warned:
        copy(open_clip(source), tmp_path / "b.webm")
    assert len(warned) == 1
    before, after = stored(source), stored(tmp_path / "b.webm")
    assert after.sound_codec == "opus"
    # 16 kHz become 48 kHz; Opus has frames of 20 ms
    assert abs(after.sound_samples - 3 * before.sound_samples) <= 2 * 960


def test_sound_can_be_omitted(write_clip: WriteClip, tmp_path: Path) -> None:
    assert not copy(open_clip(write_clip("a.mp4", sound="aac")), tmp_path / "b.mp4", sound=False).has_sound


def test_times_of_a_variable_rate_are_kept(write_clip: WriteClip, tmp_path: Path) -> None:
    times = [0, 7, 9, 40, 45, 90]
    frames = [np.full((48, 64, 3), 40 * i, np.uint8) for i in range(6)]
    source = write_clip("a.mp4", frames, times=times, time_base=Fraction(1, 100))
    for name in ("b.mp4", "b.webm", "b.mkv", "b.mov", "b.gif"):
        clip = copy(open_clip(source), tmp_path / name)
        assert [frame.time for frame in clip.frames()] == [Fraction(each, 100) for each in times]


@pytest.mark.parametrize("matrix", [1, 6, 2])
@pytest.mark.parametrize("full", [1, 2])
@pytest.mark.parametrize("name", ["b.mp4", "b.webm"])
def test_colours_do_not_shift(write_clip: WriteClip, tmp_path: Path, matrix: int, full: int, name: str) -> None:
    def state(stream: Any) -> None:
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = full, matrix, 1, 1

    rng = np.random.default_rng(0)
    flat = [np.broadcast_to(rng.integers(30, 226, 3).astype(np.uint8), (48, 64, 3)).copy() for _ in range(6)]
    clip = open_clip(write_clip("a.mp4", flat, pixel_format="yuv444p", stream=state))
    result = copy(clip, tmp_path / name)
    assert result.colours == clip.colours
    assert result.pixel_format.replace("yuvj", "yuv") == clip.pixel_format.replace("yuvj", "yuv")
    for one, two in zip(clip.frames(), result.frames(), strict=True):
        assert np.abs(one.pixels.mean((0, 1)) - two.pixels.mean((0, 1))).max() < 1


def test_sizes_aspects_and_metadata_are_kept(write_clip: WriteClip, tmp_path: Path) -> None:
    def stretch(stream: Any) -> None:
        stream.sample_aspect_ratio = Fraction(16, 11)

    source = write_clip("a.mp4", stream=stretch, metadata={"title": "A clip", "comment": "of a test"})
    clip = copy(open_clip(source), tmp_path / "b.mp4", metadata={"comment": "changed", "made_with": "a model"})
    assert clip.pixel_aspect == Fraction(16, 11)
    with av.open(str(clip.path)) as container:
        found = {key: container.metadata.get(key) for key in ("title", "comment", "made_with")}
    assert found == {"title": "A clip", "comment": "changed", "made_with": "a model"}


@pytest.mark.parametrize("name", ["b.mp4", "b.webm", "b.avi", "b.mkv"])
def test_odd_sizes_are_kept(write_clip: WriteClip, tmp_path: Path, name: str, recwarn: Any) -> None:
    frames = [np.full((21, 33, 3), 30 * i, np.uint8) for i in range(4)]
    clip = copy(open_clip(write_clip("a.webm", frames, "libvpx-vp9")), tmp_path / name)
    assert clip.size == (33, 21)
    assert len(list(clip.frames())) == 4
    assert len(recwarn) == (1 if name in ("b.mp4", "b.mkv") else 0)


@pytest.mark.parametrize("step", [1, 2])  # frames that are cut to an opaque rectangle begin at even places
def test_opacity_of_animated_pictures_is_kept(tmp_path: Path, step: int) -> None:
    pixels = np.zeros((14, 20, 4), np.uint8)
    pixels[2:8, 4:12] = [250, 10, 10, 255]
    frames = [Frame(np.roll(pixels, step * i, 1), Fraction(i, 10), Fraction(1, 10)) for i in range(4)]
    for name in ("a.gif", "a.webp", "a.png"):
        with ClipWriter(tmp_path / name, rate=10) as writer:
            for frame in frames:
                writer.write(frame)
        clip = open_clip(tmp_path / name)
        assert (clip.count, clip.size) == (4, (20, 14))
        for frame, expected in zip(clip.frames(), frames, strict=True):
            assert (frame.time, frame.duration) == (expected.time, expected.duration)
            assert np.array_equal(frame.pixels[..., 3], expected.pixels[..., 3])
    with pytest.warns(DataWarning, match="hold no opacity; frames are put on white"):
        clip = copy(open_clip(tmp_path / "a.png"), tmp_path / "b.mp4")
    assert (next(clip.frames()).pixels[0, 0] > 245).all()


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_opacity_that_nothing_uses_is_no_loss(tmp_path: Path, name: str, recwarn: pytest.WarningsRecorder) -> None:
    """Every GIF file has a fourth channel; only a frame that is seen through loses something."""
    pixels = np.full((5, 14, 20, 4), 255, np.uint8)
    pixels[..., 0] = np.arange(0, 100, 20)[:, None, None]
    first = Image.fromarray(pixels[0])
    images = [Image.fromarray(each) for each in pixels[1:]]
    first.save(tmp_path / name, save_all=True, append_images=images, duration=100, lossless=True)
    copy(open_clip(tmp_path / name), tmp_path / "opaque.mp4")
    assert not [str(each.message) for each in recwarn]
    pixels[3, 0, 0, 3] = 0
    with (
        pytest.warns(DataWarning, match="hold no opacity; frames are put on white") as warned,
        ClipWriter(tmp_path / "b.mp4", rate=10) as writer,
    ):
        for i, each in enumerate(pixels):
            assert len(warned) == (i > 3), "said of the first frame that is not opaque, once"
            writer.write(Frame(each, Fraction(i, 10), Fraction(1, 10)))
    assert len(warned) == 1


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_opacity_around_a_steady_rectangle_is_kept(tmp_path: Path, name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 24, 32, 4), dtype=np.uint8)
    pixels[..., 3] = 0
    pixels[:, 12:, :, 3] = 255  # a band is transparent throughout, the rest opaque
    with ClipWriter(tmp_path / name, rate=10) as writer:
        for i, each in enumerate(pixels):
            writer.write(Frame(each, Fraction(i, 10), Fraction(1, 10)))
    clip = open_clip(tmp_path / name)
    assert clip.has_alpha
    for frame, expected in zip(clip.frames(), pixels, strict=True):
        assert np.array_equal(frame.pixels[..., 3], expected[..., 3])
    with Image.open(tmp_path / name) as other:
        assert other.convert("RGBA").getpixel((0, 0))[3] == 0  # type: ignore[index]


def test_loops_are_kept(tmp_path: Path) -> None:
    images = [Image.new("RGB", (8, 8), (80 * i, 0, 0)) for i in range(3)]
    for loop in (None, 0, 3):
        options = {} if loop is None else {"loop": loop}
        images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=100, **options)
        clip = open_clip(tmp_path / "a.gif")
        assert copy(clip, tmp_path / "b.gif").loops == clip.loops == (1 if loop is None else loop)


def test_a_folder_of_frames_is_numbered(write_clip: WriteClip, tmp_path: Path) -> None:
    with pytest.warns(DataWarning, match="holds no sound"):
        clip = copy(open_clip(write_clip("a.mp4", sound="aac")), tmp_path / "b.frames")
    assert sorted(each.name for each in clip.path.iterdir()) == [f"{i + 1:06}.png" for i in range(10)]
    assert len(list(clip.frames())) == 10


def failing(clip: Clip) -> Iterator[Frame]:
    for number, frame in enumerate(clip.frames()):
        if number == 3:
            raise ValueError("a frame that fails")
        yield frame


@pytest.mark.parametrize("name", ["b.mp4", "b.webm", "b.gif", "b.frames"])
def test_an_error_leaves_what_stood_there(write_clip: WriteClip, tmp_path: Path, name: str) -> None:
    clip, path = open_clip(write_clip("a.mp4")), tmp_path / "out" / name
    path.parent.mkdir()
    if name == "b.frames":
        path.mkdir()
        path = path / "000001.png"
    path.write_bytes(b"the user's")
    with pytest.raises(ValueError, match="a frame that fails"), ClipWriter(tmp_path / "out" / name, clip) as writer:
        for frame in failing(clip):
            writer.write(frame)
    assert path.read_bytes() == b"the user's"
    assert [each.name for each in (tmp_path / "out").iterdir()] == [name]


def test_what_cannot_be_written_is_one_line(write_clip: WriteClip, tmp_path: Path) -> None:
    clip = open_clip(write_clip("a.mp4"))
    with pytest.raises(UsageError, match=r"expected a suffix of \.mp4"):
        ClipWriter(tmp_path / "b.xyz", clip)
    with pytest.raises(UsageError, match="there is no encoder 'h999'"):
        ClipWriter(tmp_path / "b.mp4", clip, codec="h999")
    with pytest.raises(UsageError, match="folder of frames holds PNG files, which have no codec and no quality"):
        ClipWriter(tmp_path / "b.frames", clip, codec="ffv1", quality=3)
    with pytest.raises(DataError, match="no frame was written"), ClipWriter(tmp_path / "b.mp4", clip):
        pass
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match="cannot"):
        copy(clip, tmp_path / "file" / "b.mp4")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.mp4", "file"]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("b.mp4", "prores_ks"), ("b.mp4", "aac"), ("b.mp4", "rawvideo"), ("b.mov", "rawvideo"), ("b.mp4", "gif"),
     ("b.mkv", "png"), ("b.webm", "libx264"), ("b.gif", "libx264"), ("b.webp", "png")],
)  # fmt: skip
def test_an_encoder_that_does_not_fit_is_refused_before_the_first_frame(tmp_path: Path, name: str, codec: str) -> None:
    with pytest.raises(UsageError, match=rf"^\{name[1:]} files cannot be written with '{codec}'; ") as error:
        ClipWriter(tmp_path / name, codec=codec)
    proposed = str(error.value).split(" can be with ")[1].split(", ")
    for each in proposed:  # and PyAV reads what they write
        with ClipWriter(tmp_path / name, codec=each) as writer:
            for number in range(3):
                writer.write(Frame(np.full((48, 64, 3), 80 * number, np.uint8), Fraction(number, 25), Fraction(1, 25)))
        if name != "b.webp":
            with av.open(str(tmp_path / name)) as container:
                assert len(list(container.decode(video=0))) == 3


def test_a_quality_that_an_encoder_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"libvpx-vp9 does not take a quality \(CRF\) of 200; one is 24"):
        ClipWriter(tmp_path / "b.webm", quality=200)


@pytest.mark.parametrize(
    ("name", "codec"), [("b.mp4", "libx265"), ("b.mov", "prores_ks"), ("b.mkv", "ffv1"), ("b.mp4", "libvpx-vp9")]
)
def test_other_encoders_write(
    write_clip: WriteClip, stored: Callable[[Path], Any], tmp_path: Path, name: str, codec: str, capfd: Any
) -> None:
    copy(open_clip(write_clip("a.mp4")), tmp_path / name, codec=codec)
    assert len(stored(tmp_path / name).times) == 10
    assert capfd.readouterr() == ("", "")
