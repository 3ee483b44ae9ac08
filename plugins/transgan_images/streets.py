"""The source `synthetic_streets`: label maps, instance maps and pictures of streets that follow from them exactly."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from transgan.api import DataError, Options, Sample, Source, UsageError
from transgan_images.shapes import uniforms

Numbers = npt.NDArray[np.int32]

CLASSES = ("sky", "road", "pavement", "wall", "tree", "fence", "car", "roof")
"""The names of classes, by their numbers."""
SKY, ROAD, PAVEMENT, WALL, TREE, FENCE, CAR, ROOF = range(len(CLASSES))
KINDS = ("labels", "instances", "picture")
#: Units of the fine structure along the width of a picture: a picture this wide has one for each pixel.
UNITS = 128
#: Numbers of instances are the class times this, and a count; those of classes without instances are the class.
PER_CLASS = 1000

#: The two colours of each class's structure, from 0 to 255.
COLOURS: dict[int, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    SKY: ((150, 190, 230), (150, 190, 230)),
    ROAD: ((88, 88, 92), (112, 112, 116)),
    PAVEMENT: ((170, 160, 150), (120, 112, 104)),
    WALL: ((178, 92, 70), (236, 220, 200)),
    TREE: ((30, 96, 36), (116, 176, 64)),
    FENCE: ((70, 50, 34), (226, 214, 190)),
    CAR: ((196, 30, 40), (40, 40, 60)),
    ROOF: ((96, 50, 44), (60, 32, 30)),
}
#: The colour of seams between instances.
SEAM = (20, 20, 24)


@dataclass(frozen=True)
class Street:
    """A street: a map or a picture; calling it with its width draws it."""

    seed: int
    index: int
    kind: Literal["labels", "instances", "picture"]

    def __call__(self, size: int) -> np.ndarray:
        """Return the labels or the instances, (size / 2, size) int32, or the picture, (H, W, 3) uint8.

        A picture is drawn at least 128 wide, so that fine structure is reduced as that of a photograph is.

        Raises:
            DataError: the size is out of range.
        """
        if not 16 <= size <= 4096:
            raise DataError(f"synthetic street {self.index}: a size of 16 to 4096 pixels is possible, not {size}")
        if self.kind == "picture":
            return picture(*maps(self.seed, self.index, size * -(-UNITS // size)))
        return maps(self.seed, self.index, size)[KINDS.index(self.kind)]


def maps(seed: int, index: int, width: int) -> tuple[Numbers, Numbers]:
    """Return the labels and the instances of a street, (width / 2, width) each."""
    height = width // 2
    # To the right from 0 to 2 and down from 0 to 1, at the middle of each pixel.
    x, y = (np.arange(width) + 0.5)[None, :] * (2 / width), (np.arange(height) + 0.5)[:, None] / height
    random = iter([n for part in range(6) for n in uniforms("street", seed, index, part)])

    def between(low: float, high: float) -> float:
        return low + (high - low) * next(random)

    labels = np.full((height, width), SKY, np.int32)
    instances = labels.copy()
    counts = dict.fromkeys(range(len(CLASSES)), 0)

    def put(where: Any, label: int, counted: bool = True) -> None:
        labels[where] = label
        instances[where] = PER_CLASS * label + counts[label] if counted else label
        counts[label] += counted

    horizon, kerb = between(0.5, 0.6), between(0.66, 0.74)
    put((y >= horizon) & (x >= 0), PAVEMENT, counted=False)
    put((y >= kerb) & (x >= 0), ROAD, counted=False)
    left = between(-0.3, 0.0)
    while left < 2:
        wide, top = between(0.3, 0.65), between(0.08, 0.34)
        inside = (x >= left) & (x < left + wide)
        put(inside & (y >= top) & (y < horizon), WALL)
        slope = np.abs(x - left - wide / 2) / wide
        put(inside & (y < top) & (y >= top - 0.16 * (1 - 2 * slope)), ROOF)
        left += wide + (between(0.1, 0.25) if next(random) < 0.3 else 0.0)
    left = between(-0.2, 0.6)
    put((x >= left) & (x < left + between(0.3, 0.8)) & (y >= horizon - between(0.08, 0.14)) & (y < horizon), FENCE)
    for _ in range(2):
        centre, middle, radius = between(0, 2), between(0.24, 0.36), between(0.1, 0.17)
        put((np.abs(x - centre) < 0.025) & (y >= middle) & (y < horizon + 0.03), TREE)
        put((x - centre) ** 2 + (y - middle) ** 2 < radius**2, TREE, counted=False)
        instances[(labels == TREE) & (instances == TREE)] = PER_CLASS * TREE + counts[TREE] - 1
    for _ in range(1 + int(next(random) < 0.6)):
        left, wheel, wide = between(0.0, 1.7), between(0.8, 0.95), between(0.25, 0.4)
        put((x >= left) & (x < left + wide) & (y >= wheel - 0.12) & (y < wheel), CAR)
        cabin = (x >= left + 0.2 * wide) & (x < left + 0.8 * wide) & (y >= wheel - 0.2) & (y < wheel - 0.12)
        labels[cabin], instances[cabin] = CAR, PER_CLASS * CAR + counts[CAR] - 1
    return labels, instances


def picture(labels: Numbers, instances: Numbers) -> npt.NDArray[np.uint8]:
    """Return the picture (H, W, 3) of two maps (H, W): every class has a structure, and instances have seams.

    Structures repeat themselves every 2 to 8 units of which the width has 128: finer than a picture of half the size
    can show.
    """
    height, width = labels.shape
    unit = width / UNITS
    u, v = ((np.arange(n) / unit).astype(np.int32) for n in (width, height))
    u, v = u[None, :], v[:, None]
    second = {  # where a class has its second colour
        SKY: (u + v) < 0,
        ROAD: (u + 2 * v) % 4 == 0,
        PAVEMENT: ((u % 8) == 0) | ((v % 4) == 0),
        WALL: ((u % 8) < 3) & ((v % 6) < 3) | ((v % 6) == 4),
        TREE: (u // 2 + v // 2) % 2 == 0,
        FENCE: (u % 4) < 2,
        CAR: (u + v) % 4 < 2,
        ROOF: (v % 2) == 0,
    }
    image = np.zeros((height, width, 3), np.uint8)
    for label, (one, other) in COLOURS.items():
        drawn = np.where(np.broadcast_to(second[label], labels.shape)[..., None], other, one)
        image = np.where((labels == label)[..., None], drawn, image).astype(np.uint8)
    seam = np.zeros(labels.shape, bool)
    across, down = instances[:, 1:] != instances[:, :-1], instances[1:] != instances[:-1]
    seam[:, 1:] |= across
    seam[1:] |= down
    image[seam] = SEAM
    return image


class StreetsOptions(Options):
    """Options of the source `synthetic_streets`."""

    count: int = Field(400, ge=2, le=100_000)
    """Number of streets."""
    seed: int = Field(0, ge=0)
    """Seed of the streets; another seed gives unrelated ones."""


class SyntheticStreets(Source[StreetsOptions]):
    """Streets of eight classes, twice as wide as high: label maps, instance maps, and pictures that follow from both.

    A domain, or a further input, is one of `"labels"`, `"instances"` and `"picture"`; the same number is the same
    street. Every class has a structure of its own, of 2 to 8 pixels where pictures are 128 wide, and the borders of
    instances have seams, so that a picture follows exactly from its two maps, and its details show at what size a
    model works. The media `label_map` with `classes = 8` and `instance_boundaries` read the maps. Structures lie on
    one grid: `flip = false` keeps them on it.
    """

    reads_root = False
    card = "These pictures are made from numbers: streets of eight classes. Figures on them are about the method."

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        """Return the streets as one of the three kinds.

        Raises:
            UsageError: the selection is another.
        """
        if selection not in KINDS:
            raise UsageError(f"found {selection!r}; expected one of {', '.join(map(repr, KINDS))}")
        return [self._sample(index, selection) for index in range(self.options.count)]

    def counterpart(self, sample: Sample, source: Any, target: Any) -> Sample | None:
        """Return the same street as the other kind."""
        return self._sample(sample.location.index, target)

    def _sample(self, index: int, kind: Any) -> Sample:
        return Sample(f"street-{index:06d}", Street(self.options.seed, index, kind))
