"""The source `synthetic_shapes`: pictures of one shape each, of which every factor is known; they need no download.

A picture's content (kind of shape, place, size, angle, background) follows from the seed and the sample's number; a
domain says how the content is drawn (fill and hue). So the same number in two domains gives a pair, and whatever a
translation should keep or change can be read from the pictures again, see `factors`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from transgan.api import DataError, Options, Sample, Source, UsageError, did_you_mean

Array = npt.NDArray[np.floating]

#: Each kind of shape as a star: its number of points, and the ratio of inner to outer radius; None for the disc.
KINDS: dict[str, tuple[int, float] | None] = {
    "disc": None,
    "triangle": (3, math.cos(math.pi / 3)),
    "square": (4, math.cos(math.pi / 4)),
    "hexagon": (6, math.cos(math.pi / 6)),
    "star": (5, 0.52),
    "spark": (4, 0.48),
}
FILLS = ("filled", "outline", "striped", "dotted")
#: The smallest and the largest channel of a shape's colour, from 0 to 1; a shape without hue is grey of the smallest.
DARK, BRIGHT = 0.22, 0.92
#: No shape is nearer to the border than this; lengths are in units in which the picture goes from -1 to 1.
MARGIN = 0.12
#: The hue of further shapes, and the distance of their numbers from that of the shape beside them.
BLUE, OTHER = 2 / 3, 1_000_000
#: Points are rounded by this share of the radius.
ROUNDING = 0.08
LINE, STRIPE, STRIPES, DOT, DOTS = 0.11, 0.12, 0.27, 0.095, 0.32
"""Width of outlines; width and distance of stripes; radius and distance of dots."""


def uniforms(*parts: object) -> list[float]:
    """Return 16 numbers, uniform in [0, 1), that follow from the texts of the parts on every machine."""
    digest = blake2b("\0".join(map(str, parts)).encode()).digest()
    return [float(number) / 2**32 for number in np.frombuffer(digest, "<u4")]


@dataclass(frozen=True)
class Content:
    """What is the same in all domains."""

    kind: str
    """One of KINDS."""
    centre: tuple[float, float]
    """To the right and down; -1 and 1 are the borders."""
    radius: float
    """Distance of the outermost points from the centre, from 0.5 to 0.75."""
    angle: float
    """In radians, from 0 to 2 pi."""
    level: float
    """Grey level of the background in the middle of the picture, from 0.78 to 0.92, where 0 is black and 1 is white."""
    slope: tuple[float, float]
    """Change of the level from the middle to the right and to the lower border, together at most 0.05."""
    u: float
    """The style factor that domains share, uniform in [0, 1)."""

    @classmethod
    def of(cls, seed: int, index: int) -> "Content":
        """Return the content of a number."""
        kind, size, x, y, angle, level, steep, uphill, u, *_ = uniforms("content", seed, index)
        radius = 0.5 + 0.25 * size
        room = 1 - MARGIN - radius
        rise = 0.01 + 0.04 * steep
        return cls(
            kind=list(KINDS)[int(kind * len(KINDS))],
            centre=(room * (2 * x - 1), room * (2 * y - 1)),
            radius=radius,
            angle=2 * math.pi * angle,
            level=0.78 + 0.14 * level,
            slope=(rise * math.cos(2 * math.pi * uphill), rise * math.sin(2 * math.pi * uphill)),
            u=u,
        )


def quarters(seed: int, index: int, others: int) -> list[Content]:
    """Return the content of a number and as many others, at most three, half as large, each in a quarter of its own."""
    order = np.argsort(uniforms("quarters", seed, index)[:4])
    room = (1 - MARGIN) / 2
    shapes = []
    for number in range(others + 1):
        which, content = order[number], Content.of(seed, index + OTHER * number)
        radius = content.radius / 2
        # The place in the quarter is as far from its middle as that in the picture is from the picture's.
        free = (room - radius) / (1 - MARGIN - content.radius)
        corner = (-room if which % 2 else room), (-room if which < 2 else room)
        centre = (corner[0] + free * content.centre[0], corner[1] + free * content.centre[1])
        shapes.append(replace(content, radius=radius, centre=centre))
    return shapes


def colour(hue: float | None) -> tuple[float, float, float]:
    """Return red, green and blue from 0 to 1 of a hue from 0 to 1 (0 red, 1/3 green, 2/3 blue); None is dark grey."""
    if hue is None:
        return DARK, DARK, DARK
    red, green, blue = (min(max(abs((6 * hue + shift) % 6 - 3) - 1, 0.0), 1.0) for shift in (0, 4, 2))
    return DARK + (BRIGHT - DARK) * red, DARK + (BRIGHT - DARK) * green, DARK + (BRIGHT - DARK) * blue


def draw(
    content: Content, fill: str, hue: float | None, size: int, others: Sequence[Content] = ()
) -> npt.NDArray[np.uint8]:
    """Return a picture as RGB uint8 (size, size, 3); the composition is the same at every size.

    Args:
        content: what is drawn.
        fill: one of FILLS.
        hue: that of the shape, from 0 to 1, or None for dark grey.
        size: side in pixels, 16 to 1024.
        others: further shapes, which are filled and blue.

    Raises:
        ValueError: the size is out of range.
    """
    if not 16 <= size <= 1024:
        raise ValueError(f"size must be 16..1024 pixels, not {size}")
    line = (np.arange(size) + 0.5) * (2 / size) - 1
    x, y = line[None, :], line[:, None]
    background = content.level + content.slope[0] * x + content.slope[1] * y
    image = np.repeat(background[..., None], 3, 2)
    for each, its_fill, its_hue in ((content, fill, hue), *((other, "filled", BLUE) for other in others)):
        covered = covered_share(each, its_fill, x - each.centre[0], y - each.centre[1], 2 / size)[..., None]
        image = image * (1 - covered) + np.array(colour(its_hue)) * covered
    pixels: npt.NDArray[np.uint8] = np.floor(255 * image + 0.5).astype(np.uint8)
    return pixels


def covered_share(content: Content, fill: str, x: Array, y: Array, pixel: float) -> Array:
    """Return the share of each pixel that a shape covers, (H, W), from 0 to 1.

    Args:
        x: (1, W), to the right of the centre.
        y: (H, 1), below the centre.
        pixel: side of a pixel.
    """
    cos, sin = math.cos(content.angle), math.sin(content.angle)
    u, v = cos * x + sin * y, cos * y - sin * x
    outside = _distance(content, u, v)
    inside = _share(outside, pixel)
    if fill == "filled":
        return inside
    outline = _share(np.abs(outside + LINE / 2) - LINE / 2, pixel)
    if fill == "outline":
        return outline
    if fill == "striped":
        pattern = np.abs(_nearest(v, STRIPES)) - STRIPE / 2
    else:
        row = np.floor(v / DOTS + 0.5)
        pattern = np.sqrt(_nearest(u - 0.5 * DOTS * (row % 2), DOTS) ** 2 + _nearest(v, DOTS) ** 2) - DOT
    return np.maximum(outline, np.minimum(inside, _share(pattern, pixel)))


def _nearest(at: Array, period: float) -> Array:
    """Return the signed distance to the nearest multiple of a period."""
    signed: Array = at - period * np.floor(at / period + 0.5)
    return signed


def _share(distance: Array, pixel: float) -> Array:
    """Return the covered share of pixels whose centres are at a signed distance, negative inside, from an edge."""
    share: Array = np.clip(0.5 - distance / pixel, 0, 1)
    return share


def _distance(content: Content, u: Array, v: Array) -> Array:
    """Return the signed distance, negative inside, to the outline; u and v are relative to the centre and turned."""
    radius = content.radius
    from_centre = np.sqrt(u * u + v * v)
    if (star := KINDS[content.kind]) is None:
        disc: Array = from_centre - radius
        return disc
    points, ratio = star
    rounding = ROUNDING * radius
    # Symmetry leaves one edge: from a point of the star at (outer, 0) to the inner corner at half a sector from it.
    sector = math.pi / points
    directions = [2 * sector * k for k in range(points)]
    along = np.max([math.cos(each) * u + math.sin(each) * v for each in directions], axis=0)
    across = np.sqrt(np.maximum(from_centre * from_centre - along * along, 0))
    inner_x, inner_y = ratio * math.cos(sector), ratio * math.sin(sector)
    length = math.hypot(1 - inner_x, inner_y)
    outer = radius - rounding
    edge_x, edge_y = (inner_x - 1) / length, inner_y / length
    du, dv = along - outer, across
    at = np.clip(du * edge_x + dv * edge_y, 0, outer * length)
    distance = np.sqrt((du - at * edge_x) ** 2 + (dv - at * edge_y) ** 2)
    beyond = dv * edge_x - du * edge_y < 0
    signed: Array = np.where(beyond, distance, -distance) - rounding
    return signed


@dataclass(frozen=True)
class Shape:
    """A synthetic picture; calling it with a side in pixels draws it."""

    seed: int
    index: int
    fill: str
    hue: float | None
    others: int = 0

    @property
    def content(self) -> Content:
        """What is the same in all domains, of the shape that domains draw."""
        return self.contents[0]

    @property
    def contents(self) -> list[Content]:
        """The same of all shapes."""
        return quarters(self.seed, self.index, self.others) if self.others else [Content.of(self.seed, self.index)]

    def __call__(self, size: int) -> np.ndarray:
        """Return the picture as RGB uint8 (size, size, 3).

        Raises:
            DataError: the size is out of range.
        """
        try:
            content, *others = self.contents
            return draw(content, self.fill, self.hue, size, others)
        except ValueError as error:
            raise DataError(f"synthetic shape {self.index}: {error}") from None


@dataclass(frozen=True)
class Style:
    """How a domain draws: its selection, checked."""

    fill: str = "filled"
    hue: float | tuple[float, float] | None = None
    turn: float = 0.0
    free: bool = False
    part: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def of(cls, selection: Any) -> "Style":
        """Return the style of a selection.

        Raises:
            UsageError: it is invalid.
        """
        fill, hue, turn, free, part = completed(selection, cls(), '{ fill = "outline", hue = [0.0, 1.0] }').values()
        if fill not in FILLS:
            raise UsageError(f"fill = {fill!r}: expected one of {', '.join(FILLS)}")
        ranged = _is_range(hue) and hue[1] <= hue[0] + 1
        if not (hue is None or ranged or (_is_number(hue) and 0 <= hue <= 1)):
            raise UsageError(
                f"hue = {hue!r}: expected a number from 0 to 1, or a range [from, to], in which to exceeds from by at "
                "most 1"
            )
        if not _is_number(turn):
            raise UsageError(f"turn = {turn!r}: expected a number, which is added to u")
        if not isinstance(free, bool):
            raise UsageError(f"free = {free!r}: expected true or false")
        if (turn or free) and not ranged:
            raise UsageError(f"{'turn' if turn else 'free'} needs a range of hues, such as hue = [0.0, 1.0]")
        if not _is_range(part) or part[0] < 0 or part[1] > 1:
            raise UsageError(f"part = {part!r}: expected two shares of the pictures, such as [0.0, 0.5]")
        if ranged:
            hue = (float(hue[0]), float(hue[1]))
        return cls(fill, hue, float(turn), free, (part[0], part[1]))

    def shape(self, seed: int, index: int) -> Shape:
        """Return the picture of a number."""
        if not isinstance(self.hue, tuple):
            return Shape(seed, index, self.fill, None if self.hue is None else float(self.hue % 1))
        low, high = self.hue
        u = uniforms("style", seed, index, self.fill, low, high)[0] if self.free else Content.of(seed, index).u
        return Shape(seed, index, self.fill, (low + (u + self.turn) % 1 * (high - low)) % 1)


def completed(selection: Any, defaults: Any, example: str) -> dict[str, Any]:
    """Return a selection, a table, with the fields of a dataclass that it omits, in the order of the fields.

    Args:
        example: a selection, for the message.

    Raises:
        UsageError: it is no table, or has a key that is none of the fields.
    """
    if not isinstance(selection, Mapping):
        raise UsageError(f"found {selection!r}; expected a table such as {example}")
    known = vars(defaults)
    if unknown := [key for key in selection if key not in known]:
        raise UsageError(f"unknown key '{unknown[0]}'. {did_you_mean(unknown[0], known)}")
    return {**known, **selection}


def in_part(part: tuple[float, float], count: int, domain: str, what: str) -> range:
    """Return the numbers, of `count`, that are in a part, which is two shares.

    Args:
        what: what the numbers are of, for the message.

    Raises:
        DataError: there are none.
    """
    first, last = (round(share * count) for share in part)
    if first == last:
        raise DataError(
            f"[domains] {domain}: part = {list(part)} of count = {count} is no {what}; choose a larger part or count"
        )
    return range(first, last)


def _is_range(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_number, value)) and value[0] < value[1]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e6


class ShapesOptions(Options):
    """Options of the source `synthetic_shapes`."""

    count: int = Field(2000, ge=2, le=100_000)
    """Number of pictures; a domain has all of them, unless it chooses a `part`."""
    seed: int = Field(0, ge=0)
    """Seed of the pictures; another seed gives unrelated ones."""
    others: int = Field(0, ge=0, le=3)
    """Further shapes in each picture, filled and blue, which are the same in all domains (0 to 3); with any, all shapes
    are half as large."""


class SyntheticShapes(Source[ShapesOptions]):
    """Pictures of one shape each, with known factors, made from numbers; each has an exact counterpart in every domain.

    All domains have the same contents under the same names: kind of shape, place, size, angle, and background. A domain
    says how they are drawn, all keys optional: `sketch = { fill = "outline" }`,
    `painting = { fill = "striped", hue = [0.0, 1.0], free = true }`.

    - `fill`: `"filled"` (default), `"outline"`, `"striped"` or `"dotted"`;
    - `hue`: `0.3`, the hue of all shapes (0 red, 1/3 green, 2/3 blue), or a range `[from, to]`: then a shape's hue is
      from + u (to - from) with its style factor u, uniform in [0, 1). Without `hue` shapes are dark grey;
    - `turn`: u + turn, modulo 1, in place of u (default 0): with `hue = [0.0, 1.0]` in two domains and a `turn` in one
      of them, hues are distributed alike, and only pairs show which hue becomes which;
    - `free`: `true` for u of the domain's own, which cannot be predicted from the same content in other domains;
      `false` (default) for the u that all such domains share;
    - `part`: the share of the pictures that the domain has, such as `[0.0, 0.6]` (default all): domains with parts that
      do not overlap have no content in common.
    """

    reads_root = False
    card = "These pictures are made from numbers: simple shapes in one colour. Figures on them are about the method."

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        """Return the pictures of a domain; labels are `shape`, `fill` and, where shapes are coloured, `hue`.

        Args:
            domain: the domain's name, for messages.
            selection: a table with any of `fill`, `hue`, `turn`, `free` and `part`.

        Raises:
            DataError: the part is empty.
            UsageError: the selection is invalid.
        """
        style = Style.of(selection)
        return [self._sample(style, index) for index in in_part(style.part, self.options.count, domain, "picture")]

    def counterpart(self, sample: Sample, source: Any, target: Any) -> Sample | None:
        """Return the same content as the target domain draws it; with a `free` target, with that domain's own hue."""
        return self._sample(Style.of(target), sample.location.index)

    def _sample(self, style: Style, index: int) -> Sample:
        shape = replace(style.shape(self.options.seed, index), others=self.options.others)
        labels = {"shape": shape.content.kind, "fill": shape.fill}
        hue = {} if shape.hue is None else {"hue": shape.hue}
        # The split into training and held-out samples hashes the keys: another prefix would change every split.
        return Sample(f"shape-{index:06d}", shape, {**labels, **hue})
