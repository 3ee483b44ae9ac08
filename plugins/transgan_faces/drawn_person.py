"""Who is drawn: everything about a person and a picture that is not a label, and what the labels make of it."""

import colorsys
import math
from dataclasses import dataclass

import numpy as np

from transgan_faces.drawn_shapes import (
    RGB,
    along,
    mix,
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
