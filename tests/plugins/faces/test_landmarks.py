"""The metric `landmarks_moved`: distances by hand, and what it says of changes of photographs that are known."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transgan_faces.landmarks import Landmarks, LandmarksMoved, LandmarksMovedOptions

from transgan.api import DataError, Translation, UsageError
from transgan.errors import RecipeError
from transgan.plan import Plan

FORWARD = Translation("age", "young", "old")
DATA = Path(__file__).resolve().parents[4] / "shared/data"
WEIGHTS = DATA / "weights/face_detection_yunet_2023mar.onnx"
POINTS = np.array([[90.0, 80.0], [150.0, 80.0], [120.0, 120.0], [95.0, 160.0], [145.0, 160.0]])


@pytest.fixture
def metric() -> LandmarksMoved:
    pytest.importorskip("cv2")
    if not WEIGHTS.exists():
        pytest.skip("YuNet's weights are missing")
    return LandmarksMoved(LandmarksMovedOptions(weights=str(WEIGHTS)))


@pytest.fixture(scope="module")
def photographs() -> Tensor:
    """Twelve faces, (12, 3, 64, 64) in [-1, 1]."""
    files = sorted((DATA / "faces").glob("*.jpg"))[::110][:12]
    if len(files) < 12:
        pytest.skip("the photographs of faces are missing")
    small = [np.array(Image.open(each).convert("RGB").resize((64, 64), Image.Resampling.LANCZOS)) for each in files]
    return torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 127.5 - 1


def figures(metric: LandmarksMoved, source: Tensor, fake: Tensor) -> dict[str, float]:
    metric.reset()
    for first in range(0, len(source), 5):
        metric.update(FORWARD, source[first : first + 5], fake[first : first + 5])
    return metric.compute()[FORWARD]


def shifted(x: Tensor, pixels: int) -> Tensor:
    """Return images moved to the right; the left edge is repeated."""
    return torch.cat([x[..., :1].expand(*x.shape[:-1], pixels), x[..., :-pixels]], -1)


def test_the_distance_is_the_mean_over_landmarks_relative_to_the_eyes() -> None:
    face = Landmarks(POINTS, (60.0, 40.0, 120.0, 160.0))
    other = Landmarks(POINTS + np.array([[3.0, 4.0]] * 4 + [[0.0, 0.0]]), face.box)
    assert face.distance(other) == pytest.approx(4 * 5 / 5 / 60, rel=1e-12)
    assert face.distance(face) == 0
    assert Landmarks(np.zeros((5, 2)), face.box).between_eyes == 1  # never divided by 0


@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 48), (300, 256)])
def test_the_ellipse_fills_the_box_at_the_size_of_the_image(height: int, width: int) -> None:
    inside = Landmarks(POINTS, (60.0, 40.0, 120.0, 90.0)).ellipse(height, width)
    scale = max(height, width) / 256
    for row in range(height):
        for column in range(width):
            x, y = ((column + 0.5) / scale - 120) / 60, ((row + 0.5) / scale - 85) / 45
            assert bool(inside[row, column]) == (x * x + y * y <= 1), (row, column)
    assert int(inside.sum()) == pytest.approx(math.pi * 60 * 45 * scale**2, rel=0.05)


def test_a_copy_moves_nothing_and_has_no_change_outside(metric: LandmarksMoved, photographs: Tensor) -> None:
    found = figures(metric, photographs, photographs.clone())
    assert (found["landmarks_moved"], found["landmarks_moved_p95"], found["faces_found"]) == (0, 0, 1)
    assert found["change_inside"] == 0 and "change_outside" not in found
    assert 0 < found["landmarks_moved_of_jpeg"] < 0.06 and found["faces_found_of_jpeg"] == 1
    assert metric.warnings() == []


def test_a_shift_moves_landmarks_by_its_share_of_the_distance_between_the_eyes(
    metric: LandmarksMoved, photographs: Tensor
) -> None:
    """Two pixels of 64 are eight of 256, whatever the face."""
    found = figures(metric, photographs, shifted(photographs, 2))
    eyes = [metric.detect(bgr(x))[0].between_eyes for x in photographs]
    assert found["landmarks_moved"] == pytest.approx(float(np.median([8 / each for each in eyes])), rel=0.2)
    assert found["landmarks_moved"] > 2 * found["landmarks_moved_of_jpeg"]


def bgr(x: Tensor) -> np.ndarray:
    levels = ((x + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return np.ascontiguousarray(levels[..., ::-1])


def test_another_background_changes_the_outside_and_a_darker_face_the_inside(
    metric: LandmarksMoved, photographs: Tensor
) -> None:
    soft = photographs * 0.5  # so that no value leaves the range
    mask = torch.stack([metric.detect(bgr(x))[0].ellipse(64, 64) for x in soft])[:, None]
    face = figures(metric, soft, torch.where(mask, soft - 0.1, soft))
    assert face["change_outside"] == 0 and face["change_inside"] == pytest.approx(0.05, rel=1e-4)
    everything = figures(metric, soft, soft - 0.1)
    assert everything["change_outside"] == pytest.approx(1, abs=1e-4)
    behind = figures(metric, soft, torch.where(mask, soft - 0.01, soft - 0.1))
    assert behind["change_outside"] == pytest.approx(10, rel=1e-4)


def test_faces_that_a_translation_destroys_are_not_found_again(metric: LandmarksMoved, photographs: Tensor) -> None:
    fake = torch.cat([photographs[:9], torch.zeros(3, 3, 64, 64)])
    found = figures(metric, photographs, fake)
    assert found["faces_found"] == 9 / 12 and found["faces_found_of_jpeg"] == 1
    assert found["landmarks_moved"] == 0  # of those that are found
    assert "landmarks_moved" not in figures(metric, photographs, torch.zeros_like(photographs))


def test_sources_without_a_face_are_reported_and_not_measured(metric: LandmarksMoved, photographs: Tensor) -> None:
    source = torch.cat([photographs[:4], torch.zeros(2, 3, 64, 64)])
    assert figures(metric, source, source)["faces_found"] == 1
    assert metric.warnings() == [
        f"sources without a face that is found are not measured; faces are found in {FORWARD} 4 of 6"
    ]
    metric.reset()
    metric.update(FORWARD, source[4:], source[4:])
    assert metric.compute() == {}
    with pytest.raises(UsageError, match="images of 1 or 3 channels, and these have 2"):
        metric.update(FORWARD, source[:, :2], source[:, :2])


def test_images_of_any_size_and_grey_ones_are_measured(metric: LandmarksMoved, photographs: Tensor) -> None:
    wide = torch.nn.functional.pad(photographs, (40, 40, 0, 0))
    grey = wide.mean(1, keepdim=True)
    assert figures(metric, wide, grey)["faces_found"] > 0.8
    large = torch.nn.functional.interpolate(photographs, (600, 600), mode="bicubic").clamp(-1, 1)
    found = figures(metric, large, shifted(large, 19))
    of_small = figures(metric, photographs, shifted(photographs, 2))  # 19 of 600 pixels are as far as 2 of 64
    assert found["landmarks_moved"] == pytest.approx(of_small["landmarks_moved"], rel=0.25)
    strip = torch.zeros(1, 3, 4, 200)
    metric.reset()
    metric.update(FORWARD, strip, strip)
    assert metric.compute() == {}


RECIPE = """
[train]
steps = 1
[generators.g]
use = "resnet"
width = 2
blocks = 0
downs = 1
[losses]
cycle = 1.0
[[phases]]
side = "generator"
[metrics]
landmarks_moved = true
"""


def test_without_weights_the_plan_says_what_to_do(
    planned: Callable[..., Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSGAN_CACHE", str(tmp_path))
    with pytest.raises(RecipeError, match=r"run 'transgan download yunet', or set weights = \"FILE\"") as raised:
        planned(RECIPE)
    assert len(raised.value.problems) == 1
    with pytest.raises(DataError, match=r"none\.onnx: no such file"):
        LandmarksMoved(LandmarksMovedOptions(weights=str(tmp_path / "none.onnx")))
