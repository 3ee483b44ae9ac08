"""Features of synthetic faces: skin, wrinkles, eyes, brows, mouth, beard, hair and glasses.

The `paint_...` functions change `image`, RGB (3, size, size) in 0..1, in place.
"""

from dataclasses import dataclass

import numpy as np

from transgan_faces.synthetic_person import GREY_HAIR, HAIR_STYLES, IRIS_COLORS, HairStyle, Look, Person
from transgan_faces.synthetic_shapes import (
    EVERYWHERE,
    RGB,
    Array,
    Box,
    FaceCoordinates,
    blend,
    broadcast_color,
    coverage,
    ellipse,
    gradient_color,
    mix,
    pseudo_random,
    rounded_box,
    smooth_intersection,
    smooth_union,
    smoothstep,
)

# In shadow red falls more slowly than green, and blue faster. Gain and offset sum to 1: a shade of 1 changes nothing.
_SHADE_GAIN = broadcast_color((0.88, 1.0, 1.06))
_SHADE_OFFSET = broadcast_color((0.12, 0.0, -0.06))


def apply_shading(albedo: Array | RGB, shade: Array) -> Array:
    """Return a surface of color `albedo` under `shade` (h, w), as (3, h, w); 1 is full light. Shadows are reddish."""
    base = broadcast_color(albedo) if isinstance(albedo, tuple) else albedo
    planes: Array = shade * _SHADE_GAIN
    planes += _SHADE_OFFSET
    planes *= base
    return planes


def paint_face(
    person: Person, look: Look, coords: FaceCoordinates, image: Array, head: Array, hair: "HairLayer"
) -> None:
    """Paint the skin of head and ears, with the shading of the head's shape, nose, cheeks, wrinkles and spots."""
    box, aging = coords.mirrored_box(0.64, -0.73, 0.80), look.aging
    u, v, f = coords.u[box], coords.v[box], coords.f
    lx, ly, lz = coords.light
    nx, ny = u * (1 / 0.66), (v + 0.02) * (1 / 0.95)
    nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0.03))
    lit = nx * lx + ny * ly + nz * lz
    key = 0.36 + 0.44 * person.contrast
    # Skin texture gets coarser with age.
    fine = np.sin(23 * u + 3 * np.sin(17 * v + person.phase)) * np.sin(21 * v + 3 * np.sin(19 * u + person.phase))
    shade, blush = np.zeros_like(f), np.zeros_like(f)
    shade[box] = (1.06 - 0.86 * key) + key * lit + (0.010 + 0.022 * aging) * fine
    _add_relief(person, look, coords, shade, blush)
    _add_wrinkles(person, look, coords, shade)
    # Age spots are in the same places as freckles.
    strength = 0.06 * person.freckles + 0.13 * aging
    for k in range(9) if strength > 0.01 else ():
        place = (0.40 * (pseudo_random(person.phase, k) * 2 - 1), -0.42 + 0.78 * pseudo_random(person.phase, k + 50))
        spot = coords.box(place[0] - 0.05, place[1] - 0.05, place[0] + 0.05, place[1] + 0.05)
        away = (f[spot] - place[0]) ** 2 + (coords.v[spot] - place[1]) ** 2
        shade[spot] -= strength * np.exp(away * -(1 / 0.020**2))
    # Hair and the outline of the head cast a soft shadow.
    shade[hair.box] -= 0.13 * smoothstep(hair.window, -0.10, 0.02)
    shade[box] -= 0.10 * smoothstep(head[box], -0.10, 0.0)
    _paint_ears(person, look, coords, image)
    skin = broadcast_color(look.skin) + blush[box] * (broadcast_color(look.lips) - broadcast_color(look.skin))
    blend(image, box, coverage(head[box], coords.pixel), apply_shading(skin, shade[box]))


