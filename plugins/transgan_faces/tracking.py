"""Faces followed through the frames of a clip: squares that move smoothly, and stay where a detector misses a face."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from transgan_faces.detection import Face
from transgan_faces.pasting import Square

#: A detection continues a track if its center is within REACH sides of the track's square, its side at most RATIO times
#: larger or smaller, and its angle within TURN radians.
REACH, RATIO, TURN = 0.5, 1.6, 0.8
#: Two faces are at least this many sides apart.
APART = 0.8
#: How much of its motion a face that is not detected keeps from one frame to the next.
DAMPING = 0.7
#: A face that is not detected is still there if what its square shows differs from what it showed by at most this mean
#: absolute difference, on a grid of CELLS on a side: 20 levels of 8 bits.
SAME, CELLS = 20 / 127.5, 16


@dataclass
class Track:
    """A face through the frames of a clip.

    Position, logarithm of the side, and angle of its square follow detections through a g-h filter: a steady-state
    Kalman filter of constant velocity (Benedict & Bordner, 1962), which does not lag behind steady motion.
    """

    number: int
    face: Face
    state: np.ndarray
    """x, y, logarithm of the side, angle."""
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(4))
    """Change of the state from frame to frame."""
    missed: int = 0
    """Frames since the last detection."""
    length: int = 1
    """Frames with a detection."""
    shown: Tensor | None = None
    """What the square showed at the last detection, (C, CELLS, CELLS)."""

    @classmethod
    def begin(cls, number: int, face: Face) -> "Track":
        return cls(number, face, _state(face.square))

    def predict(self) -> None:
        """Move on by a frame."""
        if self.missed:
            self.velocity = self.velocity * DAMPING
        self.state = self.state + self.velocity

    def correct(self, face: Face, gain: float) -> None:
        """Take a detection into account."""
        residual = _state(face.square) - self.state
        residual[3] = math.remainder(residual[3], 2 * math.pi)
        # With its first measurements a filter of constant gain would take a long time to find the velocity.
        g = max(gain, 2 / (self.length + 2))
        self.state = self.state + g * residual
        self.velocity = self.velocity + g * g / (2 - g) * residual
        self.face, self.missed, self.length = face, 0, self.length + 1

    @property
    def square(self) -> Square:
        x, y, side, angle = map(float, self.state)
        return Square(x, y, max(math.exp(side), 1.0), angle)

    @property
    def smoothed(self) -> Face:
        """The face, with its box and square where the track is."""
        square, old = self.square, self.face.square
        scale = square.side / old.side
        left, top, width, height = self.face.box
        middle = (left + width / 2 - old.x) * scale + square.x, (top + height / 2 - old.y) * scale + square.y
        box = middle[0] - width * scale / 2, middle[1] - height * scale / 2, width * scale, height * scale
        return replace(self.face, box=box, square=square)

    def distance(self, face: Face) -> float:
        """Return how far a detection is from where the track is, as a share of what is possible: above 1 is another."""
        mine, its = self.square, face.square
        turn = abs(math.remainder(its.angle - mine.angle, 2 * math.pi))
        return max(
            math.hypot(its.x - mine.x, its.y - mine.y) / (REACH * max(mine.side, its.side)),
            abs(math.log(its.side / mine.side)) / math.log(RATIO),
            turn / TURN,
        )


def _state(square: Square) -> np.ndarray:
    return np.array([square.x, square.y, math.log(square.side), square.angle])


class Tracker:
    """Follows faces through the frames of a clip.

    Args:
        smoothing: from 0, squares as detected, to below 1.
        bridge: for how many frames in a row a face is kept that is not detected.
    """

    def __init__(self, smoothing: float, bridge: int):
        self.gain = 1 - smoothing
        self.bridge = bridge
        self.tracks: list[Track] = []
        self.begun = 0

    def update(self, x: Tensor, detected: Sequence[Face], min_extent: float) -> list[Track]:
        """Return the tracks of the next frame, the largest face first.

        Args:
            x: the frame, (C, H, W) in [-1, 1].
            detected: its faces; those that begin a track have at least `min_extent`.
        """
        for track in self.tracks:
            track.predict()
        new = self._match(detected)
        kept = []
        for track in self.tracks:
            seen = _reduced(x, track.square)
            if not track.missed:
                track.shown = seen
                kept.append(track)
            elif track.missed <= self.bridge and _difference(seen, track.shown) <= SAME:
                kept.append(track)
        for face in new:
            kept = [each for each in kept if not each.missed or not _overlap(each.square, face.square)]
            if face.extent >= min_extent:
                self.begun += 1
                kept.append(Track.begin(self.begun, face))
                kept[-1].shown = _reduced(x, face.square)
        # Of faces of about the same size the one that was the largest stays it.
        first = self.tracks[0].number if self.tracks else None
        self.tracks = sorted(kept, key=lambda track: -track.smoothed.extent * (1.2 if track.number == first else 1.0))
        return self.tracks

    def _match(self, detected: Sequence[Face]) -> list[Face]:
        """Give each track the detection that is nearest to it, the nearest pair first; return those that are left."""
        pairs = sorted(
            (track.distance(face), i, j)
            for i, track in enumerate(self.tracks)
            for j, face in enumerate(detected)
            if track.distance(face) <= 1
        )
        tracks, faces = set(range(len(self.tracks))), set(range(len(detected)))
        for _, i, j in pairs:
            if i in tracks and j in faces:
                self.tracks[i].correct(detected[j], self.gain)
                tracks.remove(i)
                faces.remove(j)
        for i in tracks:
            self.tracks[i].missed += 1
        return [detected[j] for j in sorted(faces)]


def _overlap(one: Square, other: Square) -> bool:
    """Return whether two squares are too near to each other to be two faces."""
    return math.hypot(one.x - other.x, one.y - other.y) < APART * max(one.side, other.side)


def _difference(one: Tensor, other: Tensor | None) -> float:
    return math.inf if other is None else float((one - other).abs().mean())


def _reduced(x: Tensor, square: Square) -> Tensor:
    """Return what a square of a frame shows, reduced to (C, CELLS, CELLS)."""
    positions = (torch.arange(4 * CELLS) + 0.5) / (4 * CELLS) - 0.5
    right, down = square.to_image(positions[None, :], positions[:, None])
    grid = torch.stack([2 * right / x.shape[-1] - 1, 2 * down / x.shape[-2] - 1], -1)
    sampled = F.grid_sample(x[None], grid[None], padding_mode="border", align_corners=False)
    return F.avg_pool2d(sampled[0], 4)


@dataclass(frozen=True)
class Jitter:
    """How much squares jump from frame to frame: root mean squares of second differences, shares of the side."""

    center: float
    side: float
    angle: float
    """In degrees."""

    @classmethod
    def of(cls, squares: Sequence[Square]) -> "Jitter":
        """Return the jitter of the squares of one face in adjacent frames, 3 or more.

        Steady motion has none: second differences are what is left of it.
        """
        states = np.array([_state(each) for each in squares])
        states[:, 3] = np.unwrap(states[:, 3])
        jumps = np.diff(states, n=2, axis=0)
        size = np.exp(states[1:-1, 2])
        center = np.hypot(jumps[:, 0], jumps[:, 1]) / size
        return cls(
            *(float(np.sqrt(np.mean(np.square(each)))) for each in (center, jumps[:, 2], np.degrees(jumps[:, 3])))
        )


def badge(x: Tensor, text: str) -> Tensor:
    """Return a frame (C, H, W) with a small line of text in its lower right corner, white on a dark ground."""
    height, width = x.shape[-2:]
    font = ImageFont.load_default(size=max(8.0, 0.026 * min(height, width)))
    x0, y0, x1, y1 = font.getbbox(text)
    pad = max(2, round((y1 - y0) * 0.35))
    size = (min(width, round(x1 - x0) + 2 * pad), min(height, round(y1 - y0) + 2 * pad))
    label = Image.new("L", size, 0)
    ImageDraw.Draw(label).text((pad - x0, pad - y0), text, fill=255, font=font)
    letters = torch.from_numpy(np.array(label)).to(x) / 255
    y = x.clone()
    margin = pad if height > size[1] + pad and width > size[0] + pad else 0
    place = (
        slice(None),
        slice(height - size[1] - margin, height - margin),
        slice(width - size[0] - margin, width - margin),
    )
    ground = 0.3 * y[place] - 0.7
    y[place] = ground + 0.8 * letters * (1 - ground)
    return y
