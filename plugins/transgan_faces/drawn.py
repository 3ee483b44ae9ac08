"""Drawn faces: illustrated portraits rendered from parameters, a training set that needs no download.

``person(seed, index)`` invents somebody and their picture; ``draw`` renders that picture at an age and under a label.
Two calls of ``draw`` that differ in one label give *counterparts*: pose, light, background, clothes, glasses and style
of hair stay as they are, and what the label changes can mostly be told from the other picture. So a translation that
was learnt without pairs can be compared with the picture it should have made.

The label called ``race`` has UTKFace's names, and what it changes here is complexion, the colour and texture of the
hair, and mildly the breadth of nose and lips. That is a crude stand-in, made for measuring algorithms; it is no
statement about people, who differ within each of these labels in ways that no such drawing shows.
"""

import colorsys
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
    grid,
    join,
    meet,
    mix,
    paint,
    ramp,
    rounded_box,
    scatter,
)

RACES = ("White", "Black", "Asian", "Indian")
"""The labels that ``draw`` takes as ``race``: UTKFace's names, in the order of its codes 0..3."""

AGES = (18.0, 80.0)
"""The youngest and the oldest age in years that ``draw`` takes."""


@dataclass(frozen=True)
class Hair:
    """A cut of hair, in face units: how far it stands off the skull, where it ends and how it meets the face."""

    top: float
    side: float
    length: float
    line: float
    sweep: float
    flow: str
    wave: float = 0.0
    bun: bool = False
    recedes: float = 1.0


HAIR = {
    "crop": Hair(0.03, 0.0, 0.0, -0.47, 0.0, "out"),
    "parted": Hair(0.09, 0.025, 0.03, -0.47, 0.28, "out"),
    "quiff": Hair(0.16, 0.015, 0.0, -0.46, 0.0, "out"),
    "fringe": Hair(0.10, 0.05, 0.08, -0.33, 0.12, "down", 0.3),
    "tousled": Hair(0.15, 0.07, 0.06, -0.42, 0.16, "down", 0.9),
    "mane": Hair(0.09, 0.08, 0.72, -0.50, 0.42, "arc", 0.6),
    "straight": Hair(0.07, 0.06, 1.05, -0.52, 0.48, "arc"),
    "waves": Hair(0.11, 0.13, 1.00, -0.50, 0.45, "arc", 1.0, recedes=0.5),
    "bob": Hair(0.10, 0.10, 0.50, -0.29, 0.0, "down", recedes=0.3),
    "lob": Hair(0.09, 0.09, 0.62, -0.49, 0.50, "arc", 0.3, recedes=0.5),
    "bun": Hair(0.05, 0.005, 0.0, -0.48, 0.12, "out", bun=True, recedes=0.6),
    "pixie": Hair(0.11, 0.045, 0.10, -0.40, 0.45, "down", 0.2, recedes=0.4),
    "curls": Hair(0.17, 0.20, 0.42, -0.45, 0.15, "arc", 1.6, recedes=0.5),
}
CUTS = {
    "male": ("crop", "parted", "quiff", "fringe", "tousled", "parted", "crop", "mane"),
    "female": ("straight", "waves", "bob", "lob", "bun", "pixie", "curls"),
}

# Palettes run from light to dark, so that one number places somebody alike in every one of them.
SKIN: dict[str, tuple[RGB, ...]] = {
    "White": ((0.96, 0.81, 0.72), (0.91, 0.725, 0.615), (0.84, 0.63, 0.50)),
    "Black": ((0.62, 0.435, 0.32), (0.52, 0.35, 0.25), (0.42, 0.275, 0.195)),
    "Asian": ((0.96, 0.84, 0.70), (0.91, 0.76, 0.60), (0.83, 0.66, 0.48)),
    "Indian": ((0.80, 0.61, 0.45), (0.70, 0.51, 0.36), (0.58, 0.41, 0.28)),
}
LIPS: dict[str, RGB] = {
    "White": (0.76, 0.40, 0.39),
    "Black": (0.43, 0.20, 0.19),
    "Asian": (0.76, 0.40, 0.37),
    "Indian": (0.58, 0.29, 0.27),
}
DARK_HAIR: tuple[RGB, ...] = ((0.25, 0.175, 0.135), (0.17, 0.125, 0.10), (0.11, 0.09, 0.085))
HAIRS: dict[str, tuple[RGB, ...]] = {
    "White": (
        (0.82, 0.66, 0.41),
        (0.62, 0.43, 0.25),
        (0.47, 0.29, 0.175),
        (0.38, 0.24, 0.15),
        (0.28, 0.18, 0.12),
        (0.15, 0.11, 0.09),
    ),
    "Black": DARK_HAIR,
    "Asian": DARK_HAIR,
    "Indian": DARK_HAIR,
}
BREADTH = {"White": 0.0, "Black": 1.0, "Asian": 0.25, "Indian": 0.35}
GREY: RGB = (0.76, 0.76, 0.77)
IRIS: tuple[RGB, ...] = (
    (0.36, 0.53, 0.66),
    (0.38, 0.50, 0.38),
    (0.46, 0.34, 0.18),
    (0.30, 0.18, 0.10),
    (0.20, 0.12, 0.08),
)