def _paint_ears(person: Person, look: Look, coords: FaceCoordinates, image: Array) -> None:
    level, tall, width = 0.02, 0.105 + 0.025 * person.ears + 0.015 * look.aging, person.width
    box = coords.mirrored_box(0.68, -0.2, 0.25)
    u, v = coords.u[box], coords.v[box]
    side = np.abs(u)
    ear = ellipse(side, v, (width - 0.005, level), (0.055 + 0.02 * person.ears, tall))
    hollow = smoothstep(ellipse(side, v, (width + 0.012, level), (0.028, tall * 0.62)), 0.02, -0.02)
    shade = 0.80 + 0.22 * person.contrast * coords.light[0] * np.sign(u) - 0.26 * hollow
    blend(image, box, coverage(ear, coords.pixel), apply_shading(mix(look.skin, look.lips, 0.22), shade))


def _add_relief(person: Person, look: Look, coords: FaceCoordinates, shade: Array, blush: Array) -> None:
    """Add the shading of the face's shapes to `shade`, and its redness to `blush`, both in place."""
    aging, deep = look.aging, 0.6 + 0.5 * person.contrast
    tip = person.nose_length - 0.02
    wide = person.nose_width * (1 + 0.22 * look.breadth) * (1 + 0.10 * aging)
    gap = person.eye_gap
    # Eye sockets, ridge, tip and nostrils of the nose; then cheeks, forehead and chin.
    coords.add_spot(shade, (gap - 0.03, -0.075), (0.13, 0.085), -0.13 * deep)
    coords.add_spot(shade, (0.095, -0.06), (0.045, 0.07), -0.10 * deep)
    coords.add_bump(shade, (0.0, 0.03), (0.065, 0.20), 0.30 * deep * person.nose_ridge)
    coords.add_bump(shade, (0.0, tip), (0.080, 0.070), 0.36 * deep)
    coords.add_spot(shade, (0.0, 0.02), (0.022, 0.14), 0.07)
    coords.add_spot(shade, (0.0, tip - 0.02), (0.03, 0.028), 0.16)
    coords.add_spot(shade, (0.0, tip + 0.068), (wide * 1.1, 0.035), -0.20 * deep)
    coords.add_spot(shade, (wide * 0.50, tip + 0.042), (0.024, 0.014), -0.42)
    coords.add_crease(shade, (wide * 0.95, tip + 0.045), (wide * 0.90, tip - 0.04), -0.022, 0.013, 0.30, relief=0.3)
    coords.add_spot(blush, (0.0, tip), (wide, 0.06), 0.14)
    for s in (-1.0, 1.0):
        coords.add_bump(shade, (s * 0.29, 0.13), (0.13, 0.11), (0.16 + 0.10 * person.cheeks) * (1 - 0.35 * aging))
        coords.add_bump(shade, (s * 0.17, -0.40), (0.17, 0.14), 0.05)
    coords.add_spot(shade, (0.27, 0.10), (0.09, 0.06), 0.07)
    coords.add_spot(blush, (0.30, 0.15), (0.12, 0.10), 0.17 + 0.13 * person.makeup)
    coords.add_spot(shade, (0.0, -0.42), (0.20, 0.11), 0.05)
    coords.add_bump(shade, (0.0, person.chin - 0.09), (0.12, 0.08), 0.16)
    # Aging hollows the cheeks and adds jowls; the lit fold above the jowls gives them volume.
    coords.add_spot(shade, (0.36, 0.24), (0.09, 0.14), -0.05 - 0.09 * aging)
    coords.add_spot(shade, (0.27, person.chin - 0.20), (0.10, 0.08), 0.08 * aging)
    coords.add_crease(shade, (0.19, person.chin - 0.04), (0.34, person.chin - 0.22), -0.03, 0.030, 0.15 * aging)


