"""The source `synthetic_colours`: plain pictures whose colour is a point of a known distribution, for toys.

In the plane of red and green, in units in which a channel goes from -1 to 1, a domain is a mixture of equal Gaussians.
With `data.size = 1` a picture is that point and nothing else, and networks that see single pixels are enough.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import Field

from transgan.api import DataError, Options, Sample, Source, UsageError
from transgan_images.shapes import completed, uniforms

#: How far the centres of a grid or a ring reach from the middle.
REACH = 0.8


@dataclass(frozen=True)
class Mixture:
    """Where the centres of a domain's Gaussians are, and how wide they are; checked."""

    grid: int = 1
    ring: int = 0
    centre: tuple[float, float] = (0.0, 0.0)
    spread: float | tuple[float, float] = 0.02
    turn: float = 0.0

    @classmethod
    def of(cls, selection: Any) -> "Mixture":
        """Return the mixture of a selection.

        Raises:
            UsageError: it is invalid.
        """
        grid, ring, centre, spread, turn = completed(selection, cls(), "{ grid = 5, spread = 0.02 }").values()
        for name, number, least in (("grid", grid, 1), ("ring", ring, 0)):
            if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= 100:
                raise UsageError(f"{name} = {number!r}: expected a whole number from {least} to 100")
        if ring and grid > 1:
            raise UsageError(f"grid = {grid} and ring = {ring}: expected one of them")
        if not (_is_pair(centre) and all(abs(each) <= 1 for each in centre)):
            raise UsageError(f"centre = {centre!r}: expected red and green from -1 to 1, such as [0.0, 0.5]")
        widths = spread if _is_pair(spread) else (spread, spread)
        if not (_is_pair(widths) and all(0 <= each <= 1 for each in widths)):
            raise UsageError(f"spread = {spread!r}: expected a number from 0 to 1, or two, one for each axis")
        if not _is_number(turn):
            raise UsageError(f"turn = {turn!r}: expected degrees")
        return cls(grid, ring, (float(centre[0]), float(centre[1])), (float(widths[0]), float(widths[1])), float(turn))

    @property
    def centres(self) -> np.ndarray:
        """Red and green of each centre, (K, 2)."""
        if self.ring:
            angles = 2 * math.pi * np.arange(self.ring) / self.ring
            around = REACH * np.stack([np.cos(angles), np.sin(angles)], 1)
        else:
            line = np.linspace(-REACH, REACH, self.grid) if self.grid > 1 else np.zeros(1)
            around = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2)
        centres: np.ndarray = around + np.array(self.centre)
        return centres

    def point(self, *key: object) -> tuple[int, np.ndarray]:
        """Return the number of a centre, and red and green of a point near it, (2,), that follow from the key."""
        which, first, second, *_ = uniforms("colour", *key)
        mode = int(which * len(self.centres))
        radius, angle = math.sqrt(-2 * math.log1p(-first)), 2 * math.pi * second  # Box and Muller (1958)
        offset = radius * np.array([math.cos(angle), math.sin(angle)]) * np.array(self.spread)
        cos, sin = math.cos(math.radians(self.turn)), math.sin(math.radians(self.turn))
        return mode, self.centres[mode] + np.array([[cos, -sin], [sin, cos]]) @ offset


@dataclass(frozen=True)
class Plain:
    """A plain picture; calling it with a side in pixels paints it."""

    red: float
    green: float

    def __call__(self, size: int) -> np.ndarray:
        """Return the picture as RGB uint8 (size, size, 3)."""
        colour = np.floor(127.5 * (np.clip([self.red, self.green, 0.0], -1, 1) + 1) + 0.5).astype(np.uint8)
        return np.broadcast_to(colour, (size, size, 3)).copy()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e6


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_number, value))


class ColoursOptions(Options):
    """Options of the source `synthetic_colours`."""

    count: int = Field(2000, ge=2, le=100_000)
    """Number of pictures of each domain."""
    seed: int = Field(0, ge=0)
    """Seed of the pictures; another seed gives others."""


class SyntheticColours(Source[ColoursOptions]):
    """Plain pictures whose red and green are drawn from a mixture of equal Gaussians; blue is in the middle.

    A domain is such a mixture, all keys optional: `middle = { spread = 0.3 }`, `many = { grid = 5, spread = 0.02 }`.
    Numbers are in units in which a channel goes from -1 to 1:

    - `grid`: 5 for 5 x 5 centres at equal distances, from -0.8 to 0.8 (default 1: one in the middle);
    - `ring`: 8 for 8 centres on a circle of the radius 0.8;
    - `centre`: the middle of all, `[red, green]` (default `[0.0, 0.0]`);
    - `spread`: the standard deviation of each Gaussian (default 0.02), or `[first, second]` of its two axes;
    - `turn`: by how many degrees these axes are turned (default 0).

    Pictures of different domains are independent. Colours are rounded to 256 levels, and those beyond -1 and 1 clipped.
    """

    reads_root = False
    card = "These pictures are made from numbers: plain colours. Figures on them are about the method."

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        """Return the pictures of a domain; the label `mode` is the number of the Gaussian, of several, as a text.

        Raises:
            DataError: there would be fewer pictures than Gaussians.
            UsageError: the selection is invalid.
        """
        mixture = Mixture.of(selection)
        if len(mixture.centres) > self.options.count:
            raise DataError(
                f"[domains] {domain}: {len(mixture.centres)} Gaussians and count = {self.options.count} pictures; "
                "choose a larger count"
            )
        found = []
        for index in range(self.options.count):
            mode, (red, green) = mixture.point(self.options.seed, domain, index)
            labels = {"mode": f"{mode}"} if len(mixture.centres) > 1 else {}
            found.append(Sample(f"{domain}-{index:06d}", Plain(float(red), float(green)), labels))
        return found
