"""Synthetic faces: illustrated portraits rendered from parameters, a training set that needs no download.

`sample_person(seed, index)` samples a person and their portrait; `render` renders it at an age and under a race label.
Two renderings that differ in one label are *counterparts*: pose, light, background, clothes, glasses and hair style are
the same, and what the label changes can mostly be inferred from the other image. So a translation that was trained
without pairs can be compared with its ground truth.

The label `race` has UTKFace's values. Here it changes complexion, color and texture of the hair, and mildly the breadth
of nose and lips. That is a crude substitute, made for measuring algorithms; it is no statement about people, who differ
within each of these labels in ways that no such image shows.
"""

import math

import numpy as np
import numpy.typing as npt

from transgan_faces.synthetic_features import (
    HairLayer,
    apply_shading,
    paint_beard,
    paint_brows,
    paint_eyes,
    paint_face,
    paint_glasses,
    paint_mouth,
)
from transgan_faces.synthetic_person import AGES, RACES, Look, Person, aging_factor, sample_person
from transgan_faces.synthetic_shapes import (
    EVERYWHERE,
    Array,
    FaceCoordinates,
    blend,
    broadcast_color,
    coverage,
    ellipse,
    grid,
    mix,
    pseudo_random,
    smooth_intersection,
    smooth_union,
    smoothstep,
)

__all__ = ["AGES", "RACES", "Person", "aging_factor", "hair_opacity", "render", "sample_person"]


def render(person: Person, *, age: float, race: str, size: int = 64) -> npt.NDArray[np.uint8]:
    """Return the portrait of a person as RGB uint8 (size, size, 3); the composition is the same at every size.

    Args:
        age: years, 18 to 80.
        race: one of `RACES`.
        size: side in pixels, 16 to 1024.

    Raises:
        ValueError: an argument is out of range.
    """
    if not AGES[0] <= age <= AGES[1]:
        raise ValueError(f"age must be {AGES[0]:g}..{AGES[1]:g} years, not {age}")
    if race not in RACES:
        raise ValueError(f"race must be one of {', '.join(RACES)}, not {race!r}")
    if not 16 <= size <= 1024:
        raise ValueError(f"size must be 16..1024 pixels, not {size}")
    look, coords = Look.of(person, age, race), _coordinates(person, size)
    image = _background(person, size)
    head = _head_outline(person, look, coords)
    hair = HairLayer.of(person, look, coords, head)
    hair.paint_back(image)
    _paint_neck(person, look, coords, image)
    _paint_clothes(person, coords, image)
    paint_face(person, look, coords, image, head, hair)
    paint_eyes(person, look, coords, image)
    paint_mouth(person, look, coords, image)
    paint_beard(person, look, coords, image, head)
    hair.paint_front(image)
    paint_brows(person, look, coords, image)
    paint_glasses(person, coords, image)
    return _finish(person, image)


def hair_opacity(person: Person, age: float, race: str, size: int) -> Array:
    """Return the opacity 0..1 of the hair in front of head and clothes, (size, size).

    Args:
        person, age, race, size: as of `render`.
    """
    look, coords = Look.of(person, age, race), _coordinates(person, size)
    hair = HairLayer.of(person, look, coords, _head_outline(person, look, coords))
    opacity = np.zeros((size, size), np.float32)
    opacity[hair.box] = hair.front()
    return opacity


def _coordinates(person: Person, size: int) -> FaceCoordinates:
    """Return the coordinates of a person's head, with the light on it."""
    side = 0.62 * person.light
    light = (side, -0.42, math.sqrt(1 - side * side - 0.42**2))
    return FaceCoordinates.of(size, person.scale, person.shift, person.tilt, person.yaw, light)


