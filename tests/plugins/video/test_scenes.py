"""Synthetic scenes: reproducible, moving as their numbers say, with exact counterparts."""

from typing import Any

import numpy as np
import pytest
from transgan_images.shapes import BRIGHT, DARK
from transgan_video.media import ClipMedia, ClipOptions
from transgan_video.scenes import (
    FAST,
    GROUNDS,
    SLOW,
    WALL,
    Scene,
    SceneClip,
    ScenesOptions,
    SceneStyle,
    SyntheticScenes,
)

from transgan.api import DataError, UsageError

PLAIN = {"hue": [0.0, 0.5]}
WOVEN = {"fill": "striped", "hue": [0.0, 0.5], "turn": 0.3, "ground": "dark"}
SIZE = 64


def source(count: int = 20, seed: int = 0) -> SyntheticScenes:
    return SyntheticScenes(ScenesOptions(count=count, seed=seed), None)


def clip(selection: dict[str, Any], index: int = 0) -> SceneClip:
    found: SceneClip = source().samples("a", selection)[index].location
    return found


def test_a_counterpart_is_the_same_scene_and_that_of_its_counterpart_the_clip() -> None:
    scenes = source()
    for sample in scenes.samples("plain", PLAIN)[:4]:
        there = scenes.counterpart(sample, PLAIN, WOVEN)
        assert there is not None and there.key == sample.key and there.location.scene == sample.location.scene
        back = scenes.counterpart(there, WOVEN, PLAIN)
        assert back is not None and back.location == sample.location
        same = scenes.samples("woven", WOVEN)[sample.location.index].location
        np.testing.assert_array_equal(there.location(3, 1, SIZE), same(3, 1, SIZE))


def test_domains_of_different_parts_have_no_scene_in_common_and_counterparts_all_the_same() -> None:
    scenes = source()
    first = scenes.samples("a", {**PLAIN, "part": [0.0, 0.5]})
    second = scenes.samples("b", {**WOVEN, "part": [0.5, 1.0]})
    assert not {sample.key for sample in first} & {sample.key for sample in second}
    there = scenes.counterpart(first[3], PLAIN, {**WOVEN, "part": [0.5, 1.0]})
    assert there is not None and there.location == clip(WOVEN, 3)


def test_shapes_move_in_straight_lines_between_walls_that_they_bounce_off() -> None:
    """Compared with a simulation that turns a velocity round at a wall."""
    for index in range(5):
        for body in Scene.of(0, index).bodies:
            at, velocity = np.array(body.shape.centre), np.array(body.velocity)
            assert SLOW - 1e-9 <= np.hypot(*velocity) <= FAST + 1e-9
            for frame in range(1, 60):
                at = at + velocity
                for axis in range(2):
                    if abs(at[axis]) > WALL:
                        at[axis] = np.sign(at[axis]) * 2 * WALL - at[axis]
                        velocity[axis] = -velocity[axis]
                np.testing.assert_allclose(body.at(frame).centre, at, atol=1e-9)


def test_a_shape_is_where_its_numbers_say_and_keeps_its_colour() -> None:
    """Of a lone dark shape, the middle of what it covers, in a view that goes with the camera."""
    found = clip({})
    body, drift = found.scene.bodies[-1], found.scene.drift
    alone = Scene((body,), drift, (0.0, 0.0))
    for frame in (0, 3, 7):
        one = _Alone(alone, found.style)
        covered = (GROUNDS["light"][0] - one.frame(frame, SIZE)[..., 0] / 255) / (GROUNDS["light"][0] - DARK)
        line = (np.arange(SIZE) + 0.5) * 2 / SIZE - 1
        middle = [(covered * axis).sum() / covered.sum() for axis in (line[None, :], line[:, None])]
        centre = body.at(frame).centre
        if max(abs(c - frame * d) for c, d in zip(centre, drift, strict=True)) + body.shape.radius < 1:
            expected = [c - frame * d for c, d in zip(centre, drift, strict=True)]
            np.testing.assert_allclose(middle, expected, atol=0.12 * body.shape.radius)


class _Alone(SceneClip):
    """A clip of a given scene."""

    def __init__(self, scene: Scene, style: SceneStyle):
        super().__init__(0, 0, style)
        object.__setattr__(self, "given", scene)

    @property
    def scene(self) -> Scene:
        found: Scene = self.given  # type: ignore[attr-defined]
        return found


def test_frames_follow_each_other_by_the_step() -> None:
    found = clip(WOVEN)
    frames = found(7, 1, SIZE)
    assert frames.shape == (7, SIZE, SIZE, 3) and frames.dtype == np.uint8
    np.testing.assert_array_equal(found(3, 3, SIZE), frames[::3])
    assert (frames[1:] != frames[:-1]).any((1, 2, 3)).all()
    assert frames.max() <= round(255 * BRIGHT)


def test_unsteady_light_is_a_slope_that_is_drawn_anew_for_each_frame() -> None:
    """Fitted by least squares: a plane through 1 in the middle, by which the steady picture is multiplied."""
    steady, unsteady = (clip({"ground": "waves", **light})(40, 1, SIZE) / 255.0 for light in ({}, {"flicker": 0.4}))
    line = (np.arange(SIZE) + 0.5) * 2 / SIZE - 1
    plane = np.stack(np.broadcast_arrays(1.0, line[None, :], line[:, None]), -1).reshape(-1, 3)
    slopes = []
    for before, after in zip(steady, unsteady, strict=True):
        fits = (after < 1).all(-1) & (before > 0.3).all(-1)
        ratio = (after[fits] / before[fits]).mean(-1)
        level, *slope = np.linalg.lstsq(plane[fits.ravel()], ratio, rcond=None)[0]
        assert abs(level - 1) < 0.01
        slopes.append(slope)
    rises = np.hypot(*np.array(slopes).T)
    assert rises.max() <= 0.41 and rises.max() > 0.3 and rises.min() < 0.1
    assert abs(np.corrcoef(np.array(slopes[1:]).ravel(), np.array(slopes[:-1]).ravel())[0, 1]) < 0.4
    np.testing.assert_array_equal(clip({"ground": "waves", "flicker": 0.4})(3, 2, SIZE), 255 * unsteady[:5:2])


def test_the_media_takes_them(planned: Any) -> None:
    media = ClipMedia(ClipOptions(frames=3), 32)
    decoded = media.decode(clip(PLAIN))
    np.testing.assert_array_equal(decoded, clip(PLAIN)(3, 1, 32))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("plain", "found 'plain'; expected a table"),
        ({"flicker": "much"}, "flicker = 'much': expected a number from 0 to 1"),
        ({"flicker": 1.5}, "flicker = 1.5: expected a number from 0 to 1"),
        ({"flicker": True}, "flicker = True: expected a number from 0 to 1"),
        ({"flicker": float("nan")}, "flicker = nan: expected a number from 0 to 1"),
        ({"ground": "sand"}, "ground = 'sand': expected one of light, waves, dark"),
        ({"fil": "filled"}, "unknown key 'fil'. Did you mean 'fill'"),
    ],
)
def test_a_wrong_selection(selection: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        source().samples("a", selection)


def test_an_empty_part_and_a_tiny_picture() -> None:
    with pytest.raises(DataError, match=r"\[domains\] a: part = \[0.0, 0.01\] of count = 20 is no scene"):
        source().samples("a", {"part": [0.0, 0.01]})
    with pytest.raises(DataError, match=r"size must be 16..1024 pixels, not 8"):
        clip(PLAIN)(3, 1, 8)