@dataclass(frozen=True)
class Person:
    """Everything about a person and their picture that is neither age nor race.

    Colours are RGB in 0..1; numbers without a unit below are 0..1 from slight to strong.
    """

    gender: str  # "male" or "female"
    # The picture: offset and scale of the head (screen units), tilt (radians), turn (face units), light, background.
    shift: tuple[float, float]
    scale: float
    tilt: float
    yaw: float
    light: float  # -1 from the left .. 1 from the right
    contrast: float
    warmth: float
    backdrop: str
    backdrop_colors: tuple[RGB, RGB]
    phase: float  # places texture, folds and blobs
    # The head.
    width: float
    jaw: float
    chin: float
    cheeks: float
    ears: float
    tone: float  # complexion, light to dark within the label's range
    freckles: float
    # Features.
    eye_gap: float
    eye_size: float
    eye_open: float
    eye_tilt: float
    iris: float  # light to dark
    gaze: tuple[float, float]
    brow_height: float
    brow_arch: float
    brow_weight: float
    nose_length: float
    nose_width: float
    nose_ridge: float
    mouth_width: float
    lips: float
    makeup: float
    smile: float
    # Hair, and what is worn.
    cut: str
    shade: float  # colour of the hair, light to dark within the label's range
    part: float
    volume: float
    beard: str
    glasses: str
    glasses_color: RGB
    clothes: str
    clothes_color: RGB
    trim_color: RGB


