"""Parameters of synthetic faces: a person and their portrait without labels, and their look under the labels."""

import colorsys
import math
from dataclasses import dataclass

import numpy as np

from transgan_faces.synthetic_shapes import RGB, gradient_color, mix

RACES = ("White", "Black", "Asian", "Indian")
"""The race labels that `render` takes: UTKFace's names, in the order of its codes 0 to 3."""

AGES = (18.0, 80.0)
"""The range of ages in years that `render` takes."""


@dataclass(frozen=True)
class HairStyle:
    """A hair style. Lengths are in face units, see `synthetic_shapes`."""

    top: float
    """Thickness above the skull."""
    side: float
    """Thickness beside the skull."""
    length: float
    """Height v at which the hair ends, downwards from the middle of the head."""
    line: float
    """Height v of the hairline at the parting."""
    sweep: float
    """How much the hairline drops from the parting to the sides; 0 for a straight fringe."""
    flow: str
    """Direction of the strands: "out" from the parting, "down" or in an "arc" along the outline."""
    wave: float = 0.0
    """Strength of waves, 0 for straight hair."""
    bun: bool = False
    recession_factor: float = 1.0
    """Factor of the hairline's recession with age."""


HAIR_STYLES = {
    "crop": HairStyle(0.03, 0.0, 0.0, -0.47, 0.0, "out"),
    "parted": HairStyle(0.09, 0.025, 0.03, -0.47, 0.28, "out"),
    "quiff": HairStyle(0.16, 0.015, 0.0, -0.46, 0.0, "out"),
    "fringe": HairStyle(0.10, 0.05, 0.08, -0.33, 0.12, "down", 0.3),
    "tousled": HairStyle(0.15, 0.07, 0.06, -0.42, 0.16, "down", 0.9),
    "mane": HairStyle(0.09, 0.08, 0.72, -0.50, 0.42, "arc", 0.6),
    "straight": HairStyle(0.07, 0.06, 1.05, -0.52, 0.48, "arc"),
    "waves": HairStyle(0.11, 0.13, 1.00, -0.50, 0.45, "arc", 1.0, recession_factor=0.5),
    "bob": HairStyle(0.10, 0.10, 0.50, -0.29, 0.0, "down", recession_factor=0.3),
    "lob": HairStyle(0.09, 0.09, 0.62, -0.49, 0.50, "arc", 0.3, recession_factor=0.5),
    "bun": HairStyle(0.05, 0.005, 0.0, -0.48, 0.12, "out", bun=True, recession_factor=0.6),
    "pixie": HairStyle(0.11, 0.045, 0.10, -0.40, 0.45, "down", 0.2, recession_factor=0.4),
    "curls": HairStyle(0.17, 0.20, 0.42, -0.45, 0.15, "arc", 1.6, recession_factor=0.5),
}
HAIR_STYLES_BY_GENDER = {
    "male": ("crop", "parted", "quiff", "fringe", "tousled", "parted", "crop", "mane"),
    "female": ("straight", "waves", "bob", "lob", "bun", "pixie", "curls"),
}

# Palettes run from light to dark, so that a person keeps their relative position when the race label changes.
SKIN_COLORS: dict[str, tuple[RGB, ...]] = {
    "White": ((0.96, 0.81, 0.72), (0.91, 0.725, 0.615), (0.84, 0.63, 0.50)),
    "Black": ((0.62, 0.435, 0.32), (0.52, 0.35, 0.25), (0.42, 0.275, 0.195)),
    "Asian": ((0.96, 0.84, 0.70), (0.91, 0.76, 0.60), (0.83, 0.66, 0.48)),
    "Indian": ((0.80, 0.61, 0.45), (0.70, 0.51, 0.36), (0.58, 0.41, 0.28)),
}
LIP_COLORS: dict[str, RGB] = {
    "White": (0.76, 0.40, 0.39),
    "Black": (0.43, 0.20, 0.19),
    "Asian": (0.76, 0.40, 0.37),
    "Indian": (0.58, 0.29, 0.27),
}
DARK_HAIR_COLORS: tuple[RGB, ...] = ((0.25, 0.175, 0.135), (0.17, 0.125, 0.10), (0.11, 0.09, 0.085))
HAIR_COLORS: dict[str, tuple[RGB, ...]] = {
    "White": (
        (0.82, 0.66, 0.41),
        (0.62, 0.43, 0.25),
        (0.47, 0.29, 0.175),
        (0.38, 0.24, 0.15),
        (0.28, 0.18, 0.12),
        (0.15, 0.11, 0.09),
    ),
    "Black": DARK_HAIR_COLORS,
    "Asian": DARK_HAIR_COLORS,
    "Indian": DARK_HAIR_COLORS,
}
# Breadth of nose and lips, 0 to 1.
BREADTH = {"White": 0.0, "Black": 1.0, "Asian": 0.25, "Indian": 0.35}
GREY_HAIR: RGB = (0.76, 0.76, 0.77)
IRIS_COLORS: tuple[RGB, ...] = (
    (0.36, 0.53, 0.66),
    (0.38, 0.50, 0.38),
    (0.46, 0.34, 0.18),
    (0.30, 0.18, 0.10),
    (0.20, 0.12, 0.08),
)


