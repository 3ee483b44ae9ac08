"""Tests of face detection: faces of every size, each once, cropped with eyes and mouth in their standard positions."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transgan_faces import detection
from transgan_faces.detection import (
    BOX_SIDE,
    LANDMARK_TEMPLATE,
    OVERLAP,
    TILE,
    Face,
    fit_square,
    fit_square_upright,
    pyramid_scales,
    suppress_duplicates,
    tiles,
    turn_back,
    upright_view,
)
from transgan_faces.pasting import Square, crop
from transgan_faces.region_detector import Faces, FacesOptions

from transgan.api import DataError, PluginError

DATA = Path(__file__).resolve().parents[4] / "shared/data"
WEIGHTS = DATA / "weights/face_detection_yunet_2023mar.onnx"
#: Number of faces of at least 48 pixels in group photographs.
GROUPS = {"seed_big3": 3, "facenet_multiface": 6, "fr_two_people": 2, "ultralight_16": 9, "ultralight_9": 8}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def faces() -> Faces:
    pytest.importorskip("cv2")
    if not WEIGHTS.exists():
        pytest.skip("YuNet's weights are missing")
    return Faces(FacesOptions(weights=str(WEIGHTS)))


def photograph(name: str) -> Tensor:
    path = DATA / f"group_photos/{name}.jpg"
    if not path.exists():
        pytest.skip("the group photographs are missing")
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1).float() / 127.5 - 1


@pytest.mark.parametrize(("name", "count"), GROUPS.items())
def test_every_face_of_a_group_is_detected_once(faces: Faces, name: str, count: int) -> None:
    regions = faces.detect(photograph(name), 48)
    assert len(regions) == count
    extents = [region.extent for region in regions]
    assert extents == sorted(extents, reverse=True)
    assert extents[-1] >= 48


@pytest.mark.parametrize("factor", [0.3, 4.0])
def test_faces_are_detected_in_small_and_large_images(faces: Faces, factor: float) -> None:
    x = torch.nn.functional.interpolate(photograph("seed_big3")[None], scale_factor=factor, mode="bicubic")[0]
    regions = faces.detect(x.clamp(-1, 1), 30)
    assert len(regions) == 3
    assert regions[0].extent == pytest.approx(223 * factor, rel=0.1)


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("name", ["seed_big3", "fr_two_people"])
def test_faces_of_turned_photographs_are_the_same_turned(faces: Faces, name: str, quarters: int) -> None:
    x = photograph(name)
    places = [region.place.square for region in faces.detect(x, 60)]
    found = [region.place.square for region in faces.detect(x.rot90(quarters, (1, 2)), 60)]
    assert len(found) == len(places)
    centers = turn_back(np.array([[each.x, each.y] for each in found]), quarters, x.shape[1:])
    for place in places:
        (i,) = (i for i in range(len(found)) if math.dist(centers[i], (place.x, place.y)) < 0.12 * place.side)
        assert found[i].side == pytest.approx(place.side, rel=0.2)
        turned = found[i].angle + quarters * math.pi / 2 - place.angle
        assert abs(math.degrees(math.remainder(turned, 2 * math.pi))) < 12


def test_turned_faces_are_skipped_without_the_option(faces: Faces) -> None:
    upright = Faces(FacesOptions(weights=str(WEIGHTS), turned=False))
    x = photograph("seed_big3")
    assert len(upright.detect(x, 48)) == 3
    assert len(upright.detect(x.rot90(1, (1, 2)), 48)) < 3


@pytest.mark.parametrize("name", ["seed_big3", "ultralight_9"])
def test_tiles_change_nothing(faces: Faces, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where their edges cut faces."""
    x = photograph(name)
    whole = [region.place.square for region in faces.detect(x, 48)]
    monkeypatch.setattr(detection, "TILE", 330)
    tiled = [region.place.square for region in faces.detect(x, 48)]
    assert len(tiled) == len(whole)
    for square in whole:
        assert min(math.dist((square.x, square.y), (each.x, each.y)) / square.side for each in tiled) < 0.1


