"""Drawn faces: illustrated portraits rendered from parameters, a training set that needs no download.

``person(seed, index)`` invents somebody and their picture; ``draw`` renders that picture at an age and under a label.
Two calls of ``draw`` that differ in one label give *counterparts*: pose, light, background, clothes, glasses and style
of hair stay as they are, and what the label changes can mostly be told from the other picture. So a translation that
was learnt without pairs can be compared with the picture it should have made.

The label called ``race`` has UTKFace's names, and what it changes here is complexion, the colour and texture of the
hair, and mildly the breadth of nose and lips. That is a crude stand-in, made for measuring algorithms; it is no
statement about people, who differ within each of these labels in ways that no such drawing shows.
"""

import math

import numpy as np
import numpy.typing as npt

from transgan_faces.drawn_features import (
    Hairdo,
    paint_beard,
    paint_brows,
    paint_eyes,
    paint_face,
    paint_glasses,
    paint_mouth,
    tint,
)
from transgan_faces.drawn_person import AGES, RACES, Look, Person, agedness, person
from transgan_faces.drawn_shapes import (
    EVERYWHERE,
    Array,
    Plane,
    column,
    cover,
    ellipse,
    grid,
    join,
    meet,
    mix,
    paint,
    ramp,
    scatter,
)

__all__ = ["AGES", "RACES", "Person", "agedness", "draw", "person"]


def draw(person: Person, *, age: float, race: str, size: int = 64) -> npt.NDArray[np.uint8]:
    """The picture of ``person`` at ``age`` years (18..80) under the label ``race`` (one of ``RACES``).

    Returns RGB as uint8 ``(size, size, 3)``; ``size`` is 16..1024 pixels, the composition is the same at every size.
    Raises ValueError where an argument is out of its range.
    """
    if not AGES[0] <= age <= AGES[1]:
        raise ValueError(f"age must be {AGES[0]:g}..{AGES[1]:g} years, not {age}")
    if race not in RACES:
        raise ValueError(f"race must be one of {', '.join(RACES)}, not {race!r}")
    if not 16 <= size <= 1024:
        raise ValueError(f"size must be 16..1024 pixels, not {size}")
    look = Look.of(person, age, race)
    side = 0.62 * person.light
    light = (side, -0.42, math.sqrt(1 - side * side - 0.42**2))
    plane = Plane.of(size, person.scale, person.shift, person.tilt, person.yaw, light)
    image = _backdrop(person, size)
    head = _head(person, look, plane)
    hair = Hairdo.of(person, look, plane, head)
    hair.paint_back(image)
    _neck(person, look, plane, image)
    _clothes(person, plane, image)
    paint_face(person, look, plane, image, head, hair)
    paint_eyes(person, look, plane, image)
    paint_mouth(person, look, plane, image)
    paint_beard(person, look, plane, image, head)
    hair.paint_front(image)
    paint_brows(person, look, plane, image)
    paint_glasses(person, plane, image)
    return _develop(person, image)


def _backdrop(who: Person, size: int) -> Array:
    """What is behind the person: ``(3, size, size)``, colours that fade into each other and soft shapes."""
    x, y = grid(size)
    angle = who.phase
    fade = 0.5 + 0.34 * (math.cos(angle) * x + math.sin(angle) * y)
    near, far = who.backdrop_colors
    image = column(near) + fade * (column(far) - column(near))
    if who.backdrop == "bokeh":
        for k in range(6):
            cx, cy = 2.2 * scatter(who.phase, k) - 1.1, 2.2 * scatter(who.phase, k + 10) - 1.1
            r = 0.12 + 0.22 * scatter(who.phase, k + 20)
            disc = ramp((x - cx) ** 2 + (y - cy) ** 2, r * r * 1.25, r * r * 0.8)
            paint(image, EVERYWHERE, disc * 0.3, mix(near, (1.0, 0.95, 0.85), 0.3 + 0.5 * scatter(who.phase, k + 30)))
    elif who.backdrop == "wall":
        edge = x + 0.15 * y - (scatter(who.phase, 1) - 0.5)
        paint(image, EVERYWHERE, ramp(edge, -0.05, 0.05) * 0.55, mix(far, near, 0.2))
    elif who.backdrop == "hills":
        for k, level in enumerate((-0.15, 0.1, 0.35)):
            ridge = level + 0.12 * np.sin(x * (2.2 + k) + who.phase + 2 * k)
            paint(image, EVERYWHERE, ramp(y - ridge, -0.08, 0.08) * 0.55, mix(far, (0.12, 0.2, 0.16), 0.25 * k + 0.15))
    elif who.backdrop == "leaves":
        wave = np.sin(5 * x + 2 * np.sin(4 * y + who.phase)) * np.sin(6 * y + 2 * np.sin(3.4 * x + 2 * who.phase))
        image += (0.13 * wave) * column(mix(near, (0.8, 1.0, 0.6), 0.4))
    elif who.backdrop == "window":
        left = scatter(who.phase, 2) * 1.2 - 1.1
        pane = np.abs(np.abs(x - left - 0.35) - 0.2) - 0.17
        paint(image, EVERYWHERE, ramp(pane, 0.04, -0.04) * ramp(y, 0.75, 0.6) * 0.5, mix(near, (0.95, 0.97, 1.0), 0.7))
    return image


def _head(who: Person, look: Look, plane: Plane) -> Array:
    """Signed distance to the outline of the head; age widens the jaw and hangs jowls from it."""
    u, v = plane.u, plane.v
    skull = ellipse(u, v, (0.0, -0.13), (who.width, 0.56))
    tall = 0.46
    jaw = ellipse(u, v, (0.0, who.chin - tall), (who.jaw + 0.025 * look.old, tall))
    side = np.abs(u)
    jowl = ellipse(side, v, (who.jaw * 0.60, 0.40), (0.115 + 0.055 * look.old, 0.14 + 0.06 * look.old))
    return join(join(skull, jaw, 0.16), jowl, 0.10)


