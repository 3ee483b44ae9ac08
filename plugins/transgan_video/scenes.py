"""The source `synthetic_scenes`: clips of moving shapes whose motion is known; they need no download.

What moves, and how, follows from the seed and the number of the scene; a domain says how it is drawn. So the same
number in two domains gives two clips that are true translations of each other, frame by frame.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import Field
from transgan_images.shapes import BRIGHT, Content, Style, colour, covered_share, in_part, uniforms

from transgan.api import DataError, Options, Sample, Source, UsageError

#: Grey levels, from 0 to 1, of each kind of ground: in the middle, and the amplitude of the waves on it.
GROUNDS = {"light": (0.82, 0.0), "waves": (0.68, 0.12), "dark": (0.28, 0.14)}
#: Number of shapes of a scene, at least and at most.
FEWEST, MOST = 2, 3
#: Centres of shapes bounce off walls at this distance from the middle; the view is from -1 to 1.
WALL = 0.75
#: Speed of shapes, slowest and fastest, and of the camera, at most, in units of half a picture for each frame.
SLOW, FAST, DRIFT = 0.05, 0.12, 0.03
#: Turn of a shape for each frame, at most, in radians.
SPIN = 0.12


@dataclass(frozen=True)
class Body:
    """A moving shape."""

    shape: Content
    """The shape, at frame 0."""
    velocity: tuple[float, float]
    """To the right and down, for each frame."""
    spin: float
    """Radians for each frame."""

    def at(self, frame: float) -> Content:
        """Return the shape at a frame: moved, bounced off the walls, and turned."""
        x, y = (_bounced(at + frame * speed) for at, speed in zip(self.shape.centre, self.velocity, strict=True))
        return replace(self.shape, centre=(x, y), angle=self.shape.angle + frame * self.spin)


def _bounced(at: float) -> float:
    """Return where something is between two walls that would be at a place without them."""
    return WALL - abs((at + WALL) % (4 * WALL) - 2 * WALL)


@dataclass(frozen=True)
class Scene:
    """What is the same in all domains."""

    bodies: tuple[Body, ...]
    """Those behind first."""
    drift: tuple[float, float]
    """How far the camera goes to the right and down for each frame; what it sees goes the other way."""
    phase: tuple[float, float]
    """Of the waves on the ground, in periods."""

    @staticmethod
    @lru_cache(4096)
    def of(seed: int, index: int) -> "Scene":
        """Return the scene of a number; it begins with the camera in the middle."""
        count, drift, towards, *phase = uniforms("scene", seed, index)[:5]
        bodies = []
        for number in range(FEWEST + int(count * (MOST - FEWEST + 1))):
            x, y, size, speed, direction, spin = uniforms("body", seed, index, number)[:6]
            shape = Content.of(seed, 100_000 * (number + 1) + index)
            shape = replace(shape, centre=(WALL * (2 * x - 1), WALL * (2 * y - 1)), radius=0.28 + 0.2 * size)
            speed, direction = SLOW + (FAST - SLOW) * speed, 2 * math.pi * direction
            velocity = (speed * math.cos(direction), speed * math.sin(direction))
            bodies.append(Body(shape, velocity, SPIN * (2 * spin - 1)))
        drift, towards = DRIFT * drift, 2 * math.pi * towards
        at = (drift * math.cos(towards), drift * math.sin(towards))
        return Scene(tuple(bodies), at, (phase[0], phase[1]))


@dataclass(frozen=True)
class SceneStyle:
    """How a domain draws: its selection, checked."""

    shape: Style
    ground: str = "light"
    flicker: float = 0.0

    @classmethod
    def of(cls, selection: Any) -> "SceneStyle":
        """Return the style of a selection.

        Raises:
            UsageError: it is invalid.
        """
        if not isinstance(selection, Mapping):
            raise UsageError(f'found {selection!r}; expected a table such as {{ fill = "striped", ground = "dark" }}')
        ground = selection.get("ground", "light")
        if ground not in GROUNDS:
            raise UsageError(f"ground = {ground!r}: expected one of {', '.join(GROUNDS)}")
        flicker = selection.get("flicker", 0.0)
        if isinstance(flicker, bool) or not isinstance(flicker, (int, float)) or not 0 <= flicker <= 1:
            raise UsageError(f"flicker = {flicker!r}: expected a number from 0 to 1")
        drawn = {key: value for key, value in selection.items() if key not in ("ground", "flicker")}
        return cls(Style.of(drawn), ground, float(flicker))

    def hue(self, body: Body, clip: "SceneClip", number: int) -> float | None:
        """Return the hue of a scene's body, which it has in all frames; None for dark grey."""
        if not isinstance(self.shape.hue, tuple):
            return self.shape.hue
        low, high = self.shape.hue
        u = uniforms("style", clip.seed, clip.index, number, low, high)[0] if self.shape.free else body.shape.u
        return (low + (u + self.shape.turn) % 1 * (high - low)) % 1


