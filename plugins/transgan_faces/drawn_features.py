"""What a face is painted of: skin, wrinkles, eyes, brows, mouth, beard, hair and glasses."""

from dataclasses import dataclass

import numpy as np

from transgan_faces.drawn_person import GREY, HAIR, IRIS, Hair, Look, Person
from transgan_faces.drawn_shapes import (
    EVERYWHERE,
    RGB,
    Array,
    Box,
    Plane,
    along,
    column,
    cover,
    ellipse,
    join,
    meet,
    mix,
    paint,
    ramp,
    rounded_box,
    scatter,
)

_FOLLOW = column((0.88, 1.0, 1.06))
_REST = column((0.12, 0.0, -0.06))


def tint(albedo: Array | RGB, shade: Array) -> Array:
    """Planes of a surface under a ``shade`` map (1: full light); skin keeps more red in its shadows."""
    base = column(albedo) if isinstance(albedo, tuple) else albedo
    planes: Array = shade * _FOLLOW
    planes += _REST
    planes *= base
    return planes


def paint_face(who: Person, look: Look, plane: Plane, image: Array, head: Array, hair: "Hairdo") -> None:
    """Skin of the head and ears with its relief: the light on the head's form, nose, cheeks, folds and spots."""
    box, old = plane.both(0.64, -0.73, 0.80), look.old
    u, v, f = plane.u[box], plane.v[box], plane.f
    lx, ly, lz = plane.light
    nx, ny = u * (1 / 0.66), (v + 0.02) * (1 / 0.95)
    nz = np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0.03))
    lit = nx * lx + ny * ly + nz * lz
    key = 0.36 + 0.44 * who.contrast
    # Pores and unevenness grow with age.
    fine = np.sin(23 * u + 3 * np.sin(17 * v + who.phase)) * np.sin(21 * v + 3 * np.sin(19 * u + who.phase))
    shade, blush = np.zeros_like(f), np.zeros_like(f)
    shade[box] = (1.06 - 0.86 * key) + key * lit + (0.010 + 0.022 * old) * fine
    _relief(who, look, plane, shade, blush)
    _wrinkles(who, look, plane, shade)
    # The spots of age are where freckles are.
    strength = 0.06 * who.freckles + 0.13 * old
    for k in range(9) if strength > 0.01 else ():
        place = (0.40 * (scatter(who.phase, k) * 2 - 1), -0.42 + 0.78 * scatter(who.phase, k + 50))
        spot = plane.box(place[0] - 0.05, place[1] - 0.05, place[0] + 0.05, place[1] + 0.05)
        away = (f[spot] - place[0]) ** 2 + (plane.v[spot] - place[1]) ** 2
        shade[spot] -= strength * np.exp(away * -(1 / 0.020**2))
    # Hair and the outline of the head take some light away.
    shade[hair.box] -= 0.13 * ramp(hair.window, -0.10, 0.02)
    shade[box] -= 0.10 * ramp(head[box], -0.10, 0.0)
    _ears(who, look, plane, image)
    skin = column(look.skin) + blush[box] * (column(look.lips) - column(look.skin))
    paint(image, box, cover(head[box], plane.pixel), tint(skin, shade[box]))


def _ears(who: Person, look: Look, plane: Plane, image: Array) -> None:
    level, tall, width = 0.02, 0.105 + 0.025 * who.ears + 0.015 * look.old, who.width
    box = plane.both(0.68, -0.2, 0.25)
    u, v = plane.u[box], plane.v[box]
    side = np.abs(u)
    ear = ellipse(side, v, (width - 0.005, level), (0.055 + 0.02 * who.ears, tall))
    hollow = ramp(ellipse(side, v, (width + 0.012, level), (0.028, tall * 0.62)), 0.02, -0.02)
    shade = 0.80 + 0.22 * who.contrast * plane.light[0] * np.sign(u) - 0.26 * hollow
    paint(image, box, cover(ear, plane.pixel), tint(mix(look.skin, look.lips, 0.22), shade))