def _add_wrinkles(person: Person, look: Look, coords: FaceCoordinates, shade: Array) -> None:
    """Add wrinkles to `shade` in place; a smile deepens the nasolabial folds at any age."""
    aging, gap, smile = look.aging, person.eye_gap, max(person.smile, 0.0)
    tip = person.nose_length
    lean = 0.02 * (pseudo_random(person.phase, 60) - 0.5)
    coords.add_crease(
        shade,
        (-0.26, -0.45 - lean),
        (0.26, -0.45 + lean),
        0.022,
        0.016,
        0.24 * aging,
        mirror=False,
        repeat=3,
        step=0.072,
    )
    coords.add_crease(shade, (0.035, -0.15), (0.028, -0.245), 0.006, 0.012, 0.20 * aging)
    corner = gap + person.eye_size + 0.03
    coords.add_crease(
        shade, (corner, -0.05), (corner + 0.095, -0.105), 0.01, 0.011, 0.26 * aging, repeat=3, step=0.02, spread=2.2
    )
    coords.add_crease(shade, (gap - 0.085, 0.035), (gap + 0.09, 0.03), -0.045, 0.020, 0.05 + 0.26 * aging)
    coords.add_crease(shade, (gap - 0.05, 0.075), (gap + 0.11, 0.05), -0.05, 0.022, 0.13 * aging)
    # Nasolabial folds, marionette lines, and the crease under the lower lip.
    beside, below = person.mouth_width + 0.05, tip + 0.27
    coords.add_crease(
        shade, (beside, tip + 0.16), (0.10, tip - 0.005), 0.012 + 0.02 * smile, 0.020, 0.08 * smile + 0.25 * aging
    )
    coords.add_crease(shade, (beside - 0.03, tip + 0.20), (beside, tip + 0.30), 0.010, 0.018, 0.17 * aging)
    coords.add_crease(shade, (-0.09, below), (0.09, below), 0.012, 0.020, 0.10 + 0.06 * aging, mirror=False, relief=0.2)


def paint_eyes(person: Person, look: Look, coords: FaceCoordinates, image: Array) -> None:
    """Paint eyes with irises, lids and lashes; aging lowers the lids and leaves the eyeballs in place."""
    gap, half = person.eye_gap, person.eye_size
    center = -0.035
    box = coords.mirrored_box(gap + half + 0.08, center - 0.13, center + 0.11)
    a, f, pixel = coords.a[box], coords.f[box], coords.pixel
    x = (a - gap) * (1 / half)
    drop = coords.v[box] - center + (person.eye_tilt - 0.05 * look.aging) * (a - gap)
    bend = 1 - x * x
    tall = half * person.eye_open * (1 - 0.14 * look.aging)
    upper, lower = -tall * bend, 0.62 * tall * bend
    opening = coverage(np.maximum(upper - drop, drop - lower), pixel)
    side = np.sign(f)
    px, py = (a - gap) * side - person.gaze[0], coords.v[box] - center - person.gaze[1] + 0.1 * tall
    away = np.sqrt(px * px + py * py)
    r = 0.057
    white = (0.93 - 0.03 * look.aging, 0.90 - 0.05 * look.aging, 0.87 - 0.07 * look.aging)
    shadow = 1 - 0.42 * smoothstep(drop - upper, 0.05, 0.0) - 0.15 * np.minimum(x * x, 1)
    ball = broadcast_color(white) * shadow
    iris = broadcast_color(gradient_color(IRIS_COLORS, person.iris))
    glow = 0.75 + 0.55 * smoothstep(py, -0.03, 0.04) - 0.5 * smoothstep(away, r * 0.72, r)
    blend(ball, EVERYWHERE, coverage(away - r, pixel), iris * glow * (0.45 + 0.55 * shadow))
    blend(ball, EVERYWHERE, coverage(away - r * 0.42, pixel), (0.02, 0.02, 0.025))
    glint = np.sqrt((px - 0.022 * coords.light[0] - 0.006) ** 2 + (py + 0.019) ** 2)
    blend(ball, EVERYWHERE, coverage(glint - 0.014, pixel) * 0.9, (1.0, 1.0, 1.0))
    blend(image, box, opening, ball)
    # A fold above the eye, make-up, lashes along the upper lid, and a faint edge along the lower one.
    skin_dark = mix(look.skin, (0.10, 0.04, 0.03), 0.55)
    fold = np.abs(drop - upper * 1.05 + 0.030 - 0.022 * look.aging * np.maximum(x, 0) ** 2)
    blend(
        image,
        box,
        smoothstep(fold, 0.016, 0.0) * smoothstep(np.abs(x), 1.15, 0.7) * (0.45 + 0.2 * look.aging),
        skin_dark,
    )
    if person.makeup > 0:
        lid = smoothstep(drop - upper, -0.06, 0.0) * coverage(drop - upper, pixel) * smoothstep(np.abs(x), 1.1, 0.6)
        blend(image, box, lid * 0.4 * person.makeup, mix(person.clothes_color, (0.25, 0.12, 0.2), 0.6))
    lash = 0.008 + (0.006 + 0.006 * person.makeup if person.gender == "female" else 0.0)
    stroke = np.abs(drop - upper + 0.3 * lash) - lash * (0.75 + 0.45 * np.minimum(np.maximum(x, -1), 1))
    blend(image, box, coverage(stroke, pixel) * smoothstep(np.abs(x - 0.06), 1.22, 1.0) * 0.9, (0.09, 0.055, 0.05))
    edge = np.abs(drop - lower) - 0.003
    blend(image, box, coverage(edge, pixel) * smoothstep(np.abs(x), 1.05, 0.8) * 0.5, skin_dark)


