"""The examples of the faces plugin: files to try a model on."""

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transgan_faces import examples, gathering
from transgan_faces.detection import Cascades
from transgan_faces.synthetic import render, sample_person

from transgan.recipe import installed_recipes


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.int16)


def test_portraits_are_the_same_for_a_seed_and_others_for_another(tmp_path: Path) -> None:
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        examples.PORTRAIT_EXAMPLES.write(tmp_path / folder, seed)
    names = examples.PORTRAIT_EXAMPLES.files
    a, b, c = ([read(tmp_path / folder / name) for name in names] for folder in "abc")
    assert all(map(np.array_equal, a, b))
    assert all(np.abs(x - y).mean() > 5 for x, y in zip(a, c, strict=True))
    assert all(np.abs(a[0] - each).mean() > 5 for each in a[1:])


def test_no_recipe_trains_on_their_people() -> None:
    for recipe in installed_recipes().values():
        seeds = re.findall(r"\bseed = (\d+)", recipe.path.read_text(encoding="utf-8"))
        assert all(int(seed) < examples.FIRST_SEED for seed in seeds)


def test_the_group_is_found_by_the_default_detector(tmp_path: Path) -> None:
    """Without a download, by the cascades that come with OpenCV: every face at its place, and nothing else."""
    examples.GROUP_EXAMPLES.write(tmp_path, 0)
    found = Cascades()(read(tmp_path / "group.png").astype(np.uint8), 48.0)
    assert len(found) == len(gathering.GUESTS)
    for guest in gathering.GUESTS:
        center = np.array(guest.center) * gathering.SIZE
        side = guest.side * gathering.SIZE[0]
        (face,) = [each for each in found if np.hypot(*(center - [each.square.x, each.square.y])) < 0.3 * side]
        assert 0.9 < face.square.side / side < 1.25


def test_a_cut_out_person_is_the_rendered_one_on_any_ground() -> None:
    """Alpha blending over a plain ground gives what `render` gives with that ground, where the chest is not cut."""
    person, side = sample_person(3, 5), 96
    cut = gathering.cut_out(person, 25, "White", side).astype(np.float64)
    upright = gathering.upright(person)
    ground = (0.3, 0.5, 0.7)
    expected = render(replace(upright, background_colors=(ground, ground)), age=25, race="White", size=side)
    line = (np.arange(side) + 0.5) * 2 / side - 1
    vignette = 1 - 0.10 * (line[None, :, None] ** 2 + line[:, None, None] ** 2)
    opacity = cut[..., 3:] / 255
    blended = vignette * (cut[..., :3] * opacity + 255 * np.array(ground) * (1 - opacity))
    middle = (slice(0, side * 45 // 100), slice(None))
    error = np.abs(blended - expected)[middle]
    assert error[cut[middle][..., :3] < 255].max() <= 2.5  # else it may be brighter than white before the vignette


def test_the_clip_moves(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from transgan_video.reading import open_clip

    examples.CLIP_EXAMPLES.write(tmp_path, 0)
    frames = [each.pixels.astype(np.int16) for each in open_clip(tmp_path / "clip.mp4").frames()]
    assert len(frames) == examples.FRAMES
    assert all(np.abs(b - a).mean() > 0.05 for a, b in pairwise(frames))