def _background(person: Person, size: int) -> Array:
    """Return the background (3, size, size): a gradient of two colors, and soft shapes."""
    x, y = grid(size)
    angle = person.phase
    fade = 0.5 + 0.34 * (math.cos(angle) * x + math.sin(angle) * y)
    near, far = person.background_colors
    image = broadcast_color(near) + fade * (broadcast_color(far) - broadcast_color(near))
    if person.background == "bokeh":
        for k in range(6):
            cx, cy = 2.2 * pseudo_random(person.phase, k) - 1.1, 2.2 * pseudo_random(person.phase, k + 10) - 1.1
            r = 0.12 + 0.22 * pseudo_random(person.phase, k + 20)
            disc = smoothstep((x - cx) ** 2 + (y - cy) ** 2, r * r * 1.25, r * r * 0.8)
            blend(
                image,
                EVERYWHERE,
                disc * 0.3,
                mix(near, (1.0, 0.95, 0.85), 0.3 + 0.5 * pseudo_random(person.phase, k + 30)),
            )
    elif person.background == "wall":
        edge = x + 0.15 * y - (pseudo_random(person.phase, 1) - 0.5)
        blend(image, EVERYWHERE, smoothstep(edge, -0.05, 0.05) * 0.55, mix(far, near, 0.2))
    elif person.background == "hills":
        for k, level in enumerate((-0.15, 0.1, 0.35)):
            ridge = level + 0.12 * np.sin(x * (2.2 + k) + person.phase + 2 * k)
            blend(
                image,
                EVERYWHERE,
                smoothstep(y - ridge, -0.08, 0.08) * 0.55,
                mix(far, (0.12, 0.2, 0.16), 0.25 * k + 0.15),
            )
    elif person.background == "leaves":
        wave = np.sin(5 * x + 2 * np.sin(4 * y + person.phase)) * np.sin(6 * y + 2 * np.sin(3.4 * x + 2 * person.phase))
        image += (0.13 * wave) * broadcast_color(mix(near, (0.8, 1.0, 0.6), 0.4))
    elif person.background == "window":
        left = pseudo_random(person.phase, 2) * 1.2 - 1.1
        pane = np.abs(np.abs(x - left - 0.35) - 0.2) - 0.17
        blend(
            image,
            EVERYWHERE,
            smoothstep(pane, 0.04, -0.04) * smoothstep(y, 0.75, 0.6) * 0.5,
            mix(near, (0.95, 0.97, 1.0), 0.7),
        )
    return image


def _head_outline(person: Person, look: Look, coords: FaceCoordinates) -> Array:
    """Return the signed distance to the outline of the head; aging widens the jaw and adds jowls."""
    u, v = coords.u, coords.v
    skull = ellipse(u, v, (0.0, -0.13), (person.width, 0.56))
    tall = 0.46
    jaw = ellipse(u, v, (0.0, person.chin - tall), (person.jaw + 0.025 * look.aging, tall))
    side = np.abs(u)
    jowl = ellipse(side, v, (person.jaw * 0.60, 0.40), (0.115 + 0.055 * look.aging, 0.14 + 0.06 * look.aging))
    return smooth_union(smooth_union(skull, jaw, 0.16), jowl, 0.10)


def _paint_neck(person: Person, look: Look, coords: FaceCoordinates, image: Array) -> None:
    """Paint the neck into `image`, with folds that deepen with age."""
    box = coords.mirrored_box(0.75, 0.3, 1.4)
    u, v = coords.u[box], coords.v[box]
    half = 0.255 if person.gender == "male" else 0.205
    width = half + 0.35 * np.maximum(v - 0.70, 0) ** 1.5 - 0.03 * np.minimum(v - 0.3, 0.4)
    shade = 0.80 + 0.16 * smoothstep(v, 0.62, 0.95) + (0.35 * person.contrast * coords.light[0]) * u / half * 0.6
    shade -= 0.10 * smoothstep(np.abs(u), half * 0.5, half)
    whole = np.zeros_like(coords.u)
    whole[box] = shade
    coords.add_crease(
        whole, (-0.2, 0.74), (0.2, 0.75), -0.02, 0.012, 0.16 * look.aging, mirror=False, repeat=2, step=0.07
    )
    coords.add_crease(whole, (0.05, 0.98), (0.17, 0.70), 0.0, 0.02, 0.05 + 0.13 * look.aging)
    blend(
        image,
        box,
        coverage(np.abs(u) - width, coords.pixel) * coverage(0.3 - v, coords.pixel),
        apply_shading(look.skin, whole[box]),
    )


