"""Faces are found at every size, each once, and cut out with eyes and mouth where crops have them."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transgan_faces.detection import EYES_AND_MOUTH, Face, aligned, distinct, scales
from transgan_faces.finder import Faces, FacesOptions
from transgan_faces.pasting import Square

from transgan.api import DataError, PluginError

DATA = Path(__file__).resolve().parents[3] / "shared/data"
WEIGHTS = DATA / "weights/face_detection_yunet_2023mar.onnx"
#: Faces of at least 48 pixels.
GROUPS = {"seed_big3": 3, "facenet_multiface": 6, "fr_two_people": 2, "ultralight_16": 9, "ultralight_9": 8}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def faces() -> Faces:
    pytest.importorskip("cv2")
    if not WEIGHTS.exists():
        pytest.skip("the weights of YuNet are not here")
    return Faces(FacesOptions(weights=str(WEIGHTS)))


def photograph(name: str) -> Tensor:
    path = DATA / f"group_photos/{name}.jpg"
    if not path.exists():
        pytest.skip("the group photographs are not here")
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1).float() / 127.5 - 1


@pytest.mark.parametrize(("name", "count"), GROUPS.items())
def test_every_face_of_a_group_is_found_once(faces: Faces, name: str, count: int) -> None:
    parts = faces.find(photograph(name), 48)
    assert len(parts) == count
    extents = [part.extent for part in parts]
    assert extents == sorted(extents, reverse=True)
    assert extents[-1] >= 48


@pytest.mark.parametrize("factor", [0.3, 4.0])
def test_faces_are_found_in_small_and_in_large_pictures(faces: Faces, factor: float) -> None:
    x = torch.nn.functional.interpolate(photograph("seed_big3")[None], scale_factor=factor, mode="bicubic")[0]
    parts = faces.find(x.clamp(-1, 1), 30)
    assert len(parts) == 3
    assert parts[0].extent == pytest.approx(223 * factor, rel=0.1)


def test_small_faces_are_left_alone(faces: Faces) -> None:
    x = photograph("facenet_multiface")
    assert len(faces.find(x, 110)) == 2
    assert faces.find(x, 300) == []


def test_a_picture_without_faces_has_no_parts(faces: Faces) -> None:
    assert faces.find(torch.zeros(3, 200, 300), 48) == []


def test_pictures_of_a_few_pixels_have_no_parts(faces: Faces) -> None:
    """One after another, since what YuNet answered on a single cell hung on what the memory held before."""
    for height in range(1, 40, 3):
        for width in (1, 5, 9, 60, 100):
            np.full((10 * height, 100), 1e30, np.float32)
            assert faces.find(torch.zeros(1, height, width), 1) == []


def test_cut_outs_have_the_eyes_where_crops_have_them(faces: Faces) -> None:
    """Seen by the detector again, each cut-out is upright and in its place."""
    turned = []
    for part in faces.find(photograph("ultralight_9"), 48):
        padded = torch.nn.functional.pad(part.sample[None], (80,) * 4, mode="replicate")[0]
        (again, *_) = faces.find(padded, 48)
        side = part.sample.shape[-1]
        turned.append(abs(math.degrees(again.place.square.angle)))
        assert again.place.square.side == pytest.approx(side, rel=0.12)
        assert again.place.square.x - 80 == pytest.approx(side / 2, abs=0.06 * side)
        assert again.place.square.y - 80 == pytest.approx(side / 2, abs=0.06 * side)
    assert np.median(turned) < 4
    assert max(turned) < 12  # the detector itself sees strongly turned faces less turned than they are


def test_marks_are_drawn_and_a_margin_is_added(faces: Faces) -> None:
    x = photograph("fr_two_people")
    parts = faces.find(x, 48)
    shown = faces.show(x, parts)
    changed = (shown != x).any(0)
    left, top, *_ = (round(number) for number in parts[0].place.box)
    assert changed[top, left]
    assert 0 < changed.float().mean() < 0.05
    wide = Faces(FacesOptions(weights=str(WEIGHTS), margin=0.25)).find(x, 48)
    assert wide[0].place.square.side == pytest.approx(1.5 * parts[0].place.square.side)


def test_without_weights_cascades_are_taken_or_the_way_is_told() -> None:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "CascadeClassifier"):
        with pytest.raises(PluginError, match=r"brings no face detector: 'transgan download yunet' fetches one"):
            Faces(FacesOptions())
        return
    finder = Faces(FacesOptions())
    assert "'transgan download yunet' fetches a better detector" in finder.note
    parts = finder.find(photograph("seed_big3"), 48)
    assert len(parts) == 3
    assert {part.place.square.angle for part in parts} == {0.0}


def test_weights_are_found_in_the_cache_and_checked(faces: Faces, cache: Path) -> None:
    cache.mkdir()
    (cache / WEIGHTS.name).write_bytes(WEIGHTS.read_bytes())
    assert Faces(FacesOptions()).note == ""
    (cache / WEIGHTS.name).write_bytes(b"damaged")
    with pytest.raises(DataError, match="'transgan download yunet' replaces it"):
        Faces(FacesOptions())
    with pytest.raises(DataError, match=r"none\.onnx: no such file"):
        Faces(FacesOptions(weights=str(cache / "none.onnx")))


@pytest.mark.parametrize("angle", [0.0, 0.5, -1.4, 3.0])
def test_the_square_of_a_turned_face_is_turned(angle: float) -> None:
    square = Square(200.0, 120.0, 90.0, angle)
    ends = torch.tensor(EYES_AND_MOUTH - 0.5)
    x, y = square.outside(ends[:, 0], ends[:, 1])
    found = aligned(torch.stack([x, y], 1).numpy())
    assert (found.x, found.y, found.side) == pytest.approx((200, 120, 90))
    assert math.remainder(found.angle - angle, 2 * math.pi) == pytest.approx(0, abs=1e-6)


def test_inside_is_the_opposite_of_outside() -> None:
    square = Square(20.0, -7.0, 33.0, 0.7)
    points = torch.linspace(-0.5, 0.5, 7, dtype=torch.float64)
    right, down = square.inside(*square.outside(points, points.flip(0)))
    assert torch.allclose(right, points)
    assert torch.allclose(down, points.flip(0))


def test_a_face_that_is_found_twice_is_one() -> None:
    def face(left: float, side: float, score: float) -> Face:
        return Face((left, 0, side, side), Square(left + side / 2, side / 2, side), score)

    sure, again, inside, beside = face(0, 100, 0.9), face(8, 100, 0.8), face(20, 40, 0.5), face(70, 120, 0.7)
    assert distinct([again, beside, inside, sure]) == [beside, sure]


@pytest.mark.parametrize("smallest", [12, 48, 200])
@pytest.mark.parametrize("longer", [60, 640, 1200, 8000])
def test_faces_of_every_size_come_out_at_a_good_one(longer: int, smallest: int) -> None:
    """Wherever between the smallest and the whole picture a face is, on some scale it has 16 to 320 pixels."""
    found = scales((longer // 2, longer), smallest)
    for side in np.geomspace(smallest, longer / 2, 50) if smallest < longer / 2 else ():
        assert any(16 <= scale * side <= 320 for scale in found), side