def _relief(who: Person, look: Look, plane: Plane, shade: Array, blush: Array) -> None:
    """Press the forms of the face into ``shade`` and its redness into ``blush``."""
    old, deep = look.old, 0.6 + 0.5 * who.contrast
    tip = who.nose_length - 0.02
    wide = who.nose_width * (1 + 0.22 * look.breadth) * (1 + 0.10 * old)
    gap = who.eye_gap
    # Sockets, then the ridge and the tip of the nose, cheeks, the dip over the lip, chin.
    plane.blob(shade, (gap - 0.03, -0.075), (0.13, 0.085), -0.13 * deep)
    plane.blob(shade, (0.095, -0.06), (0.045, 0.07), -0.10 * deep)
    plane.bump(shade, (0.0, 0.03), (0.065, 0.20), 0.30 * deep * who.nose_ridge)
    plane.bump(shade, (0.0, tip), (0.080, 0.070), 0.36 * deep)
    plane.blob(shade, (0.0, 0.02), (0.022, 0.14), 0.07)
    plane.blob(shade, (0.0, tip - 0.02), (0.03, 0.028), 0.16)
    plane.blob(shade, (0.0, tip + 0.068), (wide * 1.1, 0.035), -0.20 * deep)
    plane.blob(shade, (wide * 0.50, tip + 0.042), (0.024, 0.014), -0.42)
    plane.crease(shade, (wide * 0.95, tip + 0.045), (wide * 0.90, tip - 0.04), -0.022, 0.013, 0.30, relief=0.3)
    plane.blob(blush, (0.0, tip), (wide, 0.06), 0.14)
    for s in (-1.0, 1.0):
        plane.bump(shade, (s * 0.29, 0.13), (0.13, 0.11), (0.16 + 0.10 * who.cheeks) * (1 - 0.35 * old))
        plane.bump(shade, (s * 0.17, -0.40), (0.17, 0.14), 0.05)
    plane.blob(shade, (0.27, 0.10), (0.09, 0.06), 0.07)
    plane.blob(blush, (0.30, 0.15), (0.12, 0.10), 0.17 + 0.13 * who.makeup)
    plane.blob(shade, (0.0, -0.42), (0.20, 0.11), 0.05)
    plane.bump(shade, (0.0, who.chin - 0.09), (0.12, 0.08), 0.16)
    # Hollow cheeks and hanging jowls are the shape of age; the lit fold above them makes them read as form.
    plane.blob(shade, (0.36, 0.24), (0.09, 0.14), -0.05 - 0.09 * old)
    plane.blob(shade, (0.27, who.chin - 0.20), (0.10, 0.08), 0.08 * old)
    plane.crease(shade, (0.19, who.chin - 0.04), (0.34, who.chin - 0.22), -0.03, 0.030, 0.15 * old)


def _wrinkles(who: Person, look: Look, plane: Plane, shade: Array) -> None:
    """Press the folds of age into ``shade``; a smile shows in the fold beside the mouth at any age."""
    old, gap, smile = look.old, who.eye_gap, max(who.smile, 0.0)
    tip = who.nose_length
    lean = 0.02 * (scatter(who.phase, 60) - 0.5)
    plane.crease(
        shade, (-0.26, -0.45 - lean), (0.26, -0.45 + lean), 0.022, 0.016, 0.24 * old, mirror=False, repeat=3, step=0.072
    )
    plane.crease(shade, (0.035, -0.15), (0.028, -0.245), 0.006, 0.012, 0.20 * old)
    corner = gap + who.eye_size + 0.03
    plane.crease(
        shade, (corner, -0.05), (corner + 0.095, -0.105), 0.01, 0.011, 0.26 * old, repeat=3, step=0.02, spread=2.2
    )
    plane.crease(shade, (gap - 0.085, 0.035), (gap + 0.09, 0.03), -0.045, 0.020, 0.05 + 0.26 * old)
    plane.crease(shade, (gap - 0.05, 0.075), (gap + 0.11, 0.05), -0.05, 0.022, 0.13 * old)
    # From the nose past the corner of the mouth, from there to the chin, and the dip under the lip.
    beside, below = who.mouth_width + 0.05, tip + 0.27
    plane.crease(
        shade, (beside, tip + 0.16), (0.10, tip - 0.005), 0.012 + 0.02 * smile, 0.020, 0.08 * smile + 0.25 * old
    )
    plane.crease(shade, (beside - 0.03, tip + 0.20), (beside, tip + 0.30), 0.010, 0.018, 0.17 * old)
    plane.crease(shade, (-0.09, below), (0.09, below), 0.012, 0.020, 0.10 + 0.06 * old, mirror=False, relief=0.2)


