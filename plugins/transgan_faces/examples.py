"""Files to try a face model on: portraits, a photograph of a group and a clip, of people that no recipe trains on."""

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from transgan.api import Examples, disk_errors, make_folder, replacing_file
from transgan_faces.gathering import photograph
from transgan_faces.synthetic import render, sample_person

#: The people of examples have this seed and higher ones: far from those that recipes choose.
FIRST_SEED = 1_000_000
#: Portraits, their side in pixels, and the number of the first person; those before are in the photograph.
PORTRAITS, SIDE, OTHERS = 6, 256, 100
#: Frames of the clip, how many a second, and their side in pixels.
FRAMES, RATE, CLIP_SIDE = 50, 25, 192

_FACES = tuple(f"faces/face-{number + 1}.png" for number in range(PORTRAITS))
_TRANSLATE = "transgan translate runs/conditional_face-1"


def portrait(seed: int, number: int, side: int = SIDE) -> np.ndarray:
    """Return a portrait of a person of 20 to 30 years as RGB uint8 (side, side, 3)."""
    person = sample_person(FIRST_SEED + seed, OTHERS + number)
    return render(person, age=21.0 + 1.5 * number, race=("White", "Black")[number % 2], size=side)


def write_portraits(folder: Path, seed: int) -> None:
    """Write `PORTRAITS` portraits below a folder."""
    for number, name in enumerate(_FACES):
        write_picture(folder / name, portrait(seed, number))


def write_group(folder: Path, seed: int) -> None:
    """Write a photograph of a group into a folder."""
    write_picture(folder / "group.png", photograph(FIRST_SEED + seed))


def write_picture(path: Path, pixels: np.ndarray) -> None:
    """Write pixels (H, W, 3) uint8 as a file of the path's suffix."""
    with disk_errors(path):
        make_folder(path.parent)
        with replacing_file(path) as file:
            Image.fromarray(pixels).save(file, "PNG")


def write_clip(folder: Path, seed: int) -> None:
    """Write a clip of a face that turns its head from side to side and smiles into a folder.

    Raises:
        PluginError: PyAV is missing.
    """
    from transgan_video.clips import Frame
    from transgan_video.writing import ClipWriter

    person = sample_person(FIRST_SEED + seed, OTHERS + PORTRAITS)
    with ClipWriter(folder / "clip.mp4", rate=RATE) as writer:
        for number in range(FRAMES):
            turn = math.sin(2 * math.pi * number / FRAMES)
            smile = 0.5 - 0.5 * math.cos(2 * math.pi * number / FRAMES)
            now = replace(
                person, yaw=0.07 * turn, tilt=0.04 * turn, smile=smile, shift=(0.03 * turn, 0.05), gaze=(0.0, 0.0)
            )
            pixels = render(now, age=25.0, race="White", size=CLIP_SIDE)
            writer.write(Frame(pixels, Fraction(number, RATE), Fraction(1, RATE)))


PORTRAIT_EXAMPLES = Examples(
    "faces",
    _FACES,
    f"{PORTRAITS} young synthetic faces that no recipe trains on",
    (f"{_TRANSLATE} {{folder}} --to old --out older",),
    write_portraits,
)
GROUP_EXAMPLES = Examples(
    "group",
    ("group.png",),
    "a photograph-like picture of five young synthetic people",
    (f"{_TRANSLATE} {{0}} --faces --to old --out older",),
    write_group,
)
CLIP_EXAMPLES = Examples(
    "clip",
    ("clip.mp4",),
    f"{FRAMES / RATE:g} seconds of a young synthetic face that turns and smiles",
    (f"{_TRANSLATE} {{0}} --to old --out older",),
    write_clip,
)