@dataclass(frozen=True)
class Person:
    """Everything about a person and their portrait that is neither age nor race.

    Colors are RGB in 0..1. Lengths are in face units. Other numbers without a comment grow from slight to strong.
    """

    gender: str  # "male" or "female"
    # The portrait: offset and scale of the head (screen units), tilt (radians), yaw (face units), light, background.
    shift: tuple[float, float]
    scale: float
    tilt: float
    yaw: float
    light: float  # -1 from the left .. 1 from the right
    contrast: float
    warmth: float
    background: str
    background_colors: tuple[RGB, RGB]
    phase: float  # phase of textures, folds and background shapes
    # The head.
    width: float
    jaw: float
    chin: float
    cheeks: float
    ears: float
    skin_tone: float  # complexion, light to dark within the label's range
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
    # Hair, glasses and clothes.
    hair_style: str
    hair_shade: float  # color of the hair, light to dark within the label's range
    parting: float
    hair_volume: float
    beard: str
    glasses: str
    glasses_color: RGB
    clothes: str
    clothes_color: RGB
    trim_color: RGB
    mouth_open: float = 0.0  # beyond what the smile opens


def sample_person(seed: int, index: int) -> Person:
    """Return person number `index` of a seed: a pure function of both, each in 0..2**64-1. Seeds are unrelated.

    Raises:
        ValueError: `seed` or `index` is out of range.
    """
    for name, number in (("seed", seed), ("index", index)):
        if not 0 <= number < 2**64:
            raise ValueError(f"{name} must be 0..2**64-1, not {number}")
    rng = np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))

    def uniform(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def beta(low: float, high: float) -> float:
        return low + (high - low) * float(rng.beta(2.2, 2.2))

    def choose(*options: str) -> str:
        return options[int(rng.integers(len(options)))]

    def random_color(saturation: tuple[float, float], value: tuple[float, float]) -> RGB:
        return colorsys.hsv_to_rgb(uniform(0, 1), uniform(*saturation), uniform(*value))

    gender = choose("male", "female")
    is_male = gender == "male"
    hue, drift = uniform(0, 1), uniform(-0.12, 0.12)
    first = colorsys.hsv_to_rgb(hue, uniform(0.05, 0.42), uniform(0.45, 0.9))
    second = colorsys.hsv_to_rgb((hue + drift) % 1, uniform(0.08, 0.48), uniform(0.22, 0.65))
    return Person(
        gender=gender,
        shift=(beta(-0.07, 0.07), beta(0.0, 0.10)),
        scale=beta(0.88, 1.0),
        tilt=beta(-0.13, 0.13),
        yaw=beta(-0.075, 0.075),
        light=uniform(-1, 1),
        contrast=uniform(0.2, 1),
        warmth=uniform(-1, 1),
        background=choose("plain", "bokeh", "wall", "hills", "leaves", "window"),
        background_colors=(first, second),
        phase=uniform(0, 100),
        width=beta(0.435, 0.51),
        jaw=beta(0.37, 0.44) if is_male else beta(0.325, 0.405),
        chin=beta(0.645, 0.72) if is_male else beta(0.62, 0.685),
        cheeks=uniform(0, 1),
        ears=uniform(0, 1),
        skin_tone=uniform(0, 1),
        freckles=max(uniform(-1.5, 1), 0.0),
        eye_gap=beta(0.195, 0.235),
        eye_size=beta(0.092, 0.112) if is_male else beta(0.098, 0.122),
        eye_open=beta(0.38, 0.60),
        eye_tilt=beta(-0.04, 0.16),
        iris=uniform(0, 1) ** 0.6,
        gaze=(beta(-0.022, 0.022), beta(-0.008, 0.008)),
        brow_height=beta(0.125, 0.17) if is_male else beta(0.145, 0.19),
        brow_arch=beta(0.005, 0.035) if is_male else beta(0.015, 0.055),
        brow_weight=beta(0.6, 1.0) if is_male else beta(0.3, 0.65),
        nose_length=beta(0.22, 0.285),
        nose_width=beta(0.080, 0.11) if is_male else beta(0.070, 0.1),
        nose_ridge=uniform(0.3, 1),
        mouth_width=beta(0.155, 0.205),
        lips=beta(0.0, 1.0) if is_male else beta(0.25, 1.25),
        makeup=0.0 if is_male else max(uniform(-0.6, 1), 0.0),
        smile=uniform(-0.15, 1),
        hair_style=choose(*HAIR_STYLES_BY_GENDER[gender]),
        hair_shade=uniform(0, 1),
        parting=uniform(-0.24, 0.24),
        hair_volume=beta(0.75, 1.3),
        beard=choose("none", "none", "none", "stubble", "moustache", "goatee", "full") if is_male else "none",
        glasses=choose("none", "none", "none", "none", "round", "square", "thin"),
        glasses_color=random_color((0.2, 0.8), (0.05, 0.3)),
        clothes=choose("crew", "v", "shirt", "suit", "roll")
        if is_male
        else choose("crew", "v", "scoop", "shirt", "roll"),
        clothes_color=random_color((0.1, 0.75), (0.15, 0.85)),
        trim_color=random_color((0.05, 0.7), (0.5, 0.95)),
    )


def aging_factor(age: float) -> float:
    """Return the strength of aging at `age` years: 0 at 18, 1 at 80, strictly rising.

    It rises steeply between 30 and 50, so that faces within the age groups 20-30 and 50-60 look of similar age and the
    two groups differ clearly.
    """

    def raw(years: float) -> float:
        return 0.86 / (1 + math.exp((40 - years) / 4.5)) + 0.14 * (years - AGES[0]) / (AGES[1] - AGES[0])

    return (raw(age) - raw(AGES[0])) / (raw(AGES[1]) - raw(AGES[0]))


@dataclass(frozen=True)
class Look:
    """A person's look at an age and under a race label: colors, and the strength of each effect, 0..1."""

    aging: float
    breadth: float  # of nose and lips
    curl: float  # texture of the hair: 0 straight strands .. 1 tight curls
    skin: RGB
    lips: RGB
    hair: RGB
    grey: float
    recession: float  # of the hairline

    @staticmethod
    def of(person: Person, age: float, race: str) -> "Look":
        """Return the look of a person at `age` years under the label `race`."""
        aging = aging_factor(age)
        skin = gradient_color(SKIN_COLORS[race], person.skin_tone)
        level = sum(skin) / 3
        dull = mix(skin, (level * 0.99, level * 0.93, level * 0.84), 0.30 * aging)
        lips = mix(LIP_COLORS[race], skin, 0.30 - 0.1 * person.skin_tone)
        lips = mix(lips, (0.72, 0.13, 0.20), 0.55 * person.makeup)
        return Look(
            aging=aging,
            breadth=BREADTH[race],
            curl=1.0 if race == "Black" else 0.0,
            skin=dull,
            lips=mix(lips, dull, 0.35 * aging),
            hair=gradient_color(HAIR_COLORS[race], person.hair_shade),
            grey=min(1.0, 0.95 * aging),
            recession=aging
            * HAIR_STYLES[person.hair_style].recession_factor
            * (1.0 if person.gender == "male" else 0.35),
        )
