"""Pictures as they are: sizes that are no squares, and every way of fitting files of any size into a batch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from transgan_images.media import ImageMedia, ImageOptions, contact_sheet

from transgan.api import Column, DataError, UsageError
from transgan.data.cache import DecodedCache
from transgan.data.domains import Sample
from transgan.rng import CounterRng

NOISE = np.random.default_rng(0)


def noise(*shape: int) -> np.ndarray:
    return NOISE.integers(0, 256, shape, dtype=np.uint8)


def rng(count: int) -> CounterRng:
    return CounterRng(0, np.zeros(count), np.arange(count))


def media(size: Any, **options: Any) -> ImageMedia:
    return ImageMedia(ImageOptions(**options), size)


def test_size_may_be_height_and_width() -> None:
    each = media((12, 20))
    assert each.space == (12, 20)
    assert media(12).space == (12, 12)
    with pytest.raises(UsageError, match=r"data\.size = \[1, 2, 3\]: expected a side in pixels, or \[height, width\]"):
        media((1, 2, 3))


def test_batches_of_height_and_width_are_cropped_at_random_and_mirrored() -> None:
    each = media((12, 20), enlarge=1.25)
    decoded = torch.from_numpy(noise(32, 15, 25, 3))
    numbers = rng(32)
    x = each.batch(decoded, numbers, ())
    assert x.shape == (32, 3, 12, 20)
    mirror = (numbers.uniform("flip") < 0.5).tolist()
    offsets = (numbers.uniform("crop", 2) * torch.tensor([4, 6])).long().tolist()
    for i, (top, left) in enumerate(offsets):
        image = decoded[i].flip(1) if mirror[i] else decoded[i]
        expected = image[top : top + 12, left : left + 20].permute(2, 0, 1).float() / 127.5 - 1
        assert torch.equal(x[i], expected)
    assert {top for top, _ in offsets} == set(range(4)) and {left for _, left in offsets} == set(range(6))
    assert torch.equal(each.batch(decoded, None, ()), (decoded[:, 1:13, 2:22].permute(0, 3, 1, 2).float() / 127.5 - 1))


def test_squash_and_crop_give_every_file_the_decoded_size(tmp_path: Path) -> None:
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 12:36] = 255
    Image.fromarray(wide).save(tmp_path / "wide.png")
    squashed = media((8, 12), enlarge=1.5).decode(tmp_path / "wide.png")
    cropped = media((8, 12), enlarge=1.5, fit="crop").decode(tmp_path / "wide.png")
    assert squashed.shape == cropped.shape == (12, 18, 3)
    assert cropped.min() > 200 and squashed[:, 0].max() == 0
    for size in (8, (8, 12)):  # synthetic pictures are square, and fitted like files
        made = media(size).decode(lambda side: np.full((side, side, 3), side, np.uint8))
        assert made.shape == ((8, 8, 3) if size == 8 else (8, 12, 3)) and (made == (8 if size == 8 else 12)).all()
    for wrong in (np.zeros((8, 8, 3)), np.zeros((8, 8), np.uint8), np.zeros((3, 8, 8), np.uint8)):
        with pytest.raises(DataError, match=r"returns .*; expected uint8, \(H, W, 3\)"):
            media(8).decode(lambda side, wrong=wrong: wrong)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("declared", [None, (0, 255)])
def test_width_scales_to_the_width_and_crops_the_height(tmp_path: Path, channels: int, declared: Any) -> None:
    each = media((8, 12), fit="width", enlarge=1.5, channels=channels, range=declared)
    for height, width, expected in ((36, 36, 18), (48, 24, 36), (10, 40, 8), (18, 18, 18)):
        Image.fromarray(noise(height, width, 3)).save(tmp_path / "a.png")
        decoded = each.decode(tmp_path / "a.png")
        assert decoded.shape == (expected, 18, channels)
        assert decoded.dtype == (np.uint8 if declared is None else np.uint16)
    batch = each.batch([torch.from_numpy(decoded)] * 4, rng(4), ())
    assert batch.shape == (4, channels, 8, 12) and batch.abs().max() <= 1


def test_none_keeps_the_resolution_and_continues_what_is_too_small(tmp_path: Path) -> None:
    large, small = noise(30, 50, 3), noise(7, 11, 3)
    for name, image in (("large", large), ("small", small)):
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    each = media((8, 12), fit="none")
    assert np.array_equal(each.decode(tmp_path / "large.png"), large)
    padded = each.decode(tmp_path / "small.png")
    assert padded.shape == (8, 12, 3) and np.array_equal(padded[:7, :11], small)
    assert np.array_equal(padded[7, :11], small[5]) and np.array_equal(padded[:7, 11], small[:, 9])
    batch = each.batch([torch.from_numpy(large), torch.from_numpy(padded)], None, ())
    assert torch.equal(batch[0], torch.from_numpy(large[11:19, 19:31]).permute(2, 0, 1).float() / 127.5 - 1)
    with pytest.raises(ValidationError, match="enlarge resizes images, which fit = 'none' does not"):
        media(8, fit="none", enlarge=1.1)


def test_files_of_different_sizes_are_cached_as_they_are(tmp_path: Path) -> None:
    shapes = [(30, 50), (20, 40), (12, 16), (40, 21)]
    for i, shape in enumerate(shapes):
        Image.fromarray(np.full((*shape, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
    samples = [Sample(str(i), tmp_path / f"{i}.png") for i in range(4)]
    for _ in range(2):  # the second time from the disk
        cache = DecodedCache(samples, media((12, 16), fit="none"))
        found = cache.get(np.array([3, 0, 2, 1]))
        assert [each.shape for each in found] == [(*shapes[i], 3) for i in (3, 0, 2, 1)]
        assert [int(each.max()) for each in found] == [3, 0, 2, 1]
    batch = cache.media.batch([torch.from_numpy(each) for each in found], rng(4), ())
    assert batch.shape == (4, 3, 12, 16)


@pytest.mark.filterwarnings("ignore::transgan.errors.DataWarning")
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("fit", ["squash", "crop", "width", "none"])
@pytest.mark.parametrize("size", [(48, 64), (64, 48), (30, 200), (200, 30), (5, 7)])
def test_whole_pictures_cover_the_training_size_and_come_back(size: tuple[int, int], fit: Any, native: bool) -> None:
    each = media((24, 32), fit=fit)
    ramp = np.linspace(20, 230, size[1])[None, :, None].repeat(size[0], 0).repeat(3, 2).astype(np.uint8)
    x = each.read(ramp)
    y, undo = each.to_model(x, 4, native, "a")
    height, width = y.shape[2:]
    assert height % 4 == width % 4 == 0
    if native or fit == "none":
        assert height >= size[0] and width >= size[1]
    elif fit == "width":
        assert width == 32 or size == (5, 7)
    elif min(size) > 5 and max(size) < 200:
        assert height >= 24 and width >= 32 and (height == 24 or width == 32)
    back = each.from_model(y, undo, "b")
    assert back.pixels.shape == ramp.shape and back.pixels.dtype == np.uint8
    assert np.abs(back.pixels.astype(int) - ramp).max() <= (0 if native or fit == "none" else 16)


def test_previews_of_height_and_width(tmp_path: Path) -> None:
    sheet = contact_sheet({"a": [noise(8, 12, 3)] * 2, "b": [noise(8, 12, 3)]})
    assert sheet.size == (2 * (12 * 16 + 4) + 4, 34 + 2 * (8 * 16 + 4) + 4)
    path = media((8, 12)).preview({"a": Column("a", [torch.zeros(3, 8, 12)])}, tmp_path / "sheet")
    with Image.open(path) as preview:
        assert preview.size == (12 * 16 + 8, 34 + 8 * 16 + 8)


RUN = """
[data]
source = "folders"
root = "{root}"
size = {size}
{media}
[domains]
a = "a"
b = {b}
[tasks.task]
between = ["a", "b"]
[train]
steps = 2
batch = 2
[generators.{generator}]
width = 4
per = "translation"
[discriminators.patch]
width = 4
[losses]
lsgan = 1.0
cycle = 10.0
[metrics]
cycle_error = true
[evaluate]
every = 2
"""


@pytest.mark.parametrize(
    ("size", "options", "generator"),
    [
        ("[48, 64]", 'media = { use = "image", enlarge = 1.1 }', "resnet"),
        ("[32, 64]", 'media = { use = "image", fit = "width" }', "unet"),
        ("[32, 48]", 'media = { use = "image", fit = "none" }', "resnet"),
    ],
)
def test_a_run_on_pictures_that_are_no_squares(
    tmp_path: Path,
    recipe_file: Callable[[str], Path],
    run_cli: Callable[..., int],
    size: str,
    options: str,
    generator: str,
) -> None:
    for domain in "ab":
        (tmp_path / domain).mkdir()
        for i in range(6):
            Image.fromarray(noise(48 + 3 * i, 64, 3)).save(tmp_path / domain / f"{i}.png")
    text = RUN.format(root=tmp_path, size=size, media=options, b='"b"', generator=generator)
    recipe = recipe_file(text)
    assert run_cli("run", recipe, "--out", tmp_path / "run", "-q") == 0
    assert list((tmp_path / "run/samples").glob("*.png"))
    assert run_cli("translate", tmp_path / "run", tmp_path / "a/0.png", "--to", "b", "--out", tmp_path / "out") == 0
    with Image.open(tmp_path / "out/0.png") as result:
        assert result.size == (64, 48)


def test_a_run_from_one_channel_of_sixteen_bits_to_colour(
    tmp_path: Path, recipe_file: Callable[[str], Path], run_cli: Callable[..., int]
) -> None:
    for domain in "ab":
        (tmp_path / domain).mkdir()
        for i in range(6):
            image = (
                np.linspace(0, 4095, 48 * 48).reshape(48, 48).astype(np.uint16) if domain == "a" else noise(48, 48, 3)
            )
            Image.fromarray(image).save(tmp_path / domain / f"{i}.png")
    b = '{ path = "b", media = { channels = 3 } }'
    grey = 'media = { use = "image", channels = 1 }'
    text = RUN.format(root=tmp_path, size="[32, 48]", media=grey, b=b, generator="resnet")
    ranged = text.replace('a = "a"', 'a = { path = "a", media = { range = [0, 4095] } }')
    assert run_cli("run", recipe_file(text), "--out", tmp_path / "refused", "-q") == 3  # no range is known
    assert run_cli("run", recipe_file(ranged), "--out", tmp_path / "run", "-q") == 0
    words = ("translate", tmp_path / "run", tmp_path / "a/0.png", "--to", "b", "--from", "a", "--out", tmp_path / "out")
    assert run_cli(*words) == 0
    result = ImageMedia(ImageOptions(), 16).read(tmp_path / "out/0.png")
    assert result.pixels.shape == (48, 48, 3) and result.pixels.dtype == np.uint16