def person(seed: int, index: int) -> Person:
    """Person ``index`` of the people of ``seed`` (both 0..2**64-1), always the same one; seeds are unrelated.

    Raises ValueError where either number is out of range.
    """
    for name, number in (("seed", seed), ("index", index)):
        if not 0 <= number < 2**64:
            raise ValueError(f"{name} must be 0..2**64-1, not {number}")
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))

    def real(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def bell(low: float, high: float) -> float:
        return low + (high - low) * float(rng.beta(2.2, 2.2))

    def pick(*options: str) -> str:
        return options[int(rng.integers(len(options)))]

    def color(saturation: tuple[float, float], value: tuple[float, float]) -> RGB:
        return colorsys.hsv_to_rgb(real(0, 1), real(*saturation), real(*value))

    gender = pick("male", "female")
    man = gender == "male"
    hue, drift = real(0, 1), real(-0.12, 0.12)
    first = colorsys.hsv_to_rgb(hue, real(0.05, 0.42), real(0.45, 0.9))
    second = colorsys.hsv_to_rgb((hue + drift) % 1, real(0.08, 0.48), real(0.22, 0.65))
    return Person(
        gender=gender,
        shift=(bell(-0.07, 0.07), bell(0.0, 0.10)),
        scale=bell(0.88, 1.0),
        tilt=bell(-0.13, 0.13),
        yaw=bell(-0.075, 0.075),
        light=real(-1, 1),
        contrast=real(0.2, 1),
        warmth=real(-1, 1),
        backdrop=pick("plain", "bokeh", "wall", "hills", "leaves", "window"),
        backdrop_colors=(first, second),
        phase=real(0, 100),
        width=bell(0.435, 0.51),
        jaw=bell(0.37, 0.44) if man else bell(0.325, 0.405),
        chin=bell(0.645, 0.72) if man else bell(0.62, 0.685),
        cheeks=real(0, 1),
        ears=real(0, 1),
        tone=real(0, 1),
        freckles=max(real(-1.5, 1), 0.0),
        eye_gap=bell(0.195, 0.235),
        eye_size=bell(0.092, 0.112) if man else bell(0.098, 0.122),
        eye_open=bell(0.38, 0.60),
        eye_tilt=bell(-0.04, 0.16),
        iris=real(0, 1) ** 0.6,
        gaze=(bell(-0.022, 0.022), bell(-0.008, 0.008)),
        brow_height=bell(0.125, 0.17) if man else bell(0.145, 0.19),
        brow_arch=bell(0.005, 0.035) if man else bell(0.015, 0.055),
        brow_weight=bell(0.6, 1.0) if man else bell(0.3, 0.65),
        nose_length=bell(0.22, 0.285),
        nose_width=bell(0.080, 0.11) if man else bell(0.070, 0.1),
        nose_ridge=real(0.3, 1),
        mouth_width=bell(0.155, 0.205),
        lips=bell(0.0, 1.0) if man else bell(0.25, 1.25),
        makeup=0.0 if man else max(real(-0.6, 1), 0.0),
        smile=real(-0.15, 1),
        cut=pick(*CUTS[gender]),
        shade=real(0, 1),
        part=real(-0.24, 0.24),
        volume=bell(0.75, 1.3),
        beard=pick("none", "none", "none", "stubble", "moustache", "goatee", "full") if man else "none",
        glasses=pick("none", "none", "none", "none", "round", "square", "thin"),
        glasses_color=color((0.2, 0.8), (0.05, 0.3)),
        clothes=pick("crew", "v", "shirt", "suit", "roll") if man else pick("crew", "v", "scoop", "shirt", "roll"),
        clothes_color=color((0.1, 0.75), (0.15, 0.85)),
        trim_color=color((0.05, 0.7), (0.5, 0.95)),
    )


def agedness(age: float) -> float:
    """How old somebody looks at ``age`` years, 0 (18) .. 1 (80), rising; most of it happens between 30 and 50.

    The middle is steep so that the age groups 20-30 and 50-60 are each alike and well apart.
    """

    def raw(years: float) -> float:
        return 0.86 / (1 + math.exp((40 - years) / 4.5)) + 0.14 * (years - AGES[0]) / (AGES[1] - AGES[0])

    return (raw(age) - raw(AGES[0])) / (raw(AGES[1]) - raw(AGES[0]))


@dataclass(frozen=True)
class Look:
    """What age and race make of a person: colours, and how far each change has gone."""

    old: float
    breadth: float  # of nose and lips, 0..1
    curl: float  # texture of the hair: 0 strands .. 1 tight curls
    skin: RGB
    lips: RGB
    hair: RGB
    grey: float
    recede: float

    @staticmethod
    def of(who: Person, age: float, race: str) -> "Look":
        """The look of ``who`` at ``age`` years under the label ``race``."""
        old = agedness(age)
        skin = along(SKIN[race], who.tone)
        level = sum(skin) / 3
        dull = mix(skin, (level * 0.99, level * 0.93, level * 0.84), 0.30 * old)
        lips = mix(LIPS[race], skin, 0.30 - 0.1 * who.tone)
        lips = mix(lips, (0.72, 0.13, 0.20), 0.55 * who.makeup)
        return Look(
            old=old,
            breadth=BREADTH[race],
            curl=1.0 if race == "Black" else 0.0,
            skin=dull,
            lips=mix(lips, dull, 0.35 * old),
            hair=along(HAIRS[race], who.shade),
            grey=min(1.0, 0.95 * old),
            recede=old * HAIR[who.cut].recedes * (1.0 if who.gender == "male" else 0.35),
        )


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
    hair = _Hair.of(person, look, plane, head)
    hair.paint_back(image)
    _neck(person, look, plane, image)
    _clothes(person, plane, image)
    _face(person, look, plane, image, head, hair)
    _eyes(person, look, plane, image)
    _mouth(person, look, plane, image)
    _beard(person, look, plane, image, head)
    hair.paint_front(image)
    _brows(person, look, plane, image)
    _glasses(person, plane, image)
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
_FOLLOW = column((0.88, 1.0, 1.06))
_REST = column((0.12, 0.0, -0.06))


def _tint(albedo: Array | RGB, shade: Array) -> Array:
    """Planes of a surface under a ``shade`` map (1: full light); skin keeps more red in its shadows."""
    base = column(albedo) if isinstance(albedo, tuple) else albedo
    planes: Array = shade * _FOLLOW
    planes += _REST
    planes *= base
    return planes


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
    paint(image, box, cover(np.abs(u) - width, plane.pixel) * cover(0.3 - v, plane.pixel), _tint(look.skin, whole[box]))


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
        paint(image, box, cover(meet(body - 0.05 * ramp(side, 0.34, 0.26), -opening, 0.01), pixel), _tint(shirt, shade))
        tie = np.maximum(side - 0.055 - 0.05 * (v - 0.9), 0.93 - v)
        paint(image, box, cover(tie, pixel), _tint(mix(who.trim_color, (0.2, 0.05, 0.1), 0.5), shade))
    cloth = mix(who.clothes_color, (0.14, 0.15, 0.2), 0.6) if who.clothes == "suit" else who.clothes_color
    paint(image, box, cover(meet(body, -neckline, 0.02), pixel), _tint(cloth, shade))
    if who.clothes in ("crew", "scoop", "v"):
        hem = np.maximum(np.abs(neckline - 0.022) - 0.022, body)
        paint(image, box, 0.8 * cover(hem, pixel), _tint(mix(cloth, who.trim_color, 0.35), 0.9 * shade))
    elif who.clothes == "shirt":
        wing = np.maximum(np.abs(neckline - 0.055) - 0.055, np.maximum(v - 0.98, body - 0.08))
        paint(image, box, cover(wing - 0.012, pixel) * 0.4, mix(cloth, (0.0, 0.0, 0.0), 0.6))
        paint(image, box, cover(wing, pixel), _tint(mix(cloth, (1.0, 1.0, 1.0), 0.12), shade))
    elif who.clothes == "suit":
        lapel = np.maximum(np.abs(neckline - 0.06) - 0.06, body)
        paint(image, box, 0.8 * cover(lapel, pixel), _tint(mix(cloth, (0.0, 0.0, 0.0), 0.3), shade))


def _face(who: Person, look: Look, plane: Plane, image: Array, head: Array, hair: "_Hair") -> None:
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
    paint(image, box, cover(head[box], plane.pixel), _tint(skin, shade[box]))


def _ears(who: Person, look: Look, plane: Plane, image: Array) -> None:
    level, tall, width = 0.02, 0.105 + 0.025 * who.ears + 0.015 * look.old, who.width
    box = plane.both(0.68, -0.2, 0.25)
    u, v = plane.u[box], plane.v[box]
    side = np.abs(u)
    ear = ellipse(side, v, (width - 0.005, level), (0.055 + 0.02 * who.ears, tall))
    hollow = ramp(ellipse(side, v, (width + 0.012, level), (0.028, tall * 0.62)), 0.02, -0.02)
    shade = 0.80 + 0.22 * who.contrast * plane.light[0] * np.sign(u) - 0.26 * hollow
    paint(image, box, cover(ear, plane.pixel), _tint(mix(look.skin, look.lips, 0.22), shade))


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


def _eyes(who: Person, look: Look, plane: Plane, image: Array) -> None:
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


def _brows(who: Person, look: Look, plane: Plane, image: Array) -> None:
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


def _mouth(who: Person, look: Look, plane: Plane, image: Array) -> None:
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
    paint(image, box, lips * (0.80 + 0.2 * who.makeup) * ramp(bend, 0.0, 0.25), _tint(look.lips, shade))
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


def _beard(who: Person, look: Look, plane: Plane, image: Array, head: Array) -> None:
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
    paint(image, box, soft * strength * (0.86 + 0.14 * speckle), _tint(color, shade))


@dataclass(frozen=True)
class _Hair:
    """The hair of a picture, inside ``box``: distances to its outline and to the window for the face, its planes."""

    style: Hair
    box: Box
    v: Array
    pixel: float
    outline: Array
    window: Array
    color: Array

    @staticmethod
    def of(who: Person, look: Look, plane: Plane, head: Array) -> "_Hair":
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
        texture = _Hair._texture(who, look, plane, u, v, outline, tight)
        color = _Hair._shaded(look, plane, u, v, outline, texture)
        return _Hair(style, box, v, plane.pixel, outline, window, color)

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


def _glasses(who: Person, plane: Plane, image: Array) -> None:
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


def _develop(who: Person, image: Array) -> npt.NDArray[np.uint8]:
    """Finish the picture: warmth of the light, a vignette, and RGB bytes ``(size, size, 3)``."""
    x, y = grid(image.shape[1])
    image *= (1.0 - 0.10 * (x * x + y * y)) * column((1 + 0.04 * who.warmth, 1.0, 1 - 0.05 * who.warmth), 255.0)
    image += 0.5
    np.minimum(np.maximum(image, 0, out=image), 255, out=image)
    return np.ascontiguousarray(image.transpose(1, 2, 0)).astype(np.uint8)