def paint_brows(person: Person, look: Look, coords: FaceCoordinates, image: Array) -> None:
    """Paint the eyebrows."""
    gap, level = person.eye_gap, -0.035 - person.brow_height + 0.016 * look.aging
    box = coords.mirrored_box(gap + 0.2, level - 0.1, level + 0.09)
    a, v = coords.a[box], coords.v[box]
    t = (a - gap + 0.115) * (1 / 0.255)
    inside = np.minimum(np.maximum(t, 0), 1)
    middle = level - person.brow_arch * np.sin(inside * 2.4) + (0.03 + 0.02 * look.aging) * inside * inside
    weight = 0.032 * person.brow_weight * (1.0 - 0.68 * inside)
    mask = coverage((np.abs(v - middle) - weight) * 0.6, max(coords.pixel, 0.014)) * smoothstep(
        np.abs(t - 0.5), 0.56, 0.44
    )
    hairs = 0.82 + 0.18 * np.sin((a * 0.8 + v) * 150 + 5 * a)
    # Brows grey later than hair, so that the young hair color can be inferred from an old face.
    color = mix(mix(look.hair, (0.10, 0.07, 0.06), 0.35), GREY_HAIR, 0.55 * look.grey)
    blend(image, box, mask * hairs * (0.62 + 0.3 * person.brow_weight), color)


