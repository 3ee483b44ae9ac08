"""The media `clip`: clips as batches, all frames augmented alike, and frames and clips as items, there and back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transgan_video.media import ClipMedia, ClipOptions
from transgan_video.sources import ClipPart

from transgan.api import Column, DataError, DiskError
from transgan.rng import CounterRng


def numbered(frames: int, side: int = 20, seed: int = 0) -> np.ndarray:
    """Return frames of noise, (frames, side, side, 3) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (frames, side, side, 3), dtype=np.uint8)


def rng(count: int) -> CounterRng:
    return CounterRng("clips", np.zeros(count, np.uint64), np.arange(count))


def folder_of(frames: np.ndarray, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return folder


@pytest.mark.parametrize(("options", "first", "expected"), [
    ({}, 2, [2, 3, 4]),
    ({"step": 3}, 1, [1, 4, 7]),
    ({"frames": 1}, 11, [11]),
    ({"frames": 4, "step": 2}, 8, [5, 7, 9, 11]),  # the last that there are
])  # fmt: skip
def test_a_sample_is_every_nth_frame_from_its_first_one_on(
    options: dict[str, int], first: int, expected: list[int], tmp_path: Path
) -> None:
    frames = numbered(12)
    media = ClipMedia(ClipOptions(**options), 20)
    decoded = media.decode(ClipPart(folder_of(frames, tmp_path / "clip"), first))
    np.testing.assert_array_equal(decoded, frames[expected])


def test_a_batch_has_the_frames_of_each_clip_on_an_axis_of_their_own() -> None:
    media = ClipMedia(ClipOptions(frames=3, flip=False), 20)
    decoded = np.stack([numbered(3, seed=1), numbered(3, seed=2)])
    x = media.batch(torch.from_numpy(decoded), None, ["a", "a"])
    assert x.shape == (2, media.channels, *media.space)
    np.testing.assert_allclose(x[1, :, 2].permute(1, 2, 0).numpy(), decoded[1, 2] / 127.5 - 1, atol=1e-6)


def test_all_frames_of_a_clip_are_mirrored_and_cropped_alike_and_clips_differently() -> None:
    media = ClipMedia(ClipOptions(frames=4, enlarge=1.5), 16)
    still = np.repeat(numbered(40, side=24)[:, None], 4, 1)  # 40 clips, each of 4 equal frames
    x = media.batch(torch.from_numpy(still), rng(40), ["a"] * 40)
    assert x.shape == (40, 3, 4, 16, 16)
    torch.testing.assert_close(x, x[:, :, :1].expand_as(x))
    places = set()
    for clip, frame in zip(x[:, :, 0], still[:, 0], strict=True):
        whole = torch.from_numpy(frame).permute(2, 0, 1).float() / 127.5 - 1
        places |= {
            (mirrored, top, left)
            for mirrored in (False, True)
            for top in range(9)
            for left in range(9)
            if torch.allclose(
                clip.flip(-1) if mirrored else clip, whole[:, top : top + 16, left : left + 16], atol=1e-6
            )
            or (mirrored and torch.allclose(clip, whole.flip(-1)[:, top : top + 16, left : left + 16], atol=1e-6))
        }
    assert len(places) > 20 and {mirrored for mirrored, _, _ in places} == {False, True}


@pytest.mark.parametrize("side", [20, 33])
def test_frames_and_clips_survive_the_way_through_a_model(side: int) -> None:
    """A model that changes nothing returns what was read, at native size bit by bit, one frame or several."""
    media = ClipMedia(ClipOptions(), 16)
    frames = numbered(5, side=side)
    for item in (frames, list(frames), [Image.fromarray(frame) for frame in frames]):
        x, undo = media.to_model(media.read(item), 4, True, "a")
        assert x.shape == (5, 3, -(-side // 4) * 4, -(-side // 4) * 4)
        back = media.export(media.from_model(x, undo, "a"))
        np.testing.assert_array_equal(np.stack([np.asarray(each) for each in back]), frames)
    for one in (frames[0], Image.fromarray(frames[0])):
        x, undo = media.to_model(media.read(one), 4, True, "a")
        assert x.shape[0] == 1
        np.testing.assert_array_equal(np.asarray(media.export(media.from_model(x, undo, "a"))), frames[0])


def test_clips_as_objects_come_back_as_they_were_given() -> None:
    media = ClipMedia(ClipOptions(), 16)
    frames = numbered(5, side=20)
    tensor = torch.from_numpy(frames).permute(3, 0, 1, 2)
    for clip in (frames, frames / 255, tensor, tensor.float() / 127.5 - 1, list(frames)):
        assert media.is_item(clip) and not media.is_item([clip, clip])
        x, undo = media.to_model(media.read(clip), 4, True, "a")
        back = media.export_like(media.from_model(x, undo, "a"), clip)
        assert type(back) is type(clip)
        if isinstance(clip, list):
            back, clip = np.stack(back), np.stack(clip)
        assert back.dtype == clip.dtype and back.shape == clip.shape
        assert float(abs(torch.as_tensor(back).double() - torch.as_tensor(clip).double()).max()) < 1e-5


def test_frames_one_by_one_give_what_the_clip_gives_at_once() -> None:
    media = ClipMedia(ClipOptions(), 16)
    frames = numbered(3, side=30)
    x, _ = media.to_model(media.read(frames), 4, False, "a")
    for number, frame in enumerate(frames):
        torch.testing.assert_close(media.to_model(media.read(frame), 4, False, "a")[0], x[number : number + 1])


def test_frames_of_several_sizes_and_files_of_several_frames_are_refused(tmp_path: Path) -> None:
    media = ClipMedia(ClipOptions(), 16)
    with pytest.raises(DataError, match="the frames of a clip differ in size"):
        media.to_model(media.read([numbered(1)[0], numbered(1, side=24)[0]]), 4, True, "a")
    with pytest.raises(DiskError, match="2 frames are no image file"):
        media.write(media.read(numbered(2)), tmp_path / "x.png")
    with pytest.raises(DataError, match="not a part of a clip; use a source of clips, such as 'clips'"):
        media.decode(tmp_path / "x.png")


def test_a_preview_has_the_frames_below_each_other(tmp_path: Path) -> None:
    media = ClipMedia(ClipOptions(), 16)
    clip = torch.rand(3, 3, 16, 16) * 2 - 1
    columns: dict[str, Any] = {name: Column("a", [clip, clip]) for name in ("source", "fake")}
    path = media.preview(columns, tmp_path / "sheet")
    with Image.open(path) as sheet:
        wide, high = sheet.size
    assert path.suffix == ".png" and high > 2 * wide  # two columns of six pictures