def paint_eyes(who: Person, look: Look, plane: Plane, image: Array) -> None:
    """Eyes with iris, lids and lashes; the eyeballs stay where they are, age only lets the lids hang."""
    gap, half = who.eye_gap, who.eye_size
    center = -0.035
    box = plane.both(gap + half + 0.08, center - 0.13, center + 0.11)
    a, f, pixel = plane.a[box], plane.f[box], plane.pixel
    x = (a - gap) * (1 / half)
    drop = plane.v[box] - center + (who.eye_tilt - 0.05 * look.old) * (a - gap)
    bend = 1 - x * x
    tall = half * who.eye_open * (1 - 0.14 * look.old)
    upper, lower = -tall * bend, 0.62 * tall * bend
    opening = cover(np.maximum(upper - drop, drop - lower), pixel)
    side = np.sign(f)
    px, py = (a - gap) * side - who.gaze[0], plane.v[box] - center - who.gaze[1] + 0.1 * tall
    away = np.sqrt(px * px + py * py)
    r = 0.057
    white = (0.93 - 0.03 * look.old, 0.90 - 0.05 * look.old, 0.87 - 0.07 * look.old)
    shadow = 1 - 0.42 * ramp(drop - upper, 0.05, 0.0) - 0.15 * np.minimum(x * x, 1)
    ball = column(white) * shadow
    iris = column(along(IRIS, who.iris))
    glow = 0.75 + 0.55 * ramp(py, -0.03, 0.04) - 0.5 * ramp(away, r * 0.72, r)
    paint(ball, EVERYWHERE, cover(away - r, pixel), iris * glow * (0.45 + 0.55 * shadow))
    paint(ball, EVERYWHERE, cover(away - r * 0.42, pixel), (0.02, 0.02, 0.025))
    glint = np.sqrt((px - 0.022 * plane.light[0] - 0.006) ** 2 + (py + 0.019) ** 2)
    paint(ball, EVERYWHERE, cover(glint - 0.014, pixel) * 0.9, (1.0, 1.0, 1.0))
    paint(image, box, opening, ball)
    # Lids: a fold above the eye, lashes along the upper lid, a faint edge below.
    skin_dark = mix(look.skin, (0.10, 0.04, 0.03), 0.55)
    fold = np.abs(drop - upper * 1.05 + 0.030 - 0.022 * look.old * np.maximum(x, 0) ** 2)
    paint(image, box, ramp(fold, 0.016, 0.0) * ramp(np.abs(x), 1.15, 0.7) * (0.45 + 0.2 * look.old), skin_dark)
    if who.makeup > 0:
        lid = ramp(drop - upper, -0.06, 0.0) * cover(drop - upper, pixel) * ramp(np.abs(x), 1.1, 0.6)
        paint(image, box, lid * 0.4 * who.makeup, mix(who.clothes_color, (0.25, 0.12, 0.2), 0.6))
    lash = 0.008 + (0.006 + 0.006 * who.makeup if who.gender == "female" else 0.0)
    stroke = np.abs(drop - upper + 0.3 * lash) - lash * (0.75 + 0.45 * np.minimum(np.maximum(x, -1), 1))
    paint(image, box, cover(stroke, pixel) * ramp(np.abs(x - 0.06), 1.22, 1.0) * 0.9, (0.09, 0.055, 0.05))
    edge = np.abs(drop - lower) - 0.003
    paint(image, box, cover(edge, pixel) * ramp(np.abs(x), 1.05, 0.8) * 0.5, skin_dark)


