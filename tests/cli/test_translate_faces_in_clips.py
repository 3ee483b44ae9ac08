"""`transgan translate --faces` with clips: faces are followed, and the result says of itself what it is."""

import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transgan_faces.identities import IdentityFace
from transgan_faces.pasting import crop
from transgan_faces.region_detector import MARK
from transgan_faces.tracking import badge

from transgan.inference.regions import RegionSelection
from transgan.inference.translator import Translator
from transgan.inference.variation import PLAIN

av = pytest.importorskip("av", reason="PyAV is not installed")
cv2 = pytest.importorskip("cv2")
if not hasattr(cv2, "CascadeClassifier"):
    pytest.skip("this OpenCV comes without cascades", allow_module_level=True)

NOTE = "faces translated by TransGAN, synthetic"
LOSSLESS = ("--set", "clip.codec=ffv1")
# Without a margin, the face alone is pasted back, so that tests can say where a frame must not change.
FACES = ("--faces", "--set", "margin=0", *LOSSLESS)


def frame(t: int, face: bool = True) -> np.ndarray:
    """Return a face that moves to the right before a soft background, (240, 320, 3)."""
    small = Image.fromarray(np.random.default_rng(0).integers(60, 150, (12, 16, 3), dtype=np.uint8))
    image = np.array(small.resize((320, 240), Image.Resampling.BICUBIC))
    if face:
        drawn = IdentityFace(0, 9, 30.0, "White", (0.3, 0.2, 0.7, 0.5, 0.4, 0.5, 0.5, 0.6))
        image[40:180, 40 + 5 * t : 180 + 5 * t] = drawn(140)
    return image