@dataclass(frozen=True)
class SceneClip:
    """A synthetic clip; calling it with a number of frames, a step and a side in pixels draws it."""

    seed: int
    index: int
    style: SceneStyle

    @property
    def scene(self) -> Scene:
        """What is the same in all domains."""
        return Scene.of(self.seed, self.index)

    def __call__(self, frames: int, step: int, size: int) -> np.ndarray:
        """Return the frames as RGB uint8 (frames, size, size, 3).

        Raises:
            DataError: the size is out of range.
        """
        if not 16 <= size <= 1024:
            raise DataError(f"synthetic scene {self.index}: size must be 16..1024 pixels, not {size}")
        return np.stack([self.frame(step * number, size) for number in range(frames)])

    def frame(self, frame: float, size: int) -> np.ndarray:
        """Return a single frame, (size, size, 3) uint8, at any time, in frames."""
        scene, style = self.scene, self.style
        line = (np.arange(size) + 0.5) * (2 / size) - 1
        x, y = (at + frame * drift for at, drift in zip((line[None, :], line[:, None]), scene.drift, strict=True))
        middle, waves = GROUNDS[style.ground]
        pattern = np.sin(2 * np.pi * (0.9 * x + 0.4 * y + scene.phase[0])) * np.sin(
            2 * np.pi * (0.8 * y - 0.3 * x + scene.phase[1])
        )
        image = (middle + waves * pattern)[..., None] * np.ones(3)
        for number, body in enumerate(scene.bodies):
            now = body.at(frame)
            covered = covered_share(now, style.shape.fill, x - now.centre[0], y - now.centre[1], 2 / size)[..., None]
            image = image * (1 - covered) + np.array(colour(style.hue(body, self, number))) * covered
        if style.flicker:
            image = image * self._light(frame, line)[..., None]
        most = 1 if style.flicker else max(BRIGHT, middle + waves)
        pixels: np.ndarray = np.floor(255 * image.clip(0, most) + 0.5).astype(np.uint8)
        return pixels

    def _light(self, frame: float, line: np.ndarray) -> np.ndarray:
        """Return the light at each pixel, 1 in the middle: it rises towards a side, both drawn anew for each frame."""
        side, rise = uniforms("light", self.seed, self.index, round(1000 * frame))[:2]
        across = math.cos(2 * math.pi * side) * line[None, :] + math.sin(2 * math.pi * side) * line[:, None]
        return 1 + self.style.flicker * rise * across


class ScenesOptions(Options):
    """Options of the source `synthetic_scenes`."""

    count: int = Field(400, ge=2, le=100_000)
    """Number of scenes; a domain has all of them, unless it chooses a `part`."""
    seed: int = Field(0, ge=0)
    """Seed of the scenes; another seed gives unrelated ones."""


class SyntheticScenes(Source[ScenesOptions]):
    """Clips of two or three shapes that move, turn and bounce before a camera that drifts, made from numbers.

    All domains have the same scenes under the same names, so that each clip has an exact counterpart in every domain. A
    domain says how they are drawn, as those of `synthetic_shapes`: `fill`, `hue`, `turn`, `free` and `part`; besides,
    `ground` is `"light"` (default), `"waves"` or `"dark"`, the latter two with a pattern that the camera passes by. A
    shape keeps its hue: `plain = { hue = [0.0, 0.5] }`, `woven = { fill = "striped", ground = "dark" }`. `flicker` (0
    to 1, default 0) is an unsteady light: brighter towards one side and darker towards the other, by up to this share
    half a picture from the middle; the side and by how much are drawn anew for each frame.
    """

    reads_root = False
    card = "These clips are made from numbers: moving shapes in plain colours. Figures on them are about the method."

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        """Return the clips of a domain.

        Args:
            domain: the domain's name, for messages.
            selection: a table with any of `fill`, `hue`, `turn`, `free`, `part`, `ground` and `flicker`.

        Raises:
            DataError: the part is empty.
            UsageError: the selection is invalid.
        """
        style = SceneStyle.of(selection)
        part = in_part(style.shape.part, self.options.count, domain, "scene")
        return [self._sample(style, index) for index in part]

    def counterpart(self, sample: Sample, source: Any, target: Any) -> Sample | None:
        """Return the same scene as the target domain draws it; with a `free` target, with that domain's own hues."""
        return self._sample(SceneStyle.of(target), sample.location.index)

    def _sample(self, style: SceneStyle, index: int) -> Sample:
        # The part is no property of a clip: the same scene is the same clip, whatever else a domain has.
        style = replace(style, shape=replace(style.shape, part=(0.0, 1.0)))
        return Sample(f"scene-{index:06d}", SceneClip(self.options.seed, index, style))