def paint_brows(who: Person, look: Look, plane: Plane, image: Array) -> None:
    gap, level = who.eye_gap, -0.035 - who.brow_height + 0.016 * look.old
    box = plane.both(gap + 0.2, level - 0.1, level + 0.09)
    a, v = plane.a[box], plane.v[box]
    t = (a - gap + 0.115) * (1 / 0.255)
    inside = np.minimum(np.maximum(t, 0), 1)
    middle = level - who.brow_arch * np.sin(inside * 2.4) + (0.03 + 0.02 * look.old) * inside * inside
    weight = 0.032 * who.brow_weight * (1.0 - 0.68 * inside)
    mask = cover((np.abs(v - middle) - weight) * 0.6, max(plane.pixel, 0.014)) * ramp(np.abs(t - 0.5), 0.56, 0.44)
    hairs = 0.82 + 0.18 * np.sin((a * 0.8 + v) * 150 + 5 * a)
    # Brows grey later than hair, so that the colour of before can still be told.
    color = mix(mix(look.hair, (0.10, 0.07, 0.06), 0.35), GREY, 0.55 * look.grey)
    paint(image, box, mask * hairs * (0.62 + 0.3 * who.brow_weight), color)


def paint_mouth(who: Person, look: Look, plane: Plane, image: Array) -> None:
    half, smile = who.mouth_width * (1 + 0.10 * who.smile), who.smile
    level = who.nose_length + 0.170
    box = plane.both(half + 0.06, level - 0.14, level + 0.18)
    f, v, pixel = plane.f[box], plane.v[box], plane.pixel
    x = f * (1 / half)
    square = x * x
    bend = 1 - square
    line = level + 0.02 * smile - (0.055 * smile - 0.012 * look.old) * square + 0.008 * np.exp(-square * 14)
    gape = max(smile - 0.45, 0.0) * 0.13
    full = (0.7 + 0.6 * who.lips) * (1 + 0.45 * look.breadth) * (1 - 0.42 * look.old)
    upper = line - full * 0.042 * (bend - 0.30 * np.exp(-square * 30) + 0.1 * np.exp(-((np.abs(x) - 0.25) ** 2) * 40))
    gap_end = line + gape * bend
    lower = gap_end + full * 0.058 * bend
    shade = 0.90 + 0.16 * ramp(v - gap_end, 0.0, 0.05 * full) - 0.20 * ramp(v - line, 0.0, -0.05 * full)
    shade += 0.10 * plane.light[0] * x + 0.14 * np.exp(-((v - gap_end - 0.028 * full) ** 2) * 4000 - square * 6)
    lips = cover(np.maximum(upper - v, v - lower), pixel)
    paint(image, box, lips * (0.80 + 0.2 * who.makeup) * ramp(bend, 0.0, 0.25), tint(look.lips, shade))
    if gape > 0.004:
        inner = cover(np.maximum(line - v, v - gap_end), pixel)
        paint(image, box, inner, (0.22, 0.07, 0.07))
        teeth = cover(np.maximum(line + 0.002 - v, v - (line + 0.75 * gape * bend)), pixel)
        tooth = 1 - 0.25 * square - 0.06 * ramp(np.abs(np.sin(f * 75)), 0.25, 0.0)
        paint(image, box, teeth * ramp(np.abs(x), 0.95, 0.75), column((0.95, 0.93, 0.90 - 0.06 * look.old)) * tooth)
    dark = mix(look.lips, (0.12, 0.03, 0.03), 0.72)
    for at in (line, gap_end) if gape > 0.004 else (line,):
        seam = np.abs(v - at) - 0.006
        paint(image, box, cover(seam, pixel) * ramp(np.abs(x), 1.08, 0.9) * 0.75, dark)
    corner = np.exp(-((np.abs(x) - 1.02) ** 2) * 90 - (v - line) ** 2 * 3000)
    paint(image, box, corner * 0.45, dark)


