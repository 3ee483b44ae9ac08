"""`transgan faces extract`: faces of photographs and clips as pictures to train on."""

import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from transgan_faces.extraction import SHARP, Extraction, find_items, run, sharpness
from transgan_faces.identities import IdentityFace
from transgan_images.decoding import ReadingOptions

from transgan.api import DataError, DiskError, TransganError, UsageError

Place = tuple[int, int, int]

cv2 = pytest.importorskip("cv2")
if not hasattr(cv2, "CascadeClassifier"):
    pytest.skip("this OpenCV comes without cascades", allow_module_level=True)


@pytest.fixture(autouse=True)
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "cache"))


def drawn(person: int, mouth: float = 0.2, yaw: float = 0.5) -> IdentityFace:
    return IdentityFace(0, person, 30.0, "White", (0.3, mouth, 0.7, 0.5, 0.4, yaw, 0.5, 0.6))


def picture(*faces: tuple[IdentityFace, Place], blur: float = 0.0) -> np.ndarray:
    """Return faces, each with left, top and side, before a soft background: RGB uint8 (240, 320, 3)."""
    small = Image.fromarray(np.random.default_rng(0).integers(60, 150, (12, 16, 3), dtype=np.uint8))
    image = np.array(small.resize((320, 240), Image.Resampling.BICUBIC))
    for face, (left, top, side) in faces:
        image[top : top + side, left : left + side] = face(side)
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(blur)) if blur else image)


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def write_clip(path: Path, frames: list[np.ndarray]) -> Path:
    pytest.importorskip("av")
    from transgan_video.clips import Frame
    from transgan_video.writing import ClipWriter

    with ClipWriter(path, rate=12) as writer:
        for t, pixels in enumerate(frames):
            writer.write(Frame(pixels, Fraction(t, 12), Fraction(1, 12)))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


ANNA, BERT = drawn(9), drawn(26)


def test_faces_of_photographs_are_cropped_upright_and_named_after_their_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "in/trip/one.png", picture((ANNA, (60, 40, 140))))
    write(tmp_path / "in/two.png", picture((BERT, (20, 60, 110)), (ANNA, (170, 40, 140))))
    for name in ("three.heic", "trip/four.HEIC", "five.pgm"):
        (tmp_path / "in" / name).write_bytes(b"x")
    run([tmp_path / "in"], tmp_path / "out", Extraction(which="all"))
    assert names(tmp_path / "out") == ["trip-one.png", "two-2.png", "two.png"]
    printed = capsys.readouterr()
    assert f"note: skipped files of {tmp_path / 'in'}: .heic: 2, .pgm: 1\n" in printed.err
    out = printed.out.splitlines()
    assert out[-2] == f"2 pictures, 3 faces: 3 written into {tmp_path / 'out'}"
    assert out[-1] == f"contact sheet {tmp_path / 'out-sheet.png'}"
    with Image.open(tmp_path / "out/trip-one.png") as image:
        # The drawn picture has a margin of 0.15 around the crop.
        side, pixels = image.width, np.asarray(image.convert("RGB"), dtype=float)
    assert side == image.height == pytest.approx(140 / 1.3, rel=0.2)
    start = round((140 - side) / 2)
    true = ANNA(140)[start : start + side, start : start + side].astype(float)
    assert np.corrcoef(pixels.ravel(), true.ravel())[0, 1] > 0.7


def test_by_default_the_largest_face_alone_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "two.png", picture((BERT, (20, 60, 110)), (ANNA, (170, 40, 140))))
    run([file], tmp_path / "out", Extraction(size=64, ending="jpg"))
    assert names(tmp_path / "out") == ["two.jpg"]
    assert "2 faces: 1 written" in (out := capsys.readouterr().out) and "1 of other faces" in out
    with Image.open(tmp_path / "out/two.jpg") as image:
        assert image.size == (64, 64) and image.format == "JPEG"
        hair = np.asarray(image.convert("RGB"), dtype=float)[:8, 24:40].mean((0, 1))
    assert hair[0] > 1.25 * hair[2]  # Anna's, who is fair


def test_small_blurred_and_equal_faces_are_omitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "in/a.png", picture((ANNA, (60, 40, 140))))
    write(tmp_path / "in/b_same.png", picture((ANNA, (60, 40, 140))).clip(0, 251) + 4)
    write(tmp_path / "in/c_small.png", picture((BERT, (60, 40, 70))))
    write(tmp_path / "in/d_blurred.png", picture((BERT, (60, 40, 140)), blur=4))
    chosen = Extraction(min_size=80)
    run([tmp_path / "in"], tmp_path / "out", chosen)
    assert names(tmp_path / "out") == ["a.png"]
    out = capsys.readouterr().out
    assert all(f"1 {reason}" in out for reason in ("too small", "blurred", "like one before"))
    run([tmp_path / "in"], tmp_path / "all", Extraction(min_size=8, min_sharpness=0, min_difference=0))
    assert len(names(tmp_path / "all")) == 4