def paint_mouth(person: Person, look: Look, coords: FaceCoordinates, image: Array) -> None:
    """Paint the lips, and teeth where the mouth is open."""
    half, smile = person.mouth_width * (1 + 0.10 * person.smile), person.smile
    level, drop = person.nose_length + 0.170, 0.10 * person.mouth_open
    box = coords.mirrored_box(half + 0.06, level - 0.14, level + 0.18 + 1.3 * drop)
    f, v, pixel = coords.f[box], coords.v[box], coords.pixel
    x = f * (1 / half)
    square = x * x
    bend = 1 - square
    line = level + 0.02 * smile - (0.055 * smile - 0.012 * look.aging) * square + 0.008 * np.exp(-square * 14)
    gape = max(smile - 0.45, 0.0) * 0.13 + drop
    full = (0.7 + 0.6 * person.lips) * (1 + 0.45 * look.breadth) * (1 - 0.42 * look.aging)
    upper = line - full * 0.042 * (bend - 0.30 * np.exp(-square * 30) + 0.1 * np.exp(-((np.abs(x) - 0.25) ** 2) * 40))
    gap_end = line + gape * bend
    lower = gap_end + full * 0.058 * bend
    shade = 0.90 + 0.16 * smoothstep(v - gap_end, 0.0, 0.05 * full) - 0.20 * smoothstep(v - line, 0.0, -0.05 * full)
    shade += 0.10 * coords.light[0] * x + 0.14 * np.exp(-((v - gap_end - 0.028 * full) ** 2) * 4000 - square * 6)
    lips = coverage(np.maximum(upper - v, v - lower), pixel)
    blend(
        image, box, lips * (0.80 + 0.2 * person.makeup) * smoothstep(bend, 0.0, 0.25), apply_shading(look.lips, shade)
    )
    if gape > 0.004:
        inner = coverage(np.maximum(line - v, v - gap_end), pixel)
        blend(image, box, inner, (0.22, 0.07, 0.07))
        teeth = coverage(np.maximum(line + 0.002 - v, v - (line + 0.75 * min(gape, 0.0715) * bend)), pixel)
        tooth = 1 - 0.25 * square - 0.06 * smoothstep(np.abs(np.sin(f * 75)), 0.25, 0.0)
        blend(
            image,
            box,
            teeth * smoothstep(np.abs(x), 0.95, 0.75),
            broadcast_color((0.95, 0.93, 0.90 - 0.06 * look.aging)) * tooth,
        )
    dark = mix(look.lips, (0.12, 0.03, 0.03), 0.72)
    for at in (line, gap_end) if gape > 0.004 else (line,):
        seam = np.abs(v - at) - 0.006
        blend(image, box, coverage(seam, pixel) * smoothstep(np.abs(x), 1.08, 0.9) * 0.75, dark)
    corner = np.exp(-((np.abs(x) - 1.02) ** 2) * 90 - (v - line) ** 2 * 3000)
    blend(image, box, corner * 0.45, dark)


def paint_beard(person: Person, look: Look, coords: FaceCoordinates, image: Array, head: Array) -> None:
    """Paint a beard, if the person has one; `head` is the signed distance to the head's outline."""
    if person.beard == "none":
        return
    level = person.nose_length + 0.170
    box = coords.mirrored_box(0.6, 0.0, 0.85)
    f, a, v = coords.f[box], coords.a[box], coords.v[box]
    chin = ellipse(f, v, (0.0, person.chin - 0.07), (0.17, 0.14))
    moustache = np.maximum(np.abs(v - (level - 0.052 + 0.5 * a * a)) - 0.036, a - person.mouth_width - 0.02)
    cheeks = 0.08 + np.minimum(1.3 * np.maximum(person.width - 0.06 - a, 0), level - 0.10) - v
    region = {
        "moustache": moustache,
        "goatee": smooth_union(chin, moustache, 0.03),
        "stubble": smooth_union(cheeks, moustache, 0.05),
        "full": smooth_union(cheeks, moustache, 0.05),
    }[person.beard]
    gape = 0.05 * (max(person.smile - 0.45, 0) + person.mouth_open)
    mouth = ellipse(f, v, (0.0, level + 0.02 + 0.03 * person.mouth_open), (person.mouth_width + 0.005, 0.055 + gape))
    soft = smoothstep(np.maximum(region, -mouth), 0.035, -0.05) * smoothstep(head[box], 0.025, 0.0)
    speckle = np.sin(90 * f + 3 * np.sin(50 * v + 30 * f)) * np.sin(55 * v + 2 * np.sin(64 * f))
    strength = 0.36 if person.beard == "stubble" else 0.88
    color = mix(mix(look.hair, (0.08, 0.06, 0.05), 0.2), GREY_HAIR, 0.85 * look.grey)
    shade = 0.92 + 0.12 * speckle + 0.25 * coords.light[0] * f - 0.2 * smoothstep(v, level, person.chin)
    blend(image, box, soft * strength * (0.86 + 0.14 * speckle), apply_shading(color, shade))