def test_images_of_levels_have_the_same_regions(faces: Faces) -> None:
    x = photograph("fr_two_people")
    levels = ((x + 1) * 127.5).round().to(torch.uint8)
    one, other = faces.detect(x, 48), faces.detect(levels, 48)
    assert [region.place for region in one] == [region.place for region in other]
    for a, b in zip(one, other, strict=True):
        assert torch.allclose(a.sample, b.sample, atol=1e-5)
    changes = [-0.5 * region.sample for region in one]
    difference = faces.paste(levels, other, changes).float() / 127.5 - 1 - faces.paste(x, one, changes)
    assert difference.abs().max() < 1.1 / 127.5
    assert torch.equal(faces.mark(levels, other), ((faces.mark(x, one) + 1) * 127.5).round().to(torch.uint8))


def test_faces_below_min_extent_are_ignored(faces: Faces) -> None:
    x = photograph("facenet_multiface")
    assert len(faces.detect(x, 110)) == 2
    assert faces.detect(x, 300) == []


def test_an_image_without_faces_has_no_regions(faces: Faces) -> None:
    assert faces.detect(torch.zeros(3, 200, 300), 48) == []


def test_images_of_a_few_pixels_have_no_regions(faces: Faces) -> None:
    """YuNet's output for a single cell depended on uninitialized memory, hence several sizes after writes of 1e30."""
    for height in range(1, 40, 3):
        for width in (1, 5, 9, 60, 100):
            np.full((10 * height, 100), 1e30, np.float32)
            assert faces.detect(torch.zeros(1, height, width), 1) == []


def test_crops_have_eyes_and_mouth_in_standard_positions(faces: Faces) -> None:
    """Detection on each crop finds the face upright, centered and of the expected size."""
    rotations = []
    for region in faces.detect(photograph("ultralight_9"), 48):
        padded = torch.nn.functional.pad(region.sample[None], (80,) * 4, mode="replicate")[0]
        (again, *_) = faces.detect(padded, 48)
        side = region.sample.shape[-1]
        rotations.append(abs(math.degrees(again.place.square.angle)))
        assert again.place.square.side == pytest.approx(side, rel=0.15)
        assert again.place.square.x - 80 == pytest.approx(side / 2, abs=0.06 * side)
        assert again.place.square.y - 80 == pytest.approx(side / 2, abs=0.06 * side)
    assert np.median(rotations) < 4
    assert max(rotations) < 12  # the detector underestimates strong rotations


def test_regions_are_marked_and_margin_widens_the_crop(faces: Faces) -> None:
    x = photograph("fr_two_people")
    regions = faces.detect(x, 48)
    marked = faces.mark(x, regions)
    changed = (marked != x).any(0)
    left, top, *_ = (round(number) for number in regions[0].place.box)
    assert changed[top, left]
    assert 0 < changed.float().mean() < 0.05
    wide = Faces(FacesOptions(weights=str(WEIGHTS), margin=0.25)).detect(x, 48)
    assert wide[0].place.square.side == pytest.approx(1.5 * regions[0].place.square.side)


def test_paste_adds_the_changes_of_regions(faces: Faces) -> None:
    x = photograph("fr_two_people")
    regions = faces.detect(x, 48)
    assert torch.equal(faces.paste(x, regions, [torch.zeros_like(region.sample) for region in regions]), x)
    y = faces.paste(x, regions, [-0.5 * region.sample for region in regions])
    assert 0 < (y != x).any(0).float().mean() < 0.5


def test_without_weights_cascades_are_used_or_the_error_names_the_download() -> None:
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2, "CascadeClassifier"):
        with pytest.raises(PluginError, match=r"without a face detector: 'transgan download yunet' fetches one"):
            Faces(FacesOptions())
        return
    detector = Faces(FacesOptions())
    assert "'transgan download yunet' fetches a better detector" in detector.note
    regions = detector.detect(photograph("seed_big3"), 48)
    assert len(regions) == 3
    assert {region.place.square.angle for region in regions} == {0.0}


def test_weights_in_the_cache_are_used_and_verified(faces: Faces, cache: Path) -> None:
    cache.mkdir()
    (cache / WEIGHTS.name).write_bytes(WEIGHTS.read_bytes())
    assert Faces(FacesOptions()).note == ""
    (cache / WEIGHTS.name).write_bytes(b"damaged")
    with pytest.raises(DataError, match="'transgan download yunet' replaces it"):
        Faces(FacesOptions())
    with pytest.raises(DataError, match=r"none\.onnx: no such file"):
        Faces(FacesOptions(weights=str(cache / "none.onnx")))


