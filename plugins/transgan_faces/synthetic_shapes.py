"""Primitives of synthetic faces: signed distances, strokes and textures on a pixel grid, antialiased analytically.

Lengths are in *face units*: the head is about one unit wide, and v points down. *Screen units* run from -1 to 1 over
the image. Every primitive is evaluated at the pixel centers of the requested size, so an image has the same composition
at every size.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]  # float32 everywhere
Box = tuple[slice, slice]
RGB = tuple[float, float, float]


@lru_cache(maxsize=8)
def grid(size: int) -> tuple[Array, Array]:
    """Return the screen coordinates x and y of the pixel centers, each (size, size) in -1..1; cached and read-only."""
    line = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - np.float32(1)
    x, y = np.meshgrid(line, line)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


def coverage(distance: Array, pixel: float) -> Array:
    """Return the coverage 0..1 of pixels at a signed distance (negative inside) from an edge, blurred over `pixel`."""
    t: Array = distance * (-1 / pixel)
    t += 0.5
    return np.minimum(np.maximum(t, 0.0, out=t), 1.0, out=t)


def smoothstep(value: Array, start: float, stop: float) -> Array:
    """Return 0 up to `start`, 1 from `stop` on, and a cubic Hermite curve between; `stop` may be below `start`."""
    t: Array = value - start
    t *= 1 / (stop - start)
    np.minimum(np.maximum(t, 0.0, out=t), 1.0, out=t)
    smooth = t * -2
    smooth += 3
    smooth *= t
    smooth *= t
    return smooth


def ellipse(u: Array, v: Array, center: tuple[float, float], radii: tuple[float, float]) -> Array:
    """Return the approximate signed distance to an ellipse with axes of similar length."""
    a: Array = (u - center[0]) * (1 / radii[0])
    b: Array = (v - center[1]) * (1 / radii[1])
    a *= a
    b *= b
    a += b
    np.sqrt(a, out=a)
    a -= 1
    a *= math.sqrt(radii[0] * radii[1])
    return a


def rounded_box(u: Array, v: Array, center: tuple[float, float], half: tuple[float, float], corner: float) -> Array:
    """Return the signed distance to a box of half sizes `half` whose corners are rounded with radius `corner`."""
    a, b = np.abs(u - center[0]) - (half[0] - corner), np.abs(v - center[1]) - (half[1] - corner)
    distance: Array = np.sqrt(np.maximum(a, 0) ** 2 + np.maximum(b, 0) ** 2)
    distance += np.minimum(np.maximum(a, b), 0)
    distance -= corner
    return distance


def smooth_union(a: Array, b: Array, soft: float) -> Array:
    """Return the union of two signed distances, with the seam rounded over `soft`."""
    h = np.maximum(soft - np.abs(a - b), 0)
    return np.minimum(a, b) - h * h * (0.25 / soft)


def smooth_intersection(a: Array, b: Array, soft: float) -> Array:
    """Return the intersection of two signed distances, with the edge rounded over `soft`."""
    h = np.maximum(soft - np.abs(a - b), 0)
    return np.maximum(a, b) + h * h * (0.25 / soft)


def mix(a: RGB, b: RGB, amount: float) -> RGB:
    """Return the linear interpolation from color `a` (`amount` 0) to color `b` (`amount` 1)."""
    return (a[0] + (b[0] - a[0]) * amount, a[1] + (b[1] - a[1]) * amount, a[2] + (b[2] - a[2]) * amount)


def gradient_color(stops: tuple[RGB, ...], position: float) -> RGB:
    """Return the color at `position`, 0..1, of a gradient with evenly spaced `stops`."""
    place = min(max(position, 0.0), 1.0) * (len(stops) - 1)
    first = min(int(place), len(stops) - 2)
    return mix(stops[first], stops[first + 1], place - first)


def broadcast_color(color: RGB, gain: float = 1.0) -> Array:
    """Return a color times `gain` as an array (3, 1, 1), which broadcasts over an image."""
    return np.array(color, dtype=np.float32).reshape(3, 1, 1) * np.float32(gain)


def pseudo_random(phase: float, index: int) -> float:
    """Return a pseudo-random number in 0..1: a pure function of `phase` and `index`."""
    return math.modf(abs(math.sin(phase * 12.9898 + index * 78.233) * 43758.5453))[0]


EVERYWHERE: Box = (slice(None), slice(None))


def blend(image: Array, box: Box, mask: Array, color: Array | RGB) -> None:
    """Alpha-blend a color, one or an array (3, h, w), over `image[:, box]` in place; `mask` (h, w) is the opacity."""
    target = image[:, box[0], box[1]]
    change = (broadcast_color(color) if isinstance(color, tuple) else color) - target
    change *= mask
    target += change


@dataclass(frozen=True)
class FaceCoordinates:
    """Coordinates of every pixel in face units, (size, size) each, and the way back from coordinates to pixels."""

    size: int
    u: Array
    """Right of the head's middle line."""
    v: Array
    """Below the head's middle."""
    f: Array
    """`u` of facial features, which the yaw shifts."""
    a: Array
    """|f|: a shape in `a` and `v` is drawn on both sides of the face."""
    pixel: float
    """Size of a pixel in face units."""
    light: tuple[float, float, float]
    """Unit vector towards the light: right, down, towards the viewer."""
    scale: float
    """Screen units per face unit."""
    shift: tuple[float, float]
    """Position of the head in screen units."""
    rotation: tuple[float, float]
    """Cosine and sine of the head's tilt."""
    yaw: float

    @staticmethod
    def of(
        size: int,
        scale: float,
        shift: tuple[float, float],
        tilt: float,
        yaw: float,
        light: tuple[float, float, float],
    ) -> "FaceCoordinates":
        """Return the coordinates of a head with a scale, shift (screen units), tilt (radians) and yaw (face units)."""
        x, y = grid(size)
        cos, sin = math.cos(tilt), math.sin(tilt)
        p, q = (x - shift[0]) * (1 / scale), (y - shift[1]) * (1 / scale)
        u, v = cos * p + sin * q, cos * q - sin * p
        f = u - yaw * np.maximum(1 - u * u * 2.4, 0)
        return FaceCoordinates(size, u, v, f, np.abs(f), 2 / size / scale, light, scale, shift, (cos, sin), yaw)

    def box(self, left: float, top: float, right: float, bottom: float) -> Box:
        """Return the pixels that a rectangle of feature coordinates can touch, with a margin of one pixel."""
        cos, sin = self.rotation
        u, v = (left + right) / 2, (top + bottom) / 2
        w, h = (right - left) / 2 + abs(self.yaw), (bottom - top) / 2
        gain, half = self.scale * self.size / 2, self.size / 2
        x = (self.shift[0] + 1) * half + gain * (cos * u - sin * v)
        y = (self.shift[1] + 1) * half + gain * (sin * u + cos * v)
        dx, dy = gain * (cos * w + abs(sin) * h) + 1, gain * (cos * h + abs(sin) * w) + 1
        rows = slice(max(int(y - dy), 0), max(int(y + dy) + 1, 0))
        return rows, slice(max(int(x - dx), 0), max(int(x + dx) + 1, 0))

    def mirrored_box(self, right: float, top: float, bottom: float) -> Box:
        """Return the pixels of a rectangle that spans both sides of the face, from -`right` to `right`."""
        return self.box(-right, top, right, bottom)

    def add_spot(self, field: Array, center: tuple[float, float], radii: tuple[float, float], amount: float) -> None:
        """Add a Gaussian spot to `field` in place, on both sides of the face; a single one where `center[0]` is 0."""
        box = self.mirrored_box(center[0] + 2.2 * radii[0], center[1] - 2.2 * radii[1], center[1] + 2.2 * radii[1])
        a = (self.a[box] - center[0]) * (1 / radii[0])
        b = (self.v[box] - center[1]) * (1 / radii[1])
        a *= a
        b *= b
        a += b
        field[box] += amount * np.exp(np.negative(a, out=a), out=a)

    def add_bump(self, field: Array, center: tuple[float, float], radii: tuple[float, float], amount: float) -> None:
        """Add the shading of a Gaussian bump under the light to `field` in place; `amount` < 0 makes a hollow."""
        reach = (2.2 * radii[0], 2.2 * radii[1])
        box = self.box(center[0] - reach[0], center[1] - reach[1], center[0] + reach[0], center[1] + reach[1])
        a = (self.f[box] - center[0]) * (1 / radii[0])
        b = (self.v[box] - center[1]) * (1 / radii[1])
        slope = a * (2 * amount * self.light[0]) + b * (2 * amount * self.light[1])
        a *= a
        b *= b
        a += b
        slope *= np.exp(np.negative(a, out=a), out=a)
        field[box] += slope

    def add_crease(
        self,
        field: Array,
        start: tuple[float, float],
        stop: tuple[float, float],
        bulge: float,
        width: float,
        amount: float,
        *,
        mirror: bool = True,
        relief: float = 0.5,
        repeat: int = 1,
        step: float = 0.0,
        spread: float = 0.0,
    ) -> None:
        """Add the shading of a skin fold to `field` in place: a dark stroke that fades at its ends, with a light rim.

        A stroke thinner than a pixel is drawn wider and weaker, so that its total darkness is the same at every size.

        Args:
            start: one end of the stroke (f, v).
            stop: the other end.
            bulge: deflection of its middle to the left, seen from `start`.
            width: half width of the stroke.
            amount: darkness.
            mirror: draw it on both sides of the face.
            relief: strength of the light rim.
            repeat: number of strokes, each to the right of the one before.
            step: distance between them.
            spread: growth of the distance from `start` to `stop`, relative to `step`.
        """
        if amount <= 0.004:
            return
        wide = max(width, 0.6 * self.pixel)
        amount *= width / wide
        pad = abs(bulge) + 3 * wide + (repeat - 1) * step * (1 + spread)
        top, bottom = min(start[1], stop[1]) - pad, max(start[1], stop[1]) + pad
        left, right = min(start[0], stop[0]) - pad, max(start[0], stop[0]) + pad
        box = self.mirrored_box(right, top, bottom) if mirror else self.box(left, top, right, bottom)
        across, v = (self.a if mirror else self.f)[box] - start[0], self.v[box] - start[1]
        run, drop = stop[0] - start[0], stop[1] - start[1]
        length = math.hypot(run, drop)
        p = across * (run / length**2)
        p += v * (drop / length**2)
        fade = p - p * p
        np.maximum(fade, 0, out=fade)
        d = v
        d *= run / (length * wide)
        d -= across * (drop / (length * wide))
        d += fade * (4 * bulge / wide)
        if repeat > 1:
            gap = (step / wide) * (1 + spread * p)
            d -= gap * np.minimum(np.maximum(np.rint(d / gap), 0), repeat - 1)
        stroke = d * d
        stroke *= -0.7
        np.exp(stroke, out=stroke)
        d *= -1.4 * relief
        d += 1
        stroke *= d
        stroke *= np.sqrt(fade, out=fade)
        stroke *= 2 * amount
        field[box] -= stroke