def _paint_clothes(person: Person, coords: FaceCoordinates, image: Array) -> None:
    """Paint shoulders and clothes into `image`."""
    box = coords.mirrored_box(4.5, 0.6, 4.5)
    u, v, pixel = coords.u[box], coords.v[box], coords.pixel
    side = np.abs(u)
    wide = 1.0 if person.gender == "male" else 0.88
    slope = 0.77 + 0.34 * (side / wide) ** 2 + 0.10 * smoothstep(side, 0.18, 0.5)
    body = slope - v
    folds = np.sin(9 * u + 3 * np.sin(2 * v + person.phase)) * np.sin(4 * v + person.phase)
    shade = 0.92 + 0.05 * folds + 0.16 * coords.light[0] * u - 0.25 * smoothstep(side, 0.55, 1.1)
    shade -= 0.14 * smoothstep(v - slope, 0.10, 0.0)
    neckline = {
        "crew": ellipse(u, v, (0.0, 0.76), (0.30, 0.17)),
        "scoop": ellipse(u, v, (0.0, 0.78), (0.36, 0.30)),
        "v": np.maximum(side - 0.30 + 0.62 * (v - 0.74), v - 1.3),
        "shirt": np.maximum(side - 0.24 + 0.75 * (v - 0.76), v - 1.3),
        "suit": np.maximum(side - 0.36 + 0.60 * (v - 0.74), v - 1.6),
        "roll": v - 0.72 + 0.02 * u * u,
    }[person.clothes]
    if person.clothes == "roll":
        collar = np.maximum(side - 0.285 - 0.1 * np.maximum(v - 0.8, 0), 0.69 - 0.15 * u * u - v)
        body = smooth_union(body, collar, 0.06)
        shade -= 0.10 * smoothstep(np.abs(v - 0.84 - 0.1 * u * u), 0.03, 0.0) * smoothstep(side, 0.33, 0.25)
        neckline = np.full_like(u, 1.0)
    if person.clothes == "suit":
        shirt = mix(person.trim_color, (0.97, 0.97, 0.97), 0.6)
        opening = np.maximum(side - 0.2 + 0.75 * (v - 0.78), -1.0)
        blend(
            image,
            box,
            coverage(smooth_intersection(body - 0.05 * smoothstep(side, 0.34, 0.26), -opening, 0.01), pixel),
            apply_shading(shirt, shade),
        )
        tie = np.maximum(side - 0.055 - 0.05 * (v - 0.9), 0.93 - v)
        blend(image, box, coverage(tie, pixel), apply_shading(mix(person.trim_color, (0.2, 0.05, 0.1), 0.5), shade))
    cloth = mix(person.clothes_color, (0.14, 0.15, 0.2), 0.6) if person.clothes == "suit" else person.clothes_color
    blend(image, box, coverage(smooth_intersection(body, -neckline, 0.02), pixel), apply_shading(cloth, shade))
    if person.clothes in ("crew", "scoop", "v"):
        hem = np.maximum(np.abs(neckline - 0.022) - 0.022, body)
        blend(image, box, 0.8 * coverage(hem, pixel), apply_shading(mix(cloth, person.trim_color, 0.35), 0.9 * shade))
    elif person.clothes == "shirt":
        wing = np.maximum(np.abs(neckline - 0.055) - 0.055, np.maximum(v - 0.98, body - 0.08))
        blend(image, box, coverage(wing - 0.012, pixel) * 0.4, mix(cloth, (0.0, 0.0, 0.0), 0.6))
        blend(image, box, coverage(wing, pixel), apply_shading(mix(cloth, (1.0, 1.0, 1.0), 0.12), shade))
    elif person.clothes == "suit":
        lapel = np.maximum(np.abs(neckline - 0.06) - 0.06, body)
        blend(image, box, 0.8 * coverage(lapel, pixel), apply_shading(mix(cloth, (0.0, 0.0, 0.0), 0.3), shade))


def _finish(person: Person, image: Array) -> npt.NDArray[np.uint8]:
    """Apply color temperature and a vignette to `image` in place, and return it as RGB uint8 (size, size, 3)."""
    x, y = grid(image.shape[1])
    image *= (1.0 - 0.10 * (x * x + y * y)) * broadcast_color(
        (1 + 0.04 * person.warmth, 1.0, 1 - 0.05 * person.warmth), 255.0
    )
    image += 0.5
    np.minimum(np.maximum(image, 0, out=image), 255, out=image)
    return np.ascontiguousarray(image.transpose(1, 2, 0)).astype(np.uint8)