@dataclass(frozen=True)
class HairLayer:
    """The hair of a portrait, as arrays (h, w) for the pixels inside `box`."""

    style: HairStyle
    box: Box
    v: Array
    """Coordinate `v` of the pixels."""
    pixel: float
    """Size of a pixel in face units."""
    outline: Array
    """Signed distance to the outline of the hair."""
    window: Array
    """Signed distance to the opening in which the face is visible."""
    color: Array
    """Shaded color (3, h, w)."""

    @staticmethod
    def of(person: Person, look: Look, coords: FaceCoordinates, head: Array) -> "HairLayer":
        """Return the hair of a person; `head` is the signed distance to the head's outline, (size, size)."""
        style = HAIR_STYLES[person.hair_style]
        curl, phase = look.curl, person.phase
        volume = person.hair_volume * (1 - 0.12 * look.aging - 0.4 * look.recession)
        top = style.top * volume + 0.02 + 0.028 * curl * (1 - 0.6 * look.recession)
        side = style.side * volume + 0.01 + 0.022 * curl
        box = coords.mirrored_box(person.width + side + 0.10, -1.2, max(style.length + 0.18, 0.12))
        u, v, f, a = coords.u[box], coords.v[box], coords.f[box], coords.a[box]
        crown = ellipse(u, v, (0.0, -0.13), (person.width + side, 0.56 + top))
        if style.bun:
            crown = np.minimum(crown, ellipse(u, v, (0.3 * person.parting, -0.80), (0.20, 0.15)))
        if style.length > 0.2:
            middle = (style.length - 0.3) / 2
            fall = rounded_box(u, v, (0.0, middle), (person.width + side + 0.02, middle + 0.3), 0.16)
            crown = smooth_union(crown, fall, 0.2)
        # Waves and curls make the outline uneven; curls are finer.
        wave = style.wave * (1 - curl)
        ripple = np.sin(11 * v + 5 * u + phase) * np.sin(9 * u - 4 * v + phase)
        tight = np.sin(24 * u + 2 * np.sin(19 * v + phase)) * np.sin(25 * v + 2 * np.sin(18 * u + phase))
        outline = crown + (0.016 * wave) * ripple + (0.020 * curl) * tight
        # The hairline recedes most at the temples.
        line = style.line + style.sweep * np.sqrt((f - person.parting) ** 2 + 0.004) - 0.03
        temple = np.exp(-((a - 0.27) ** 2) * (1 / 0.13**2))
        line = line - look.recession * (0.09 + 0.07 * temple)
        edge = 0.010 * np.sin(38 * f + phase) if style.flow == "down" else 0.010 * np.sin(24 * f + phase)
        flank = person.width - 0.045 - 0.13 * smoothstep(v, 0.25, 0.8) + 0.03 * smoothstep(v, -0.2, 0.1)
        window = smooth_intersection(line + edge + (0.010 * curl) * tight - v, a - flank, 0.16)
        # Outside the head's outline there is no opening: the hair behind the head is visible.
        window = np.maximum(window, head[box] + 0.015 - smoothstep(v, -0.2, 0.0))
        texture = HairLayer._texture(person, look, coords, u, v, outline, tight)
        color = HairLayer._color(look, coords, u, v, outline, texture)
        return HairLayer(style, box, v, coords.pixel, outline, window, color)

    @staticmethod
    def _texture(
        person: Person, look: Look, coords: FaceCoordinates, u: Array, v: Array, outline: Array, tight: Array
    ) -> Array:
        """Return strands that follow the hair style's flow, or the `tight` curls, about -1..1."""
        style, phase = HAIR_STYLES[person.hair_style], person.phase
        if style.flow == "out":
            course = (u - 0.5 * person.parting) * 0.5 / np.maximum(0.25 - v, 0.2)
        elif style.flow == "arc":
            course = outline * 0.8 + 0.1 * u
        else:
            course = u * (0.6 + 0.2 * v)
        course = course + (0.02 * style.wave * (1 - look.curl) + 0.004) * np.sin(9 * v + 4 * u + phase)
        strands = 0.55 * np.sin(85 * course + 1.6 * np.sin(5 * v + phase)) + 0.45 * np.sin(47 * course + 2 * phase)
        if coords.pixel < 0.02:
            strands += 0.4 * np.sin(230 * course + 2 * np.sin(9 * v + phase))
        texture: Array = strands + look.curl * (1.15 * tight - strands)
        return texture

    @staticmethod
    def _color(look: Look, coords: FaceCoordinates, u: Array, v: Array, outline: Array, texture: Array) -> Array:
        """Return the hair's shaded color (3, h, w), with grey strands."""
        lx, ly, lz = coords.light
        nx, ny = u * (1 / 0.75), (v + 0.1) * (1 / 1.1)
        lit = nx * lx + ny * ly + np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0.05)) * lz
        sheen = np.exp(-((outline + 0.13 + 0.02 * texture) ** 2) * 260) * smoothstep(v, -0.1, -0.5)
        shade = 0.72 + 0.40 * lit + (0.17 - 0.07 * look.grey) * texture
        shade += (0.30 - 0.18 * look.curl) * sheen * (0.6 + lit)
        shade -= 0.22 * smoothstep(v, 0.3, 0.9)
        # Hair greys strand by strand, at the temples first.
        grey = look.grey * np.minimum(np.maximum(0.82 + 0.09 * texture + 0.2 * smoothstep(v, -0.6, -0.2), 0), 1)
        base, white = broadcast_color(look.hair), broadcast_color(mix(GREY_HAIR, look.hair, 0.12))
        color: Array = base + grey * (white - base)
        color *= shade
        return color

    def paint_back(self, image: Array) -> None:
        """Paint the hair behind neck and shoulders."""
        if self.style.length > 0.2:
            blend(image, self.box, coverage(self.outline, self.pixel), self.color * 0.62)

    def paint_front(self, image: Array) -> None:
        """Paint the hair in front of the head."""
        blend(image, self.box, self.front(), self.color)

    def front(self) -> Array:
        """Return the opacity 0..1 of the hair in front of the head: inside the outline and outside the opening for the
        face."""
        front = np.maximum(self.outline, -self.window)
        if self.style.length <= 0.2:
            front = smooth_intersection(front, self.v - self.style.length, 0.03)
        soft = max(self.pixel, 0.02)
        mask: Array = coverage(np.maximum(front, self.outline), self.pixel) * coverage(-self.window, soft)
        return mask