def paint_beard(who: Person, look: Look, plane: Plane, image: Array, head: Array) -> None:
    if who.beard == "none":
        return
    level = who.nose_length + 0.170
    box = plane.both(0.6, 0.0, 0.85)
    f, a, v = plane.f[box], plane.a[box], plane.v[box]
    chin = ellipse(f, v, (0.0, who.chin - 0.07), (0.17, 0.14))
    moustache = np.maximum(np.abs(v - (level - 0.052 + 0.5 * a * a)) - 0.036, a - who.mouth_width - 0.02)
    cheeks = 0.08 + np.minimum(1.3 * np.maximum(who.width - 0.06 - a, 0), level - 0.10) - v
    region = {
        "moustache": moustache,
        "goatee": join(chin, moustache, 0.03),
        "stubble": join(cheeks, moustache, 0.05),
        "full": join(cheeks, moustache, 0.05),
    }[who.beard]
    mouth = ellipse(f, v, (0.0, level + 0.02), (who.mouth_width + 0.005, 0.055 + 0.05 * max(who.smile - 0.45, 0)))
    soft = ramp(np.maximum(region, -mouth), 0.035, -0.05) * ramp(head[box], 0.025, 0.0)
    speckle = np.sin(90 * f + 3 * np.sin(50 * v + 30 * f)) * np.sin(55 * v + 2 * np.sin(64 * f))
    strength = 0.36 if who.beard == "stubble" else 0.88
    color = mix(mix(look.hair, (0.08, 0.06, 0.05), 0.2), GREY, 0.85 * look.grey)
    shade = 0.92 + 0.12 * speckle + 0.25 * plane.light[0] * f - 0.2 * ramp(v, level, who.chin)
    paint(image, box, soft * strength * (0.86 + 0.14 * speckle), tint(color, shade))


@dataclass(frozen=True)
class Hairdo:
    """The hair of a picture, inside ``box``: distances to its outline and to the window for the face, its planes."""

    style: Hair
    box: Box
    v: Array
    pixel: float
    outline: Array
    window: Array
    color: Array

    @staticmethod
    def of(who: Person, look: Look, plane: Plane, head: Array) -> "Hairdo":
        style = HAIR[who.cut]
        curl, phase = look.curl, who.phase
        volume = who.volume * (1 - 0.12 * look.old - 0.4 * look.recede)
        top = style.top * volume + 0.02 + 0.028 * curl * (1 - 0.6 * look.recede)
        side = style.side * volume + 0.01 + 0.022 * curl
        box = plane.both(who.width + side + 0.10, -1.2, max(style.length + 0.18, 0.12))
        u, v, f, a = plane.u[box], plane.v[box], plane.f[box], plane.a[box]
        crown = ellipse(u, v, (0.0, -0.13), (who.width + side, 0.56 + top))
        if style.bun:
            crown = np.minimum(crown, ellipse(u, v, (0.3 * who.part, -0.80), (0.20, 0.15)))
        if style.length > 0.2:
            middle = (style.length - 0.3) / 2
            fall = rounded_box(u, v, (0.0, middle), (who.width + side + 0.02, middle + 0.3), 0.16)
            crown = join(crown, fall, 0.2)
        # Curls and waves ripple the outline; tight curls are finer.
        wave = style.wave * (1 - curl)
        ripple = np.sin(11 * v + 5 * u + phase) * np.sin(9 * u - 4 * v + phase)
        tight = np.sin(24 * u + 2 * np.sin(19 * v + phase)) * np.sin(25 * v + 2 * np.sin(18 * u + phase))
        outline = crown + (0.016 * wave) * ripple + (0.020 * curl) * tight
        # The hairline: parted, swept or a fringe; it moves up at the temples first.
        line = style.line + style.sweep * np.sqrt((f - who.part) ** 2 + 0.004) - 0.03
        temple = np.exp(-((a - 0.27) ** 2) * (1 / 0.13**2))
        line = line - look.recede * (0.09 + 0.07 * temple)
        edge = 0.010 * np.sin(38 * f + phase) if style.flow == "down" else 0.010 * np.sin(24 * f + phase)
        flank = who.width - 0.045 - 0.13 * ramp(v, 0.25, 0.8) + 0.03 * ramp(v, -0.2, 0.1)
        window = meet(line + edge + (0.010 * curl) * tight - v, a - flank, 0.16)
        # Beside and above the head there is hair, not a window: one sees the hair of the back.
        window = np.maximum(window, head[box] + 0.015 - ramp(v, -0.2, 0.0))
        texture = Hairdo._texture(who, look, plane, u, v, outline, tight)
        color = Hairdo._shaded(look, plane, u, v, outline, texture)
        return Hairdo(style, box, v, plane.pixel, outline, window, color)

    @staticmethod
    def _texture(who: Person, look: Look, plane: Plane, u: Array, v: Array, outline: Array, tight: Array) -> Array:
        """Strands that follow the cut, or the ``tight`` curls, about -1..1."""
        style, phase = HAIR[who.cut], who.phase
        if style.flow == "out":
            course = (u - 0.5 * who.part) * 0.5 / np.maximum(0.25 - v, 0.2)
        elif style.flow == "arc":
            course = outline * 0.8 + 0.1 * u
        else:
            course = u * (0.6 + 0.2 * v)
        course = course + (0.02 * style.wave * (1 - look.curl) + 0.004) * np.sin(9 * v + 4 * u + phase)
        strands = 0.55 * np.sin(85 * course + 1.6 * np.sin(5 * v + phase)) + 0.45 * np.sin(47 * course + 2 * phase)
        if plane.pixel < 0.02:
            strands += 0.4 * np.sin(230 * course + 2 * np.sin(9 * v + phase))
        texture: Array = strands + look.curl * (1.15 * tight - strands)
        return texture

    @staticmethod
    def _shaded(look: Look, plane: Plane, u: Array, v: Array, outline: Array, texture: Array) -> Array:
        """Planes of the hair's colour under the light, salted with grey."""
        lx, ly, lz = plane.light
        nx, ny = u * (1 / 0.75), (v + 0.1) * (1 / 1.1)
        lit = nx * lx + ny * ly + np.sqrt(np.maximum(1 - nx * nx - ny * ny, 0.05)) * lz
        sheen = np.exp(-((outline + 0.13 + 0.02 * texture) ** 2) * 260) * ramp(v, -0.1, -0.5)
        shade = 0.72 + 0.40 * lit + (0.17 - 0.07 * look.grey) * texture
        shade += (0.30 - 0.18 * look.curl) * sheen * (0.6 + lit)
        shade -= 0.22 * ramp(v, 0.3, 0.9)
        # Grey comes strand by strand, from the temples up.
        grey = look.grey * np.minimum(np.maximum(0.82 + 0.09 * texture + 0.2 * ramp(v, -0.6, -0.2), 0), 1)
        base, white = column(look.hair), column(mix(GREY, look.hair, 0.12))
        color: Array = base + grey * (white - base)
        color *= shade
        return color

    def paint_back(self, image: Array) -> None:
        """Lay the hair that falls behind neck and shoulders."""
        if self.style.length > 0.2:
            paint(image, self.box, cover(self.outline, self.pixel), self.color * 0.62)

    def paint_front(self, image: Array) -> None:
        """Lay the hair before the head: what is inside the outline and not in the face's window."""
        front = np.maximum(self.outline, -self.window)
        if self.style.length <= 0.2:
            front = meet(front, self.v - self.style.length, 0.03)
        soft = max(self.pixel, 0.02)
        mask = cover(np.maximum(front, self.outline), self.pixel) * cover(-self.window, soft)
        paint(image, self.box, mask, self.color)