@pytest.fixture
def clip() -> Path:
    """A lossless clip with sound and a comment: four frames with a face, and two without."""
    path = Path("anna.mkv")
    with av.open(str(path), "w") as container:
        container.metadata["comment"] = "my holidays"
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv444p"
        heard = container.add_stream("pcm_s16le", rate=16000)
        heard.layout = "mono"
        sound = av.AudioFrame.from_ndarray(np.arange(19200, dtype=np.int16)[None], "s16", "mono")
        sound.sample_rate, sound.pts, sound.time_base = 16000, 0, Fraction(1, 16000)
        for t in range(6):
            picture = av.VideoFrame.from_ndarray(frame(t, t < 4), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(heard.encode(sound))
        container.mux(stream.encode(None))
        container.mux(heard.encode(None))
    return path


def frames_of(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [each.to_ndarray(format="rgb24").astype(int) for each in container.decode(video=0)]


def comment_of(path: Path) -> str:
    with av.open(str(path)) as container:
        return {key.lower(): value for key, value in container.metadata.items()}.get("comment", "")


def sound_of(path: Path) -> bytes:
    with av.open(str(path)) as container:
        return b"".join(bytes(each) for each in container.demux(audio=0))


def differs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(one - other).max(-1) > 6)  # more than colours change as they are stored


def test_faces_change_and_every_frame_is_marked(transgan: Any, model: Path, clip: Path) -> None:
    done = transgan("translate", model, clip, *FACES, "--to", "old", "-o", "out")
    assert done.code == 0, done.err
    assert done.out == "1 of 1 translated (age: young -> old; 4 faces) into out\n"
    before, after = frames_of(clip), frames_of(Path("out/anna.mkv"))
    assert len(after) == 6
    marked = torch.from_numpy(before[5]).permute(2, 0, 1).float() / 127.5 - 1
    corner = differs(((badge(marked, MARK) + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(int), before[5])
    for t in range(6):
        changed = differs(after[t], before[t])
        assert changed[corner].mean() > 0.8
        changed[200:, 160:] = False  # the corner with the mark
        assert changed[40:180, 40 + 5 * t : 180 + 5 * t].any() == (t < 4)
        changed[30:190, 30 + 5 * t : 190 + 5 * t] = False
        assert not changed.any()
    assert comment_of(Path("out/anna.mkv")) == f"{NOTE}; my holidays"
    assert sound_of(Path("out/anna.mkv")) == sound_of(clip)


def test_the_mark_can_be_turned_off_and_the_note_cannot(transgan: Any, model: Path, clip: Path) -> None:
    done = transgan("translate", model, clip, *FACES, "--to", "old", "-o", "out", "--set", "mark=false")
    assert done.code == 0, done.err
    before, after = frames_of(clip), frames_of(Path("out/anna.mkv"))
    assert not differs(after[5], before[5]).any()
    assert not differs(after[0], before[0])[200:].any()
    assert comment_of(Path("out/anna.mkv")).startswith(NOTE)
    again = transgan("translate", model, "out/anna.mkv", *FACES, "--to", "old", "-o", "again")
    assert again.code == 0 and comment_of(Path("again/anna.mkv")) == f"{NOTE}; my holidays"  # said once


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".mov", ".avi"])
def test_every_format_with_metadata_has_the_note(transgan: Any, model: Path, clip: Path, ending: str) -> None:
    done = transgan("translate", model, clip, "--faces", "--to", "old", "-o", "out", "--ending", ending)
    assert done.code == 0, done.err
    assert comment_of(Path(f"out/anna{ending}")).startswith(NOTE)


def test_a_folder_of_frames_has_the_note_in_each_file(transgan: Any, model: Path, clip: Path) -> None:
    assert transgan("translate", model, clip, "--faces", "--to", "old", "-o", "out", "--ending", ".frames").code == 0
    for path in sorted(Path("out/anna.frames").iterdir()):
        with Image.open(path) as image:
            assert image.info["Comment"] == NOTE


def test_a_format_without_metadata_is_reported(transgan: Any, model: Path, clip: Path) -> None:
    done = transgan("translate", model, clip, "--faces", "--to", "old", "-o", "out", "--ending", ".gif")
    assert done.code == 0
    assert f"out/anna.gif: .gif files hold no comment; say beside it: {NOTE}" in done.err


def test_a_clip_that_is_translated_as_a_whole_has_no_note(transgan: Any, model: Path, clip: Path) -> None:
    assert transgan("translate", model, clip, "--to", "old", "-o", "out", *LOSSLESS).code == 0
    assert comment_of(Path("out/anna.mkv")) == "my holidays"


def test_without_detail_the_translation_itself_is_pasted(model: Path) -> None:
    translator = Translator.from_pretrained(model)
    direction = translator.choose(to="old")
    x = torch.from_numpy(frame(0)).permute(2, 0, 1).float() / 127.5 - 1
    results = {}
    for detail in ("true", "false"):
        selection = RegionSelection.named("faces", {"match": False}, settings=[f"detail={detail}"])
        regions = selection.of(x)
        (side,) = {region.sample.shape[-1] for region in regions}
        results[detail] = translator.translate_regions(x, selection, regions, direction)
    assert side > 64  # more than the 32 pixels that the model sees
    prepared = translator.prepare(regions[0].sample, direction, False, PLAIN)
    (y,) = translator.outputs([prepared], direction, translator.encode_attributes(direction), PLAIN)
    inputs, undo = prepared.rows, prepared.undo
    source, target = translator.sides(direction)
    translated = target.from_model(y, undo, "old")
    # The middle of the face is pasted with the weight 1; the crop and the paste interpolate.
    square = regions[0].place.square
    middle = slice(side // 2 - 8, side // 2 + 8)
    true, false = (crop(each, square)[:, middle, middle] for each in (results["true"], results["false"]))
    assert float((false - translated[:, middle, middle]).abs().mean()) < 0.02
    finer = regions[0].sample - source.from_model(inputs, undo, "young")
    assert np.corrcoef((true - false).numpy().ravel(), finer[:, middle, middle].numpy().ravel())[0, 1] > 0.8


def test_each_clip_begins_with_a_new_tracker(
    transgan: Any, model: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Squares of a clip are the same, whatever clip was translated before."""
    from transgan_faces.region_detector import TrackedFaces

    detect: Callable[..., Any] = TrackedFaces.detect
    seen: list[tuple[int, float]] = []

    def record(self: TrackedFaces, x: torch.Tensor, min_extent: float) -> Any:
        regions = detect(self, x, min_extent)
        seen.extend((region.place.track, region.place.square.x) for region in regions)
        return regions

    monkeypatch.setattr(TrackedFaces, "detect", record)
    shutil.copy(clip, "bert.mkv")
    assert transgan("translate", model, clip, "bert.mkv", *FACES, "--to", "old", "-o", "out").code == 0
    assert len(seen) == 8 and seen[:4] == seen[4:]
    assert {track for track, _ in seen} == {1}
    assert 6 < seen[3][1] - seen[0][1] < 24  # by 15 pixels to the right