def test_sharpness_falls_with_blur_and_depends_on_neither_contrast_nor_size() -> None:
    face = Image.fromarray(ANNA(200))

    def of(image: Image.Image) -> float:
        return sharpness(torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 127.5 - 1)

    blurred = [of(face.filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 1, 2, 4, 8)]
    assert all(sharp > 1.1 * less for sharp, less in pairwise(blurred))
    assert blurred[0] > SHARP > blurred[-1]
    flat = Image.fromarray((np.asarray(face, dtype=float) * 0.3 + 90).round().astype(np.uint8))
    assert of(flat) == pytest.approx(blurred[0], rel=0.1)
    assert of(face.resize((400, 400), Image.Resampling.BICUBIC)) == pytest.approx(blurred[0], rel=0.2)
    noise = np.random.default_rng(0).normal(0, 4, (200, 200, 3))
    noisy = np.asarray(face.filter(ImageFilter.GaussianBlur(6)), dtype=float) + noise
    assert of(Image.fromarray(noisy.clip(0, 255).astype(np.uint8))) < SHARP  # noise is no detail
    assert of(Image.new("RGB", (64, 64))) == 0


def test_faces_of_clips_have_the_number_of_their_frame(tmp_path: Path) -> None:
    frames = [picture((drawn(9, mouth=t / 8, yaw=t / 8), (40 + 6 * t, 50, 130))) for t in range(9)]
    clip = write_clip(tmp_path / "walk.mp4", frames)
    run([clip], tmp_path / "out", Extraction(every=4, min_difference=0))
    assert names(tmp_path / "out") == ["walk-f000000.png", "walk-f000004.png", "walk-f000008.png"]


def test_frames_that_look_the_same_give_one_face(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "still.mp4", [picture((ANNA, (60, 50, 130)))] * 6)
    run([clip], tmp_path / "out", Extraction())
    assert names(tmp_path / "out") == ["still-f000000.png"]


def test_the_face_that_is_there_for_the_longest_time_can_be_chosen(tmp_path: Path) -> None:
    """Bert is larger, and in four frames only."""
    anna = [(drawn(9, mouth=t / 10), (180, 80, 110)) for t in range(10)]
    frames = [picture(anna[t], (BERT, (10, 30, 150))) if 3 <= t < 7 else picture(anna[t]) for t in range(10)]
    clip = write_clip(tmp_path / "party.mp4", frames)
    chosen = Extraction(which="longest", min_difference=0, size=48)
    run([clip], tmp_path / "out", chosen)
    assert len(names(tmp_path / "out")) == 10
    for name in names(tmp_path / "out"):
        with Image.open(tmp_path / "out" / name) as image:
            top = np.asarray(image.convert("RGB"), dtype=float)[:5, 18:30].mean((0, 1))
        assert top[0] > 1.25 * top[2], name


def test_nothing_is_replaced_unless_wanted(tmp_path: Path) -> None:
    file = write(tmp_path / "a.png", picture((ANNA, (60, 40, 140))))
    out = tmp_path / "out"
    run([file], out, Extraction())
    before = (out / "a.png").stat().st_mtime_ns
    with pytest.raises(UsageError, match=re.escape(f"{out / 'a.png'} exists; choose another out, or")):
        run([file], out, Extraction())
    assert (out / "a.png").stat().st_mtime_ns == before
    run([write(tmp_path / "b.png", picture((BERT, (60, 40, 140))))], out, Extraction())  # beside it
    assert names(out) == ["a.png", "b.png"]
    assert {"out-sheet.png", "out-sheet-2.png"} <= set(names(tmp_path))
    run([file], out, Extraction(overwrite=True))
    assert names(out) == ["a.png", "b.png"] and (out / "a.png").stat().st_mtime_ns > before


def test_inputs_are_never_replaced(tmp_path: Path) -> None:
    file = write(tmp_path / "in/a.png", picture((ANNA, (60, 40, 140))))
    for given in (file, tmp_path / "in"):
        with pytest.raises(UsageError, match="holds what is to be read"):
            run([given], tmp_path / "in", Extraction(overwrite=True))


def test_a_file_that_cannot_be_read_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"no picture")
    (tmp_path / "in/b.mp4").write_bytes(b"no clip")
    write(tmp_path / "in/c.png", picture((ANNA, (60, 40, 140))))
    pytest.importorskip("av")
    with pytest.raises(TransganError, match="2 of 3 files could not be read") as caught:
        run([tmp_path / "in"], tmp_path / "out", Extraction())
    assert caught.value.exit_code == DataError.exit_code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2 and all(name in line for name, line in zip(("a.png", "b.mp4"), errors, strict=True))
    assert names(tmp_path / "out") == ["c.png"]