def paint_glasses(who: Person, plane: Plane, image: Array) -> None:
    if who.glasses == "none":
        return
    gap, level, pixel = who.eye_gap + 0.01, -0.02, plane.pixel
    box = plane.both(0.62, level - 0.24, level + 0.26)
    a, v = plane.a[box], plane.v[box]
    if who.glasses == "round":
        lens = ellipse(a, v, (gap, level), (0.158, 0.15))
    elif who.glasses == "square":
        lens = rounded_box(a, v, (gap, level), (0.165, 0.125), 0.045)
    else:
        lens = rounded_box(a, v, (gap, level), (0.16, 0.10), 0.08)
    thick = 0.009 if who.glasses == "thin" else 0.017
    gleam = ramp(np.abs(a + 0.9 * v - gap - 0.05), 0.05, 0.02) + 0.25
    paint(image, box, cover(lens, pixel) * 0.13 * gleam, (0.95, 0.98, 1.0))
    bridge = np.maximum(np.abs(v - level + 0.035 - 0.9 * a * a) - thick * 0.8, a - gap + 0.14)
    arm = np.maximum(np.abs(v - level + 0.04) - thick * 0.9, np.maximum(gap + 0.155 - a, a - who.width + 0.04))
    frame = np.minimum(np.minimum(np.abs(lens) - thick, bridge), arm)
    paint(image, box, cover(frame - 0.012, pixel * 2) * 0.16, (0.1, 0.05, 0.05))
    paint(image, box, cover(frame, pixel), who.glasses_color)
