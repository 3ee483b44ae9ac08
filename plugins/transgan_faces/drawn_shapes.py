"""Primitives of the drawn faces: soft shapes, strokes and textures on a pixel grid, all antialiased analytically.

Lengths are in *face units*: the head is about one unit wide, ``v`` points down. Every primitive is evaluated at the
pixel centres of the wanted size, so a picture has the same composition at every size.
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
    """Screen coordinates ``x`` and ``y`` of the pixel centres, each ``(size, size)`` in -1..1 (cached; read only)."""
    line = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(2 / size) - np.float32(1)
    x, y = np.meshgrid(line, line)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


def cover(distance: Array, pixel: float) -> Array:
    """Coverage 0..1 of pixels at a signed ``distance`` (negative inside) from an edge, blurred over one ``pixel``."""
    t: Array = distance * (-1 / pixel)
    t += 0.5
    return np.minimum(np.maximum(t, 0.0, out=t), 1.0, out=t)


def ramp(value: Array, start: float, stop: float) -> Array:
    """0 where ``value`` is at ``start`` or before it, 1 from ``stop`` on, smooth in between (``stop`` may be less)."""
    t: Array = value - start
    t *= 1 / (stop - start)
    np.minimum(np.maximum(t, 0.0, out=t), 1.0, out=t)
    smooth = t * -2
    smooth += 3
    smooth *= t
    smooth *= t
    return smooth


def ellipse(u: Array, v: Array, center: tuple[float, float], radii: tuple[float, float]) -> Array:
    """Approximate signed distance to an ellipse that is not too flat."""
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
    """Signed distance to a box of half sizes ``half`` with rounded corners."""
    a, b = np.abs(u - center[0]) - (half[0] - corner), np.abs(v - center[1]) - (half[1] - corner)
    distance: Array = np.sqrt(np.maximum(a, 0) ** 2 + np.maximum(b, 0) ** 2)
    distance += np.minimum(np.maximum(a, b), 0)
    distance -= corner
    return distance


def join(a: Array, b: Array, soft: float) -> Array:
    """Union of two signed distances, the seam filleted over ``soft``."""
    h = np.maximum(soft - np.abs(a - b), 0)
    return np.minimum(a, b) - h * h * (0.25 / soft)


def meet(a: Array, b: Array, soft: float) -> Array:
    """Intersection of two signed distances, the corner rounded over ``soft``."""
    h = np.maximum(soft - np.abs(a - b), 0)
    return np.maximum(a, b) + h * h * (0.25 / soft)


def mix(a: RGB, b: RGB, amount: float) -> RGB:
    """The colour ``amount`` of the way from ``a`` to ``b``."""
    return (a[0] + (b[0] - a[0]) * amount, a[1] + (b[1] - a[1]) * amount, a[2] + (b[2] - a[2]) * amount)


def along(stops: tuple[RGB, ...], position: float) -> RGB:
    """The colour at ``position`` 0..1 of a gradient with evenly spaced ``stops``."""
    place = min(max(position, 0.0), 1.0) * (len(stops) - 1)
    first = min(int(place), len(stops) - 2)
    return mix(stops[first], stops[first + 1], place - first)


def column(color: RGB, gain: float = 1.0) -> Array:
    """A colour as a ``(3, 1, 1)`` array that broadcasts over planes."""
    return np.array(color, dtype=np.float32).reshape(3, 1, 1) * np.float32(gain)


def scatter(phase: float, index: int) -> float:
    """A number in 0..1 that looks random, a pure function of ``phase`` and ``index``."""
    return math.modf(abs(math.sin(phase * 12.9898 + index * 78.233) * 43758.5453))[0]


EVERYWHERE: Box = (slice(None), slice(None))


def paint(image: Array, box: Box, mask: Array, color: Array | RGB) -> None:
    """Lay ``color`` (one, or planes ``(3, h, w)``) over ``image[:, box]`` where ``mask`` ``(h, w)`` says, 0..1."""
    part = image[:, box[0], box[1]]
    change = (column(color) if isinstance(color, tuple) else color) - part
    change *= mask
    part += change


@dataclass(frozen=True)
class Plane:
    """A pixel grid seen from the head: head coordinates, the features' coordinates, and boxes in pixels.

    ``u``, ``v`` are the head's coordinates; ``f`` is ``u`` as the features see it, turned by the yaw; ``a`` is ``|f|``,
    so that one stroke draws both sides of a face; ``pixel`` is the pitch in face units and ``light`` the direction
    towards the light (right, down, to the viewer).
    """

    size: int
    u: Array
    v: Array
    f: Array
    a: Array
    pixel: float
    light: tuple[float, float, float]
    scale: float
    shift: tuple[float, float]
    turn: tuple[float, float]
    yaw: float

    @staticmethod
    def of(
        size: int,
        scale: float,
        shift: tuple[float, float],
        tilt: float,
        yaw: float,
        light: tuple[float, float, float],
    ) -> "Plane":
        """The plane of a head that is scaled, shifted (screen units), tilted (radians) and turned (face units)."""
        x, y = grid(size)
        cos, sin = math.cos(tilt), math.sin(tilt)
        p, q = (x - shift[0]) * (1 / scale), (y - shift[1]) * (1 / scale)
        u, v = cos * p + sin * q, cos * q - sin * p
        f = u - yaw * np.maximum(1 - u * u * 2.4, 0)
        return Plane(size, u, v, f, np.abs(f), 2 / size / scale, light, scale, shift, (cos, sin), yaw)

    def box(self, left: float, top: float, right: float, bottom: float) -> Box:
        """The pixels that a rectangle of feature coordinates can touch, with a pixel to spare."""
        cos, sin = self.turn
        u, v = (left + right) / 2, (top + bottom) / 2
        w, h = (right - left) / 2 + abs(self.yaw), (bottom - top) / 2
        gain, half = self.scale * self.size / 2, self.size / 2
        x = (self.shift[0] + 1) * half + gain * (cos * u - sin * v)
        y = (self.shift[1] + 1) * half + gain * (sin * u + cos * v)
        dx, dy = gain * (cos * w + abs(sin) * h) + 1, gain * (cos * h + abs(sin) * w) + 1
        rows = slice(max(int(y - dy), 0), max(int(y + dy) + 1, 0))
        return rows, slice(max(int(x - dx), 0), max(int(x + dx) + 1, 0))

    def both(self, right: float, top: float, bottom: float) -> Box:
        """The pixels of a rectangle that spans both sides of the face, out to ``right``."""
        return self.box(-right, top, right, bottom)

    def blob(self, field: Array, center: tuple[float, float], radii: tuple[float, float], amount: float) -> None:
        """Add a soft spot to ``field`` on both sides of the face (on the middle line where ``center[0]`` is 0)."""
        box = self.both(center[0] + 2.2 * radii[0], center[1] - 2.2 * radii[1], center[1] + 2.2 * radii[1])
        a = (self.a[box] - center[0]) * (1 / radii[0])
        b = (self.v[box] - center[1]) * (1 / radii[1])
        a *= a
        b *= b
        a += b
        field[box] += amount * np.exp(np.negative(a, out=a), out=a)

    def bump(self, field: Array, center: tuple[float, float], radii: tuple[float, float], amount: float) -> None:
        """Add to ``field`` the light and shade that a bump (``amount`` < 0: a hollow) has under the light."""
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

    def crease(
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
        """Press a fold into ``field``: a dark stroke that fades at its ends with a light rim beside it.

        The stroke runs from ``start`` to ``stop`` and bulges by ``bulge`` to its left; ``mirror`` draws both sides.
        ``repeat`` strokes lie ``step`` apart to the right of the first and fan out by ``spread`` along the way.
        A stroke thinner than the pixels is drawn wider and weaker, which keeps its weight at every size.
        """
        if amount <= 0.004:
            return
        wide = max(width, 0.6 * self.pixel)
        amount *= width / wide
        pad = abs(bulge) + 3 * wide + (repeat - 1) * step * (1 + spread)
        top, bottom = min(start[1], stop[1]) - pad, max(start[1], stop[1]) + pad
        left, right = min(start[0], stop[0]) - pad, max(start[0], stop[0]) + pad
        box = self.both(right, top, bottom) if mirror else self.box(left, top, right, bottom)
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