def paint_glasses(person: Person, coords: FaceCoordinates, image: Array) -> None:
    """Paint glasses, if the person wears any."""
    if person.glasses == "none":
        return
    gap, level, pixel = person.eye_gap + 0.01, -0.02, coords.pixel
    box = coords.mirrored_box(0.62, level - 0.24, level + 0.26)
    a, v = coords.a[box], coords.v[box]
    if person.glasses == "round":
        lens = ellipse(a, v, (gap, level), (0.158, 0.15))
    elif person.glasses == "square":
        lens = rounded_box(a, v, (gap, level), (0.165, 0.125), 0.045)
    else:
        lens = rounded_box(a, v, (gap, level), (0.16, 0.10), 0.08)
    thick = 0.009 if person.glasses == "thin" else 0.017
    gleam = smoothstep(np.abs(a + 0.9 * v - gap - 0.05), 0.05, 0.02) + 0.25
    blend(image, box, coverage(lens, pixel) * 0.13 * gleam, (0.95, 0.98, 1.0))
    bridge = np.maximum(np.abs(v - level + 0.035 - 0.9 * a * a) - thick * 0.8, a - gap + 0.14)
    arm = np.maximum(np.abs(v - level + 0.04) - thick * 0.9, np.maximum(gap + 0.155 - a, a - person.width + 0.04))
    frame = np.minimum(np.minimum(np.abs(lens) - thick, bridge), arm)
    blend(image, box, coverage(frame - 0.012, pixel * 2) * 0.16, (0.1, 0.05, 0.05))
    blend(image, box, coverage(frame, pixel), person.glasses_color)
