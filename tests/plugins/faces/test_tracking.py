"""Faces followed through clips: smooth squares without lag, gaps that are bridged, cuts that are not."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transgan_faces import region_detector
from transgan_faces.detection import Face
from transgan_faces.pasting import Square
from transgan_faces.region_detector import CAST_SMOOTHING, MARK, Faces, FacesOptions
from transgan_faces.tracking import Jitter, Tracker, badge

from transgan.api import Region

EMPTY = torch.zeros(3, 120, 200)


def face(x: float, y: float = 60.0, side: float = 40.0, angle: float = 0.0) -> Face:
    return Face((x - side / 2, y - side / 2, side, side), Square(x, y, side, angle), 0.9)


def followed(tracker: Tracker, detections: list[list[Face]], frames: list[Tensor] | None = None) -> list[list[Square]]:
    frames = frames or [EMPTY] * len(detections)
    return [
        [track.square for track in tracker.update(x, each, 20.0)] for x, each in zip(frames, detections, strict=True)
    ]


def test_without_smoothing_squares_are_as_detected() -> None:
    rng = np.random.default_rng(0)
    faces = [face(100 + rng.normal(), 60 + rng.normal(), 40 + rng.normal(), 0.05 * rng.normal()) for _ in range(20)]
    squares = followed(Tracker(0.0, 0), [[each] for each in faces])
    for each, (square,) in zip(faces, squares, strict=True):
        assert vars(square) == pytest.approx(vars(each.square))


def test_steady_motion_is_followed_without_lag() -> None:
    """Position, logarithm of the side and angle that change by the same amount in each frame."""
    faces = [face(30 + 2 * t, 50 + 0.5 * t, 40 * 1.01**t, 0.01 * t) for t in range(60)]
    squares = followed(Tracker(0.7, 0), [[each] for each in faces])
    for each, (square,) in zip(faces[40:], squares[40:], strict=True):
        assert vars(square) == pytest.approx(vars(each.square), rel=1e-3, abs=1e-3)


def test_noise_of_detections_is_smoothed() -> None:
    rng = np.random.default_rng(0)
    faces = [face(100 + 2 * rng.normal(), 60 + 2 * rng.normal(), 60 + rng.normal()) for _ in range(200)]
    squares = [square for (square,) in followed(Tracker(0.6, 0), [[each] for each in faces])]
    raw, smooth = Jitter.of([each.square for each in faces]), Jitter.of(squares)
    assert smooth.center < 0.4 * raw.center
    assert smooth.side < 0.4 * raw.side
    errors = [math.hypot(each.x - 100, each.y - 60) for each in squares[10:]]
    assert np.sqrt(np.mean(np.square(errors))) < 0.8 * 2 * math.sqrt(2)  # and nearer to the truth than detections


def test_jitter_is_the_second_difference() -> None:
    assert Jitter.of([face(10.0 * t).square for t in range(5)]).center == pytest.approx(0, abs=1e-12)
    zigzag = Jitter.of([face(100 + (-1) ** t, side=40).square for t in range(10)])
    assert zigzag.center == pytest.approx(4 / 40)
    turned = Jitter.of([face(100, angle=math.pi - 0.01 * (-1) ** t).square for t in range(10)])
    assert turned.angle == pytest.approx(math.degrees(0.04))


def test_a_gap_is_bridged_along_the_motion_and_the_track_goes_on() -> None:
    detections = [[face(40 + 2 * t)] for t in range(20)]
    for t in (12, 13, 14):
        detections[t] = []
    tracker = Tracker(0.5, 4)
    squares = followed(tracker, detections)
    assert [len(each) for each in squares] == [1] * 20
    assert 62 < squares[12][0].x < squares[13][0].x < squares[14][0].x < 70
    assert [track.number for track in tracker.tracks] == [1]


def test_a_face_that_stays_away_is_given_up() -> None:
    squares = followed(Tracker(0.5, 3), [[face(100)]] * 5 + [[]] * 6)
    assert [len(each) for each in squares] == [1] * 8 + [0] * 3


def test_a_cut_ends_tracks_at_once() -> None:
    other = torch.full_like(EMPTY, 0.8)
    tracker = Tracker(0.5, 8)
    squares = followed(tracker, [[face(100)]] * 5 + [[], [face(30)]], [EMPTY] * 5 + [other] * 2)
    assert [len(each) for each in squares] == [1] * 5 + [0, 1]
    assert squares[-1][0].x == 30
    assert tracker.tracks[0].number == 2


def test_a_jump_begins_a_new_track_and_no_ghost_stays() -> None:
    tracker = Tracker(0.5, 8)
    squares = followed(tracker, [[face(60)]] * 5 + [[face(60 + 22)]])  # farther than half a side
    assert [each.x for each in squares[-1]] == [82]


def test_two_faces_keep_their_numbers_in_whatever_order_they_are_detected() -> None:
    tracker = Tracker(0.5, 2)
    numbers = []
    for t in range(10):
        left, right = face(50 + t, side=40 + (t % 2)), face(150 - t, side=40)
        tracks = tracker.update(EMPTY, [left, right] if t % 2 else [right, left], 20.0)
        numbers.append({track.number: track.square.x < 100 for track in tracks})
    assert all(each == numbers[0] for each in numbers)
    assert len({tuple(each) for each in numbers}) == 1  # and the largest stays the largest


def test_small_faces_begin_no_track_and_end_none() -> None:
    tracker = Tracker(0.0, 0)
    assert tracker.update(EMPTY, [face(100, side=19)], 20.0) == []
    assert len(tracker.update(EMPTY, [face(100, side=21)], 20.0)) == 1
    assert len(tracker.update(EMPTY, [face(100, side=19)], 20.0)) == 1


# The region detector


class Stub:
    """Detects what it is given, frame by frame."""

    def __init__(self, frames: list[list[Face]]):
        self.frames = frames
        self.asked: list[float] = []

    def __call__(self, image: np.ndarray, min_extent: float) -> list[Face]:
        self.asked.append(min_extent)
        return self.frames.pop(0)


@pytest.fixture
def faces_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Faces]:
    """`faces_of(frames, **options)`: the region detector on a stub."""

    def make(frames: list[list[Face]], **options: object) -> Faces:
        monkeypatch.setattr(region_detector, "Cascades", lambda: Stub(frames))
        monkeypatch.setattr(region_detector, "locate", lambda weights, given: None)
        return Faces(FacesOptions(**options))  # type: ignore[arg-type]

    return make


def test_a_tracker_is_a_detector_of_its_own(faces_of: Callable[..., Faces]) -> None:
    faces = faces_of([[face(100)], [face(103)], [face(100)], [face(103)]], smoothing=0.5, margin=0.25)
    one, other = faces.tracker(), faces.tracker()
    first = [detector.detect(EMPTY, 30)[0].place.square.x for detector in (one, one)]
    second = [detector.detect(EMPTY, 30)[0].place.square.x for detector in (other, other)]
    assert first == second and first[0] == 100 and 100 < first[1] < 103
    stub = faces.detector
    assert isinstance(stub, Stub) and stub.asked == [24.0] * 4


def test_regions_have_the_margin_and_the_number_of_their_track(faces_of: Callable[..., Faces]) -> None:
    tracker = faces_of([[face(100), face(40, side=30)]], margin=0.25).tracker()
    regions = tracker.detect(EMPTY, 20)
    assert [region.place.square.side for region in regions] == pytest.approx([60, 45])
    assert [region.place.track for region in regions] == [1, 2]
    assert [region.extent for region in regions] == pytest.approx([40, 30])


def test_every_frame_is_marked_also_without_faces_and_unless_turned_off(faces_of: Callable[..., Faces]) -> None:
    marked, plain = faces_of([]).tracker(), faces_of([], mark=False).tracker()
    x = torch.rand(3, 240, 320) * 2 - 1
    assert torch.equal(plain.paste(x, [], []), x)
    y = marked.paste(x, [], [])
    assert torch.equal(y, badge(x, MARK))
    assert marked.disclosure == plain.disclosure == "faces translated by TransGAN, synthetic"
    photograph = faces_of([[face(100)]])
    regions = photograph.detect(EMPTY, 20)
    assert torch.equal(photograph.paste(EMPTY, regions, [torch.zeros_like(regions[0].sample)]), EMPTY)  # no clip


@pytest.mark.parametrize("size", [(8, 8), (48, 64), (240, 320), (1080, 1920)])
@pytest.mark.parametrize("level", [-1.0, 0.0, 1.0])
def test_the_mark_is_small_and_readable_on_every_ground(size: tuple[int, int], level: float) -> None:
    x = torch.full((3, *size), level)
    y = badge(x, MARK)
    assert y.shape == x.shape and float(y.min()) >= -1 and float(y.max()) <= 1
    changed = (y != x).any(0)
    if min(size) >= 240:
        assert 0.0003 < float(changed.float().mean()) < 0.015
        assert not changed[: size[0] // 2].any() and not changed[:, : size[1] // 2].any()
        assert float(y[:, changed].max() - y[:, changed].min()) > 0.9  # letters on their ground


def test_the_colour_cast_that_is_removed_changes_slowly(faces_of: Callable[..., Faces]) -> None:
    """A model that adds a cast in every other frame: without smoothing the face would flicker."""
    x = torch.linspace(-0.5, 0.5, 200).expand(3, 120, 200).clone()
    x[1] *= 0.5
    results = []
    tracker = faces_of([[face(100, side=60)]] * 12, mark=False, smoothing=0.0).tracker()
    for t in range(12):
        regions = tracker.detect(x, 20)
        change = torch.full_like(regions[0].sample, 0.1 if t % 2 else 0.0)
        results.append(float((tracker.paste(x, regions, [change]) - x)[:, 60, 100].mean()))
    means = [0.0]
    for t in range(1, 12):
        means.append(CAST_SMOOTHING * means[-1] + (1 - CAST_SMOOTHING) * (0.1 if t % 2 else 0.0))
    expected = [(0.1 if t % 2 else 0.0) - mean for t, mean in enumerate(means)]
    assert results == pytest.approx(expected, abs=1e-4)


def test_faces_of_a_pan_over_a_photograph_jitter_less_and_are_as_near() -> None:
    """A camera that moves over real faces, with noise: squares are mapped back to the photograph."""
    pytest.importorskip("cv2")
    data = Path(__file__).resolve().parents[4] / "shared/data"
    weights, path = data / "weights/face_detection_yunet_2023mar.onnx", data / "group_photos/seed_big3.jpg"
    if not (weights.exists() and path.exists()):
        pytest.skip("YuNet's weights or the group photographs are missing")
    with Image.open(path) as opened:
        photograph = opened.convert("RGB")
    rng, jitters, errors = np.random.default_rng(0), [], []
    steps = [(60 + 4 * t, 40 + 2 * t) for t in range(30)]
    frames = []
    for left, top in steps:
        pixels = np.asarray(photograph.crop((left, top, left + 400, top + 300)), dtype=float)
        noisy = (pixels + rng.normal(0, 4, pixels.shape)).clip(0, 255)
        frames.append(torch.from_numpy(noisy).permute(2, 0, 1).float() / 127.5 - 1)
    for smoothing in (0.0, FacesOptions().smoothing):
        tracker = Faces(FacesOptions(weights=str(weights), smoothing=smoothing)).tracker()
        squares: dict[int, list[Square]] = {}
        for x in frames:
            for region in tracker.detect(x, 48):
                squares.setdefault(region.place.track, []).append(region.place.square)
        whole = [each for each in squares.values() if len(each) == len(frames)]
        assert whole
        jitters.append(np.mean([Jitter.of(each).center for each in whole]))
        places = [
            np.array([(square.x + left, square.y + top) for square, (left, top) in zip(each, steps, strict=True)])
            for each in whole
        ]
        errors.append(np.mean([np.abs(each - np.median(each, 0)).mean() for each in places]))
    assert jitters[1] < 0.5 * jitters[0]
    assert errors[1] < 1.3 * errors[0]


def test_regions_are_marked_as_in_photographs(faces_of: Callable[..., Faces]) -> None:
    faces = faces_of([[face(100)]])
    tracker = faces.tracker()
    regions: list[Region] = tracker.detect(EMPTY, 20)
    assert torch.equal(tracker.mark(EMPTY, regions), faces.mark(EMPTY, regions))
