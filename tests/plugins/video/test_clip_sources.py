"""The source `clips`: files and folders of frames, parts of them as samples, and what is said of others."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transgan_video.sources import ClipPart, ClipSource, ClipSourceOptions

from transgan.api import DataError, UsageError


def frames_in(folder: Path, count: int, side: int = 16) -> Path:
    """Write frames whose grey level is their number, with names that sort wrongly as texts."""
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (side, side), (number, number, number)).save(folder / f"frame{number}.png")
    return folder


def gif_in(path: Path, count: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = [Image.fromarray(np.full((16, 16), 10 * number, np.uint8)) for number in range(count)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    return path


def keys(root: Path, selection: str, stride: int = 4) -> list[str]:
    return [sample.key for sample in ClipSource(ClipSourceOptions(stride=stride), root).samples("a", selection)]


def test_samples_are_parts_of_files_and_of_folders_of_frames(tmp_path: Path) -> None:
    frames_in(tmp_path / "a/walk", 12)
    gif_in(tmp_path / "a/deep/run.gif", 9)
    frames_in(tmp_path / "b/other", 30)
    assert keys(tmp_path, "a") == [
        *("deep/run-000000", "deep/run-000004"),
        *("walk-000000", "walk-000004", "walk-000008"),
    ]
    assert keys(tmp_path, "a", stride=100) == ["deep/run-000000", "walk-000000"]
    assert keys(tmp_path, "a/walk", stride=6) == ["walk-000000", "walk-000006"]
    assert keys(tmp_path, "a/deep/run.gif") == ["run-000000", "run-000004"]


def test_a_part_begins_where_it_says_and_is_a_path(tmp_path: Path) -> None:
    folder = frames_in(tmp_path / "walk", 12)
    part = ClipPart(folder, 8)
    assert Path(part) == folder and str(part) == f"{folder} (from frame 8)"
    assert [int(frame[0, 0, 0]) for frame in part.read(3, 1)] == [8, 9, 10]
    assert [int(frame[0, 0, 0]) for frame in part.read(2, 5)] == [6, 11]
    assert [int(frame[0, 0, 0]) for frame in ClipPart(folder, 0).read(12, 1)] == list(range(12))
    with pytest.raises(DataError, match="a sample is 13 frames long, and there are 12; remove the clip"):
        ClipPart(folder, 0).read(13, 1)


def test_what_is_no_clip_is_skipped_with_a_reason(tmp_path: Path) -> None:
    frames_in(tmp_path / "a/walk", 3)
    (tmp_path / "a/notes.txt").write_text("x")
    frames_in(tmp_path / "a/.hidden", 3)
    source = ClipSource(ClipSourceOptions(), tmp_path)
    assert [sample.key for sample in source.samples("a", "a")] == ["walk-000000"]
    assert source.skipped[tmp_path / "a/notes.txt"] == "ending in .txt"
    assert source.skipped[tmp_path / "a/.hidden"] == "hidden"


def test_stills_beside_clips_are_no_frames(tmp_path: Path) -> None:
    frames_in(tmp_path / "a", 3)
    frames_in(tmp_path / "a/walk", 3)
    gif_in(tmp_path / "a/run.gif", 3)
    source = ClipSource(ClipSourceOptions(), tmp_path)
    assert [sample.key for sample in source.samples("a", "a")] == ["run-000000", "walk-000000"]
    assert source.skipped[tmp_path / "a/frame0.png"].startswith("a picture beside clips")


def test_a_damaged_clip_is_a_sample_that_cannot_be_read(tmp_path: Path) -> None:
    frames_in(tmp_path / "a/walk", 3)
    (tmp_path / "a/bad.gif").write_bytes(b"GIF89a nothing")
    samples = ClipSource(ClipSourceOptions(), tmp_path).samples("a", "a")
    assert [sample.key for sample in samples] == ["bad-000000", "walk-000000"]
    with pytest.raises(DataError, match=r"bad\.gif"):
        samples[0].location.read(1, 1)


def test_wrong_selections(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    source = ClipSource(ClipSourceOptions(), tmp_path)
    with pytest.raises(DataError, match=r"\[domains\] a: there is no folder or file"):
        source.samples("a", "nowhere")
    with pytest.raises(DataError, match=r"\[domains\] a: no clip in .*found nothing; expected files ending in .mp4"):
        source.samples("a", "empty")
    with pytest.raises(UsageError, match="expected the path of a folder, or of a clip"):
        source.samples("a", 3)


def test_parts_of_an_encoded_file(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    levels = [20 * number for number in range(10)]
    with av.open(str(tmp_path / "walk.mp4"), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for level in levels:
            pixels = np.full((32, 32, 3), level, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    assert keys(tmp_path, ".", stride=5) == ["walk-000000", "walk-000005"]
    (_, part) = ClipSource(ClipSourceOptions(stride=5), tmp_path).samples("a", "walk.mp4")
    found = [float(frame.mean()) for frame in part.location.read(3, 2)]
    assert found == pytest.approx([levels[5], levels[7], levels[9]], abs=4)
