"""A synthetic photograph of several people: a scene in which `translate --faces` has faces to find."""

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageFilter

from transgan_faces.synthetic import Person, render, sample_person
from transgan_faces.synthetic_shapes import coverage, grid, rounded_box, smoothstep

#: Width and height in pixels.
SIZE = (1280, 800)
#: Screen units per face unit, and height of the head, in the square that a person is rendered in: with chest and arms.
SCALE, SHIFT = 0.36, -0.43
#: Half the width of shoulders and arms, their height v at the neck, and the radius of the shoulders, in face units.
REACH, NECK, SHOULDER = 1.02, 0.95, 0.6


@dataclass(frozen=True)
class Guest:
    """Who stands where."""

    center: tuple[float, float]
    """Of the head, as shares of the picture's width and height."""
    side: float
    """Of a face unit, about the width of the head, as a share of the picture's width."""
    age: float
    race: str


#: Those behind first.
GUESTS = (
    Guest((0.335, 0.335), 0.108, 26, "Black"),
    Guest((0.665, 0.325), 0.108, 24, "White"),
    Guest((0.165, 0.475), 0.122, 23, "White"),
    Guest((0.500, 0.495), 0.122, 28, "Black"),
    Guest((0.835, 0.480), 0.122, 29, "White"),
)


def photograph(seed: int, first: int = 0) -> np.ndarray:
    """Return a photograph of `GUESTS` in a garden as RGB uint8 (height, width, 3).

    Args:
        seed: of the people, see `sample_person`.
        first: the number of the first of them.
    """
    width, height = SIZE
    picture = _garden(seed)
    for number, guest in enumerate(GUESTS):
        person = sample_person(seed, first + number)
        side = round(2 * guest.side * width / SCALE)
        cut = Image.fromarray(cut_out(person, guest.age, guest.race, side))
        left = round(guest.center[0] * width - side / 2)
        top = round(guest.center[1] * height - side * (1 + SHIFT) / 2)
        if number < 2:  # those behind are a little out of focus
            cut = cut.filter(ImageFilter.GaussianBlur(0.8))
        picture.paste(cut, (left, top), cut)
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    grain = np.random.Generator(np.random.Philox(key=[seed, 1])).normal(0, 2.0, (height, width, 1))
    graded = np.asarray(picture) * (1 - 0.09 * (x * x + y * y))[..., None] + grain
    pixels: np.ndarray = np.floor(graded.clip(0, 255) + 0.5).astype(np.uint8)
    return pixels


def upright(person: Person) -> Person:
    """Return a person as they stand in a photograph, before a plain ground."""
    return replace(person, scale=SCALE, shift=(0.0, SHIFT), tilt=0.6 * person.tilt, background="plain", warmth=0.0)


def cut_out(person: Person, age: float, race: str, side: int) -> np.ndarray:
    """Return a person without a background, head and chest, as RGBA uint8 (side, side, 4)."""
    black, white = (
        render(replace(upright(person), background_colors=(ground, ground)), age=age, race=race, size=side).astype(
            np.float32
        )
        for ground in ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    )
    x, y = grid(side)
    vignette = (1 - 0.10 * (x * x + y * y))[..., None]  # as `render` makes it
    opacity = 1 - ((white - black).mean(-1, keepdims=True) / (255 * vignette)).clip(0, 1)
    color = black / np.maximum(opacity, 1e-3) / vignette
    p, q, cos, sin = x / SCALE, (y - SHIFT) / SCALE, math.cos(upright(person).tilt), math.sin(upright(person).tilt)
    u, v = cos * p + sin * q, cos * q - sin * p
    reach = REACH * (0.9 if person.gender == "female" else 1.0)
    body = rounded_box(u, v, (0.0, NECK + 4), (reach, 4.0), SHOULDER)
    opacity *= np.maximum(coverage(body, 2 / side / SCALE), (v < NECK + 0.13) & (np.abs(u) < 0.75))[..., None]
    pixels: np.ndarray = np.floor(np.concatenate([color, 255 * opacity], -1).clip(0, 255) + 0.5).astype(np.uint8)
    return pixels


def _garden(seed: int) -> Image.Image:
    """Return a lawn before trees out of focus, and the sky above them."""
    width, height = (side // 2 for side in SIZE)
    rng = np.random.Generator(np.random.Philox(key=[seed, 2]))
    x, y = np.meshgrid(np.linspace(0, width / height, width), np.linspace(0, 1, height))
    hill = 0.30 + 0.05 * np.sin(2.6 * x + 6 * rng.random()) + 0.03 * np.sin(7 * x + 6 * rng.random())
    sky = np.array([150, 190, 226]) + y[..., None] * np.array([170, 100, 40])
    trees = np.array([58, 92, 60]) * (1.25 - 0.5 * y[..., None])
    picture = np.where((y > hill)[..., None], trees, sky)
    for _ in range(90):  # leaves in the light
        cx, cy, r = rng.random() * width / height, 0.28 + 0.38 * rng.random(), 0.02 + 0.05 * rng.random()
        inside = smoothstep(np.hypot(x - cx, y - cy), r, 0.8 * r)[..., None]
        light = np.array([[150, 170, 90], [88, 130, 78], [44, 76, 54], [180, 178, 120]])[int(4 * rng.random())]
        picture += 0.45 * inside * (light - picture)
    lawn = np.array([112, 146, 78]) + (y[..., None] - 0.65) * np.array([-60, -40, -40])
    picture += smoothstep(y, 0.60, 0.68)[..., None] * (lawn - picture)
    blades = rng.normal(0, 7, (height, width, 1)) * smoothstep(y, 0.62, 0.8)[..., None]
    image = Image.fromarray(np.clip(picture + blades, 0, 255).astype(np.uint8))
    return image.filter(ImageFilter.GaussianBlur(height / 120)).resize(SIZE, Image.Resampling.BICUBIC)