# How far the channels follow a shadow, and what makes that no change where the shade is 1.


def _neck(who: Person, look: Look, plane: Plane, image: Array) -> None:
    box = plane.both(0.75, 0.3, 1.4)
    u, v = plane.u[box], plane.v[box]
    half = 0.255 if who.gender == "male" else 0.205
    width = half + 0.35 * np.maximum(v - 0.70, 0) ** 1.5 - 0.03 * np.minimum(v - 0.3, 0.4)
    shade = 0.80 + 0.16 * ramp(v, 0.62, 0.95) + (0.35 * who.contrast * plane.light[0]) * u / half * 0.6
    shade -= 0.10 * ramp(np.abs(u), half * 0.5, half)
    whole = np.zeros_like(plane.u)
    whole[box] = shade
    plane.crease(whole, (-0.2, 0.74), (0.2, 0.75), -0.02, 0.012, 0.16 * look.old, mirror=False, repeat=2, step=0.07)
    plane.crease(whole, (0.05, 0.98), (0.17, 0.70), 0.0, 0.02, 0.05 + 0.13 * look.old)
    paint(image, box, cover(np.abs(u) - width, plane.pixel) * cover(0.3 - v, plane.pixel), tint(look.skin, whole[box]))


def _clothes(who: Person, plane: Plane, image: Array) -> None:
    box = plane.both(1.6, 0.6, 1.6)
    u, v, pixel = plane.u[box], plane.v[box], plane.pixel
    side = np.abs(u)
    wide = 1.0 if who.gender == "male" else 0.88
    slope = 0.77 + 0.34 * (side / wide) ** 2 + 0.10 * ramp(side, 0.18, 0.5)
    body = slope - v
    folds = np.sin(9 * u + 3 * np.sin(2 * v + who.phase)) * np.sin(4 * v + who.phase)
    shade = 0.92 + 0.05 * folds + 0.16 * plane.light[0] * u - 0.25 * ramp(side, 0.55, 1.1)
    shade -= 0.14 * ramp(v - slope, 0.10, 0.0)
    neckline = {
        "crew": ellipse(u, v, (0.0, 0.76), (0.30, 0.17)),
        "scoop": ellipse(u, v, (0.0, 0.78), (0.36, 0.30)),
        "v": np.maximum(side - 0.30 + 0.62 * (v - 0.74), v - 1.3),
        "shirt": np.maximum(side - 0.24 + 0.75 * (v - 0.76), v - 1.3),
        "suit": np.maximum(side - 0.36 + 0.60 * (v - 0.74), v - 1.6),
        "roll": v - 0.72 + 0.02 * u * u,
    }[who.clothes]
    if who.clothes == "roll":
        collar = np.maximum(side - 0.285 - 0.1 * np.maximum(v - 0.8, 0), 0.69 - 0.15 * u * u - v)
        body = join(body, collar, 0.06)
        shade -= 0.10 * ramp(np.abs(v - 0.84 - 0.1 * u * u), 0.03, 0.0) * ramp(side, 0.33, 0.25)
        neckline = np.full_like(u, 1.0)
    if who.clothes == "suit":
        shirt = mix(who.trim_color, (0.97, 0.97, 0.97), 0.6)
        opening = np.maximum(side - 0.2 + 0.75 * (v - 0.78), -1.0)
        paint(image, box, cover(meet(body - 0.05 * ramp(side, 0.34, 0.26), -opening, 0.01), pixel), tint(shirt, shade))
        tie = np.maximum(side - 0.055 - 0.05 * (v - 0.9), 0.93 - v)
        paint(image, box, cover(tie, pixel), tint(mix(who.trim_color, (0.2, 0.05, 0.1), 0.5), shade))
    cloth = mix(who.clothes_color, (0.14, 0.15, 0.2), 0.6) if who.clothes == "suit" else who.clothes_color
    paint(image, box, cover(meet(body, -neckline, 0.02), pixel), tint(cloth, shade))
    if who.clothes in ("crew", "scoop", "v"):
        hem = np.maximum(np.abs(neckline - 0.022) - 0.022, body)
        paint(image, box, 0.8 * cover(hem, pixel), tint(mix(cloth, who.trim_color, 0.35), 0.9 * shade))
    elif who.clothes == "shirt":
        wing = np.maximum(np.abs(neckline - 0.055) - 0.055, np.maximum(v - 0.98, body - 0.08))
        paint(image, box, cover(wing - 0.012, pixel) * 0.4, mix(cloth, (0.0, 0.0, 0.0), 0.6))
        paint(image, box, cover(wing, pixel), tint(mix(cloth, (1.0, 1.0, 1.0), 0.12), shade))
    elif who.clothes == "suit":
        lapel = np.maximum(np.abs(neckline - 0.06) - 0.06, body)
        paint(image, box, 0.8 * cover(lapel, pixel), tint(mix(cloth, (0.0, 0.0, 0.0), 0.3), shade))


def _develop(who: Person, image: Array) -> npt.NDArray[np.uint8]:
    """Finish the picture: warmth of the light, a vignette, and RGB bytes ``(size, size, 3)``."""
    x, y = grid(image.shape[1])
    image *= (1.0 - 0.10 * (x * x + y * y)) * column((1 + 0.04 * who.warmth, 1.0, 1 - 0.05 * who.warmth), 255.0)
    image += 0.5
    np.minimum(np.maximum(image, 0, out=image), 255, out=image)
    return np.ascontiguousarray(image.transpose(1, 2, 0)).astype(np.uint8)