@pytest.mark.parametrize("angle", [0.0, 0.5, -1.4, 3.0])
def test_fit_square_recovers_a_rotated_square(angle: float) -> None:
    square = Square(200.0, 120.0, 90.0, angle)
    template = torch.tensor(LANDMARK_TEMPLATE - 0.5)
    x, y = square.to_image(template[:, 0], template[:, 1])
    fitted = fit_square(torch.stack([x, y], 1).numpy())
    assert (fitted.x, fitted.y, fitted.side) == pytest.approx((200, 120, 90))
    assert math.remainder(fitted.angle - angle, 2 * math.pi) == pytest.approx(0, abs=1e-6)


def test_from_image_is_the_inverse_of_to_image() -> None:
    square = Square(20.0, -7.0, 33.0, 0.7)
    points = torch.linspace(-0.5, 0.5, 7, dtype=torch.float64)
    right, down = square.from_image(*square.to_image(points, points.flip(0)))
    assert torch.allclose(right, points)
    assert torch.allclose(down, points.flip(0))


def test_a_profile_has_the_size_and_the_middle_of_its_box() -> None:
    """Eyes and corners of the mouth in a line: the fit of landmarks alone is about 0.6 of the side."""
    points = 200 * LANDMARK_TEMPLATE * [0.02, 1] + [60, 0]
    box = np.array([[40.0, 10.0], [180.0, 220.0]])
    square = fit_square_upright(points, box)
    assert fit_square(points).side < 0.7 * 200
    assert square.side == pytest.approx(BOX_SIDE * 210)
    assert square.x == pytest.approx(110)
    frontal = fit_square_upright(200 * LANDMARK_TEMPLATE, np.array([[20.0, 0.0], [180.0, 210.0]]))
    assert frontal == fit_square(200 * LANDMARK_TEMPLATE)


@pytest.mark.parametrize("quarters", range(4))
def test_points_are_turned_back(quarters: int) -> None:
    image = np.arange(5 * 8).reshape(5, 8)
    turned = np.rot90(image, quarters)
    row, column = 1, 2
    (point,) = turn_back(np.array([[column + 0.5, row + 0.5]]), quarters, image.shape)
    assert image[int(point[1]), int(point[0])] == turned[row, column]


@pytest.mark.parametrize("scale", [2.0, 0.667, 0.1])
@pytest.mark.parametrize("shape", [(40, 60), (1200, 1700), (4000, 6000)])
def test_tiles_cover_an_image_overlap_and_are_small(shape: tuple[int, int], scale: float) -> None:
    found = list(tiles(shape, scale))
    for axis in (0, 1):
        spans = sorted({(each[axis].start, each[axis].stop) for each in found})
        assert spans[0][0] == 0 and spans[-1][1] == shape[axis]
        assert max(stop - start for start, stop in spans) * scale <= TILE + 4
        for (_, stop), (start, _) in pairwise(spans):
            assert (stop - start) * scale >= OVERLAP - 2


def test_an_upright_view_is_the_crop_in_another_size() -> None:
    cv2 = pytest.importorskip("cv2")
    y, x = np.mgrid[:400, :500] / 100.0
    image = np.stack([np.sin(x + y), np.cos(2 * x), np.sin(y)], -1) * 100 + 128
    square = Square(240.0, 190.0, 256.0, 0.8)
    view = upright_view(cv2, image.astype(np.uint8), square)
    expected = crop(torch.from_numpy(image.astype(np.uint8)).permute(2, 0, 1), square)
    assert np.abs(view - ((expected.permute(1, 2, 0) + 1) * 127.5).numpy())[50:-50, 50:-50].mean() < 1.5


def test_duplicate_detections_are_suppressed() -> None:
    def face(left: float, side: float, score: float) -> Face:
        return Face((left, 0, side, side), Square(left + side / 2, side / 2, side), score)

    best, duplicate, inside, beside = face(0, 100, 0.9), face(8, 100, 0.8), face(20, 40, 0.5), face(70, 120, 0.7)
    assert suppress_duplicates([duplicate, beside, inside, best]) == [beside, best]


@pytest.mark.parametrize("min_extent", [12, 48, 200])
@pytest.mark.parametrize("longer", [60, 640, 1200, 8000])
def test_every_face_has_a_detectable_size_in_some_pyramid_level(longer: int, min_extent: int) -> None:
    """A face between `min_extent` and half the image has 16 to 320 pixels in at least one level."""
    scales = pyramid_scales((longer // 2, longer), min_extent)
    for side in np.geomspace(min_extent, longer / 2, 50) if min_extent < longer / 2 else ():
        assert any(16 <= scale * side <= 320 for scale in scales), side
