"""Reading clips: frames upright, in order, at their times; what is damaged is kept as far as it goes, and reported."""

import re
import struct
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from transgan_video import streams
from transgan_video.reading import open_clip
from transgan_video.writing import ClipWriter

from transgan.api import DataError, DataWarning, PluginError

WriteClip = Callable[..., Path]


def corners(number: int = 0, width: int = 64, height: int = 48) -> np.ndarray:
    """Return a frame with a colour in each corner; the number changes its brightness."""
    pixels = np.full((height, width, 3), 20 + 10 * number, np.uint8)
    pixels[: height // 2, : width // 2] = [200, 0, 0]
    pixels[: height // 2, width // 2 :] = [0, 200, 0]
    pixels[height // 2 :, : width // 2] = [0, 0, 200]
    return pixels


def test_frames_have_their_pixels_times_and_durations(write_clip: WriteClip) -> None:
    written = [corners(i) for i in range(6)]
    clip = open_clip(write_clip("a.mp4", written, pixel_format="yuv444p"))
    assert (clip.size, clip.rate, clip.count, clip.has_sound, clip.has_alpha) == ((64, 48), 10, 6, False, False)
    frames = list(clip.frames())
    assert [frame.time for frame in frames] == [Fraction(i, 10) for i in range(6)]
    assert {frame.duration for frame in frames} == {Fraction(1, 10)}
    for frame, expected in zip(frames, written, strict=True):
        assert frame.pixels.dtype == np.uint8
        assert np.abs(frame.pixels.astype(int) - expected).mean() < 4
    again = list(clip.frames(2, 3))
    assert [frame.time for frame in again] == [Fraction(i, 10) for i in (2, 3, 4)]
    assert np.array_equal(again[0].pixels, frames[2].pixels)


def test_a_variable_rate_is_kept(write_clip: WriteClip) -> None:
    times = [0, 7, 9, 40, 41, 90]
    path = write_clip("a.mp4", [corners(i) for i in range(6)], times=times, time_base=Fraction(1, 100))
    frames = list(open_clip(path).frames())
    assert [frame.time for frame in frames] == [Fraction(each, 100) for each in times]
    assert [frame.duration for frame in frames[:-1]] == [Fraction(each, 100) for each in (7, 2, 31, 1, 49)]
    assert frames[-1].duration > 0


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_frames_are_upright(write_clip: WriteClip, quarters: int, mirrored: bool) -> None:
    def turn(stream: Any) -> None:
        if not hasattr(stream, "set_display_rotation"):
            pytest.skip("this version of PyAV writes no display matrix")
        stream.sample_aspect_ratio = Fraction(4, 3)
        stream.set_display_rotation(90 * quarters, hflip=mirrored)

    clip = open_clip(write_clip("a.mp4", [corners()], pixel_format="yuv444p", stream=turn))
    (frame,) = clip.frames()
    with av.open(str(clip.path)) as container:
        (raw,) = container.decode(video=0)
        found = raw.side_data.get("DISPLAYMATRIX")
        matrix = [1, 0, 0, 0, 1, 0, 0, 0, 1] if found is None else np.frombuffer(bytes(found), np.int32)
    # As ISO 14496-12, 6.2.2 says: (x, y) is shown at (ax + cy, bx + dy), here about the middle of the frame.
    a, b, c, d = (int(np.sign(matrix[i])) for i in (0, 1, 3, 4))
    stored = corners()
    height, width = stored.shape[:2]
    shown = np.zeros((width, height, 3) if a == 0 else stored.shape, np.uint8)
    for y in range(height):
        for x in range(width):
            u, v = 2 * x - width + 1, 2 * y - height + 1
            column, row = (a * u + c * v + shown.shape[1] - 1) // 2, (b * u + d * v + shown.shape[0] - 1) // 2
            shown[row, column] = stored[y, x]
    assert clip.size == (shown.shape[1], shown.shape[0])
    assert clip.pixel_aspect == (Fraction(3, 4) if a == 0 else Fraction(4, 3))
    assert np.abs(frame.pixels.astype(int) - shown).mean() < 4
    if not mirrored:
        assert np.array_equal(shown, np.rot90(stored, quarters))


@pytest.mark.parametrize(
    ("name", "codec", "size"),
    [("a.webm", "libvpx-vp9", (33, 21)), ("a.mkv", "ffv1", (33, 21)), ("a.mov", "libx264", (34, 22)),
     ("a.avi", "mpeg4", (33, 21))],
)  # fmt: skip
def test_other_containers_and_odd_sizes(write_clip: WriteClip, name: str, codec: str, size: tuple[int, int]) -> None:
    written = [corners(i, *size) for i in range(4)]
    clip = open_clip(write_clip(name, written, codec))
    frames = list(clip.frames())
    assert clip.size == size
    assert len(frames) == 4
    assert np.abs(frames[3].pixels.astype(int) - written[3]).mean() < 12  # colour is stored at half the size


def test_one_frame_is_a_clip(write_clip: WriteClip) -> None:
    (frame,) = open_clip(write_clip("a.mp4", [corners()])).frames()
    assert (frame.time, frame.duration) == (0, Fraction(1, 10))


def test_colours_are_those_of_the_matrix_and_range_that_a_file_states(write_clip: WriteClip) -> None:
    def state(stream: Any) -> None:
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 2, 1, 1, 1

    flat = np.full((48, 64, 3), 100, np.uint8)
    path = write_clip("a.mkv", [flat], "ffv1", "yuv444p", stream=state)
    with av.open(str(path)) as container:
        (raw,) = container.decode(video=0)
        y, u, v = (np.frombuffer(bytes(plane), np.uint8)[0].astype(float) for plane in raw.planes)
    clip = open_clip(path)
    assert (clip.colours.range, clip.colours.matrix) == (2, 1)
    red = y + 2 * (1 - 0.2126) * (v - 128)  # ITU-R BT.709, full range
    blue = y + 2 * (1 - 0.0722) * (u - 128)
    green = (y - 0.2126 * red - 0.0722 * blue) / 0.7152
    (frame,) = clip.frames()
    assert np.abs(frame.pixels[0, 0] - np.array([red, green, blue])).max() <= 1


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_animated_pictures_have_times_and_opacity(tmp_path: Path, name: str) -> None:
    images = []
    for i in range(3):
        image = Image.new("RGBA", (20, 14), (0, 0, 0, 0))
        image.paste((250, 0, 0, 255), (2 + 4 * i, 2, 6 + 4 * i, 8))
        images.append(image)
    options = {"disposal": 2} if name == "a.gif" else {}
    images[0].save(tmp_path / name, save_all=True, append_images=images[1:], duration=[100, 200, 50], loop=0, **options)
    clip = open_clip(tmp_path / name)
    frames = list(clip.frames())
    assert (clip.size, clip.count, clip.loops) == ((20, 14), 3, 0)
    assert [frame.time for frame in frames] == [0, Fraction(1, 10), Fraction(3, 10)]
    assert frames[-1].duration == Fraction(1, 20)
    if name == "a.webp":  # which Pillow writes without opacity, and with losses
        return
    assert clip.has_alpha
    for frame, image in zip(frames, images, strict=True):
        assert np.array_equal(frame.pixels[..., 3], np.asarray(image)[..., 3])
        assert np.array_equal(frame.pixels[frame.pixels[..., 3] > 0], [[250, 0, 0, 255]] * 24)


def with_hole() -> np.ndarray:
    """Return a frame (H, W, 4) with a hole."""
    pixels = np.concatenate([corners(), np.full((48, 64, 1), 255, np.uint8)], 2)
    pixels[16:32, 16:48, 3] = 0
    return pixels


@pytest.mark.parametrize(
    ("name", "codec"), [("a.webm", "libvpx-vp9"), ("a.webm", "libvpx"), ("a.mkv", "libvpx-vp9"), ("a.mkv", "ffv1")]
)
def test_opacity_is_read_and_reported_where_it_is_lost(
    write_clip: WriteClip, tmp_path: Path, name: str, codec: str
) -> None:
    def hold(stream: Any) -> None:
        stream.options = {"auto-alt-ref": "0"} if "vpx" in codec else {}  # which libvpx demands for opacity

    clip = open_clip(write_clip(name, [with_hole()] * 4, codec, "yuva420p", stream=hold))
    assert clip.has_alpha
    for frame in clip.frames():
        assert np.abs(frame.pixels[..., 3].astype(int) - with_hole()[..., 3]).mean() < 4
    with (
        pytest.warns(DataWarning, match="hold no opacity; frames are put on white"),
        ClipWriter(tmp_path / "b.mp4") as to,
    ):
        for frame in clip.frames():
            to.write(frame)


def test_opacity_that_cannot_be_read_is_reported(write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip("a.webm", [with_hole()] * 4, "libvpx-vp9", "yuva420p")
    monkeypatch.setattr(streams, "_context_with_opacity", lambda stream: None)  # as where FFmpeg has no libvpx
    with pytest.warns(DataWarning, match="its opacity cannot be read here; frames are opaque") as warned:
        assert not open_clip(path).has_alpha
    assert len(warned) == 1


def test_a_folder_of_frames_has_the_natural_order(tmp_path: Path) -> None:
    for number in (1, 2, 10, 9):
        Image.new("RGB", (8, 6), (number, 0, 0)).save(tmp_path / f"f{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    clip = open_clip(tmp_path, rate=Fraction(30000, 1001))
    frames = list(clip.frames())
    assert [frame.pixels[0, 0, 0] for frame in frames] == [1, 2, 9, 10]
    assert frames[3].time == Fraction(3 * 1001, 30000)
    Image.new("RGB", (9, 6)).save(tmp_path / "f11.png")
    with pytest.raises(DataError, match=r"f11\.png: 9 x 6 pixels, and the first frame of its folder has 8 x 6"):
        list(open_clip(tmp_path).frames())


@pytest.mark.parametrize("share", [0.5, 0.8])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_what_a_broken_file_holds_is_kept(write_clip: WriteClip, name: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    options = {"movflags": "faststart"} if name == "a.mp4" else None
    path = write_clip(name, list(noise), options=options)
    whole = [frame.pixels for frame in open_clip(path).frames()]
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.warns(DataWarning, match="read as far as it can be, up to frame") as warned:
        kept = [frame.pixels for frame in open_clip(path).frames()]
    assert len(warned) == 1
    assert 40 * share * 0.5 < len(kept) < 40
    assert np.array_equal(kept[5], whole[5])


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "libx264"), ("a.webm", "libvpx-vp9"), ("a.mp4", "libx264")])
def test_a_whole_file_that_begins_late_is_not_called_broken(
    write_clip: WriteClip, recwarn: Any, name: str, codec: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8)
    path = write_clip(name, list(noise), codec, times=range(40, 60))
    assert [frame.time for frame in open_clip(path).frames()] == [Fraction(i, 10) for i in range(40, 60)]
    assert not recwarn.list
    data = path.read_bytes()
    if name != "a.mp4":  # which has its index at its end
        path.write_bytes(data[: len(data) * 2 // 3])
        with pytest.warns(DataWarning, match="its end is missing"):
            assert 0 < len(list(open_clip(path).frames())) < 20


@pytest.mark.parametrize("share", [0.3, 0.45, 0.6, 0.75, 0.9])
@pytest.mark.parametrize(
    ("name", "codec", "sound"),
    [("a.mp4", "libx264", "aac"), ("a.mov", "libx264", ""), ("a.avi", "mpeg4", "pcm_s16le"), ("a.avi", "mjpeg", "")],
)
def test_a_file_that_is_cut_says_so(
    write_clip: WriteClip, recwarn: Any, name: str, codec: str, sound: str, share: float
) -> None:
    def often(stream: Any) -> None:
        stream.codec_context.gop_size = 5
        stream.codec_context.color_range = 2

    parts = None if name == "a.avi" else {"movflags": "frag_keyframe+empty_moov"}  # each with an index of its own
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    path = write_clip(name, list(noise), codec, sound=sound, stream=often, options=parts)
    assert len(list(open_clip(path).frames())) == 40
    assert not recwarn.list
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.warns(DataWarning, match="read as far as it can be") as warned:
        assert 0 < len(list(open_clip(path).frames())) < 40
    assert len(warned) == 1


@pytest.mark.parametrize("kept", [4, 6, 0.1, 0.5, 0.9, 1.0])  # bytes, inside of the box's name; and parts of the box
@pytest.mark.parametrize("part", [1, 4, 7])
def test_a_file_that_is_cut_inside_of_what_describes_a_part_keeps_the_parts_before(
    write_clip: WriteClip, part: int, kept: float
) -> None:
    def often(stream: Any) -> None:
        stream.codec_context.gop_size = 5

    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 64, 3), dtype=np.uint8)
    options = {"movflags": "frag_keyframe+empty_moov"}
    path = write_clip("a.mp4", list(noise), sound="aac", stream=often, options=options)
    data = path.read_bytes()
    place = [each.start() - 4 for each in re.finditer(b"moof", data)][part]
    path.write_bytes(data[:place])
    before = [frame.pixels for frame in open_clip(path).frames()]
    length = int.from_bytes(data[place : place + 4], "big")
    path.write_bytes(data[: place + (kept if isinstance(kept, int) else int(kept * length))])
    with pytest.warns(DataWarning, match="its end is missing"):
        clip = open_clip(path)
        found = [frame.pixels for frame in clip.frames()]
    assert clip.has_sound
    assert len(found) == len(before) > 0
    assert all(map(np.array_equal, found, before))


def test_a_frame_that_cannot_be_decoded_loses_no_other(write_clip: WriteClip) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8)
    path = write_clip("a.mov", list(noise), "png", "rgb24")
    data = bytearray(path.read_bytes())
    header = data.index(b"IHDR", len(data) // 2)
    data[header : header + 17] = bytes(17)
    path.write_bytes(data)
    with pytest.warns(DataWarning, match="a damaged frame; it is read as far as it can be"):
        kept = [frame.pixels for frame in open_clip(path).frames()]
    assert len(kept) == 19
    assert all(any(np.array_equal(frame, expected) for expected in noise) for frame in kept)


def test_bad_files_are_one_line(write_clip: WriteClip, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no clip at all\n" * 50)
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.gif").write_text("no picture")
    (tmp_path / "empty").mkdir()
    whole = write_clip("a.mp4")
    (tmp_path / "headless.mp4").write_bytes(whole.read_bytes()[:600])
    data = whole.read_bytes()
    described = data.index(b"stsd") - 4  # the table of codecs, in the index at the end of the file
    (tmp_path / "index.mp4").write_bytes(data[:described])
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    expected = {
        "text.mp4": "no clip that can be read",
        "list.mp4": "no clip that can be read",
        "empty.mp4": "an empty file",
        "text.gif": "no picture that can be read",
        "empty": "no frames in it",
        "headless.mp4": "no clip that can be read",
        "index.mp4": "the file ends inside of its index, so it is not complete",
        "sound.mp4": "holds no frames; its streams: audio",
        "missing.mp4": "no such file",
    }
    for name, words in expected.items():
        with pytest.raises(DataError, match=words) as error:
            open_clip(tmp_path / name)
        assert "\n" not in str(error.value)
        assert str(tmp_path / name) in str(error.value)


def test_huge_frames_are_refused_before_they_are_decoded(write_clip: WriteClip, tmp_path: Path) -> None:
    path = write_clip("a.mp4")
    with pytest.raises(DataError, match=r"64 x 48 pixels, more than max_pixels = 3,000"):
        open_clip(path, max_pixels=3000)
    images = [Image.new("RGB", (20, 14), (i, 0, 0)) for i in range(2)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:])
    data = bytearray((tmp_path / "a.gif").read_bytes())
    data[6:10] = struct.pack("<HH", 65535, 65535)
    (tmp_path / "a.gif").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.gif") as error:
        open_clip(tmp_path / "a.gif")
    assert "\n" not in str(error.value)


def test_a_codec_that_is_missing_is_named(write_clip: WriteClip) -> None:
    path = write_clip("a.mp4")
    data = bytearray(path.read_bytes())
    place = data.index(b"avc1", data.index(b"stsd"))
    data[place : place + 4] = b"zz9v"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"its codec .* cannot be decoded here"):
        open_clip(path)


def test_without_pyav_the_command_to_install_it_is_named(
    write_clip: WriteClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip("a.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(PluginError, match=r'pip install "transgan\[video\]"'):
        open_clip(path)