def test_a_picture_that_appears_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "a.png", picture((ANNA, (60, 40, 140))))
    monkeypatch.setattr("transgan_faces.extraction._check_results", lambda *arguments: None)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").write_bytes(b"mine")
    with pytest.raises(TransganError) as caught:
        run([file], tmp_path / "out", Extraction())
    assert caught.value.exit_code == DiskError.exit_code
    assert (tmp_path / "out/a.png").read_bytes() == b"mine"


@pytest.mark.parametrize("order", [("a.jpg", "a-2.png"), ("a-2.png", "a.jpg")])
def test_faces_of_one_file_never_replace_those_of_another(
    tmp_path: Path, order: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """`a-2` is a photograph, and would be the name of the second face of the photograph `a`."""
    write(tmp_path / "a.jpg", picture((BERT, (20, 60, 110)), (ANNA, (170, 40, 140))))
    write(tmp_path / "a-2.png", picture((drawn(3), (90, 50, 130))))
    alone = Extraction(which="all", min_difference=0, min_sharpness=0)
    run([tmp_path / "a-2.png"], tmp_path / "alone", alone)
    for overwrite in (False, True):
        run([tmp_path / name for name in order], tmp_path / "out", replace(alone, overwrite=overwrite))
        assert names(tmp_path / "out") == ["a-2.png", "a-3.png", "a.png"]
        assert (tmp_path / "out/a-2.png").read_bytes() == (tmp_path / "alone/a-2.png").read_bytes()
    assert capsys.readouterr().out.count("3 faces: 3 written") == 2


def test_a_photograph_that_is_called_like_a_frame_of_a_clip_keeps_its_face(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "walk.mp4", [picture((BERT, (60, 50, 130)))])
    photograph = write(tmp_path / "walk-f000000.png", picture((ANNA, (60, 40, 140))))
    chosen = Extraction(min_difference=0, min_sharpness=0)
    run([photograph], tmp_path / "alone", chosen)
    run([clip, photograph], tmp_path / "out", chosen)
    assert names(tmp_path / "out") == ["walk-f000000-2.png", "walk-f000000.png"]
    only = tmp_path / "alone/walk-f000000.png"
    assert (tmp_path / "out/walk-f000000.png").read_bytes() == only.read_bytes()


@pytest.mark.parametrize(("there", "name"), [("a-2", "a-2"), ("a-2-3", "a-2"), ("a-2", "a"), ("a-f1000000-2", "a")])
def test_faces_that_may_be_of_the_same_file_are_found_before_anything_is_written(
    tmp_path: Path, there: str, name: str
) -> None:
    file = write(tmp_path / f"{name}.png", picture())
    write(tmp_path / f"out/{there}.png", picture())
    with pytest.raises(UsageError, match=re.escape(f"{there}.png exists; choose another out")):
        run([file], tmp_path / "out", Extraction())


def test_advice_on_a_file_that_is_not_read_can_be_followed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command has no options of the media, as the commands that read a recipe or a model have."""
    monkeypatch.setattr("transgan_faces.extraction.ReadingOptions", lambda: ReadingOptions(max_pixels=5000))
    Image.fromarray(np.full((48, 64), 300.0, np.float32)).save(tmp_path / "a.tif")
    write(tmp_path / "b.png", picture())
    with pytest.raises(TransganError):
        run([tmp_path / "a.tif", tmp_path / "b.png"], tmp_path / "out", Extraction())
    numbers, size = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "a.tif: numbers of type float32 from 300 to 300, whose range is not known; convert it to 8 bits" in numbers
    assert "b.png: 320 x 240 pixels" in size and size.endswith("; make it smaller")
    assert "media" not in numbers + size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: ([folder / "none"], {}), "none: no such file or folder"),
        (lambda folder: ([folder / "a.txt"], {}), "expected a photograph or a clip"),
        (lambda folder: ([folder / "empty"], {}), "no photographs or clips in it"),
        (lambda folder: ([folder / "a.png"], {"which": "best"}), 'which="best": expected one of largest, longest, all'),
        (lambda folder: ([folder / "a.png"], {"ending": ".bmp"}), 'ending=".bmp": expected one of .png'),
    ],
)
def test_mistakes_are_found_before_anything_is_written(
    tmp_path: Path, change: Callable[[Path], tuple[list[Path], dict[str, str]]], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("text")
    write(tmp_path / "a.png", picture())
    inputs, options = change(tmp_path)
    with pytest.raises(TransganError, match=re.escape(message)):
        run(inputs, tmp_path / "out", Extraction(**options))  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_files_of_the_same_name_get_names_of_their_own_or_are_refused(tmp_path: Path) -> None:
    for name in ("in/a.png", "in/A.jpg", "other/b.png", "third/b.png"):
        write(tmp_path / name, picture())
    found, _ = find_items([tmp_path / "in"], tmp_path / "out")
    assert {item.name for item in found} == {"a-png", "A-jpg"}
    with pytest.raises(UsageError, match="would have the same names"):
        find_items([tmp_path / "other/b.png", tmp_path / "third/b.png"], tmp_path / "out")
