"""Label maps and instance maps: one-hot planes and boundaries against loops, every form of file, and bad ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from transgan_images.label_maps import BoundaryMedia, LabelMapMedia, LabelMapOptions, NumberOptions, boundaries
from transgan_images.media import ImageMedia, ImageOptions, shown

from transgan.api import DataError
from transgan.rng import CounterRng

RNG = np.random.default_rng(0)


def loop_of_boundaries(numbers: np.ndarray) -> np.ndarray:
    found = np.zeros(numbers.shape)
    height, width = numbers.shape
    for i in range(height):
        for j in range(width):
            for di, dj in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                if 0 <= i + di < height and 0 <= j + dj < width and numbers[i + di, j + dj] != numbers[i, j]:
                    found[i, j] = 1
    return found


def loop_of_planes(numbers: np.ndarray, classes: int) -> np.ndarray:
    found = np.zeros((classes, *numbers.shape))
    for i, row in enumerate(numbers):
        for j, number in enumerate(row):
            if number < classes:
                found[number, i, j] = 1
    return found


def saved(path: Path, array: np.ndarray) -> Path:
    Image.fromarray(array).save(path)
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_boundaries_are_those_of_a_loop(tmp_path: Path, dtype: Any) -> None:
    numbers = (RNG.integers(0, 3, (12, 20)) * (1 if dtype == np.uint8 else 11_000)).astype(dtype)
    media = BoundaryMedia(NumberOptions(flip=False), (12, 20))
    path = saved(tmp_path / "a.png", numbers)
    batch = media.batch(torch.from_numpy(media.decode(path))[None], None, ["a"])
    assert media.channels == 1 and np.array_equal(batch[0, 0].numpy(), loop_of_boundaries(numbers))
    assert np.array_equal(media.as_tensor(media.read(path))[0].numpy(), loop_of_boundaries(numbers))
    seen, _ = media.to_model(media.read(path), 1, False, "a")
    assert torch.equal(seen, batch)


def test_neighbouring_numbers_of_16_bits_differ(tmp_path: Path) -> None:
    numbers = np.full((8, 8), 33_018, np.uint16)
    numbers[:, 4:] = 33_019
    media = BoundaryMedia(NumberOptions(), (8, 8))
    batch = media.batch(torch.from_numpy(media.decode(saved(tmp_path / "a.png", numbers)))[None], None, ["a"])
    assert np.array_equal(batch[0, 0].numpy(), loop_of_boundaries(numbers)) and batch.sum() == 16


def test_one_colour_has_no_boundary() -> None:
    assert not boundaries(torch.ones(2, 1, 5, 5)).any()


@pytest.mark.parametrize("form", ["grey", "16 bits", "palette", "colours", "function"])
def test_planes_are_those_of_a_loop_in_every_form_of_file(tmp_path: Path, form: str) -> None:
    numbers = RNG.integers(0, 5, (12, 20)).astype(np.uint8)
    palette = ["#000000", "#804080", "red", "#0000ff", "#ffffff"]
    options = LabelMapOptions(palette=palette) if form == "colours" else LabelMapOptions(classes=5)
    location: Any = tmp_path / "a.png"
    if form == "grey":
        saved(location, numbers)
    elif form == "16 bits":
        saved(location, numbers.astype(np.uint16))
    elif form == "palette":
        indexed = Image.new("P", (20, 12))
        indexed.putdata(numbers.ravel().tolist())
        indexed.putpalette([value for i in range(256) for value in (255 - i, i // 2, i)])
        indexed.save(location)
    elif form == "colours":
        colours = np.array([[0, 0, 0], [128, 64, 128], [255, 0, 0], [0, 0, 255], [255, 255, 255]], np.uint8)
        saved(location, colours[numbers])
    else:
        location = lambda size: numbers  # noqa: E731
    media = LabelMapMedia(options, (12, 20))
    batch = media.batch(torch.from_numpy(media.decode(location))[None], None, ["a"])
    assert media.channels == 5 and np.array_equal(batch[0].numpy(), loop_of_planes(numbers, 5))
    if form != "function":
        assert torch.equal(media.to_model(media.read(location), 1, False, "a")[0], batch)
        picture = media.from_model(batch, media.to_model(media.read(location), 1, False, "a")[1], "a")
        media.write(picture, tmp_path / "b.png")  # as a target: the largest plane of each pixel
        assert np.array_equal(media.decode(tmp_path / "b.png"), media.decode(location))


def test_other_sizes_mix_nothing_and_native_sizes_are_padded(tmp_path: Path) -> None:
    numbers = RNG.integers(0, 5, (24, 40)).astype(np.uint8)
    path = saved(tmp_path / "a.png", numbers)
    media = LabelMapMedia(LabelMapOptions(classes=5, flip=False), (12, 20))
    batch = media.batch(torch.from_numpy(media.decode(path))[None], None, ["a"])
    assert torch.equal(batch.sum(1), torch.ones(1, 12, 20)) and set(batch.unique().tolist()) == {0, 1}
    seen, undo = media.to_model(media.read(path), 16, True, "a")
    assert seen.shape == (1, 5, 32, 48) and undo[1:] == ((24, 40), (24, 40))
    assert np.array_equal(seen[0, :, :24, :40].numpy(), loop_of_planes(numbers, 5))
    halved, _ = media.to_model(media.read(path), 4, False, "a")
    assert torch.equal(halved, batch)


def test_maps_are_augmented_as_their_photographs(tmp_path: Path) -> None:
    """Mirrored and cropped alike: a picture whose grey is its class stays so."""
    numbers = RNG.integers(0, 5, (14, 22)).astype(np.uint8)
    path = saved(tmp_path / "a.png", numbers)
    picture = saved(tmp_path / "p.png", numbers * 50)
    kinds: list[Any] = [
        LabelMapMedia(LabelMapOptions(classes=5, enlarge=1.0), (14, 22)),
        ImageMedia(ImageOptions(channels=1), (14, 22)),
        BoundaryMedia(NumberOptions(), (14, 22)),
    ]
    index = np.arange(8)
    rng = CounterRng(("a",), np.zeros_like(index), index, "cpu")
    labels, photo, edges = (
        media.batch(torch.from_numpy(np.stack([media.decode(where)] * 8)), rng, ["a"] * 8)
        for media, where in zip(kinds, (path, picture, path), strict=True)
    )
    assert torch.equal(labels.argmax(1), ((photo[:, 0] + 1) * 127.5 / 50).round().long())
    mirrored = [bool(torch.equal(each, labels[0])) for each in labels]
    assert any(mirrored) and not all(mirrored)
    for planes, edge in zip(labels, edges, strict=True):
        assert np.array_equal(edge[0].numpy(), loop_of_boundaries(planes.argmax(0).numpy()))


def test_numbers_of_no_class_are_errors_or_unlabelled(tmp_path: Path) -> None:
    numbers = np.array([[0, 1, 7], [255, 1, 0]], np.uint8)
    path = saved(tmp_path / "a.png", numbers)
    with pytest.raises(DataError, match="pixels are 7, 255, and classes are 0 to 1; raise"):
        LabelMapMedia(LabelMapOptions(classes=2), (2, 3)).decode(path)
    media = LabelMapMedia(LabelMapOptions(classes=2, unlabelled=[7, 255], flip=False), (2, 3))
    batch = media.batch(torch.from_numpy(media.decode(path))[None], None, ["a"])
    assert np.array_equal(batch[0].numpy(), loop_of_planes(numbers, 2))
    assert torch.equal(batch[0].sum(0), torch.tensor([[1.0, 1, 0], [0, 1, 1]]))


def test_colours_outside_of_the_palette_are_errors_or_within_the_tolerance(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", np.full((2, 3, 3), (10, 5, 0), np.uint8))
    options = {"palette": ["#000000", "#ff0000"]}
    with pytest.raises(DataError, match="row 0, column 0 is #0a0500, which is no colour of"):
        LabelMapMedia(LabelMapOptions(**options), (2, 3)).decode(path)
    assert not LabelMapMedia(LabelMapOptions(**options, tolerance=10), (2, 3)).decode(path).any()


@pytest.mark.parametrize("options", [{}, {"classes": 3, "palette": ["red", "blue"]}, {"palette": ["red"]}])
def test_classes_are_given_in_one_of_two_ways(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        LabelMapOptions(**options)


def test_planes_are_shown_as_colours() -> None:
    planes = torch.zeros(4, 2, 3)
    planes[2, 0], planes[3, 1, :2] = 1, 1
    picture = shown(planes)
    assert picture.shape == (2, 3, 3) and picture.dtype == np.uint8
    assert len({tuple(each) for each in picture.reshape(-1, 3)}) == 3 and not picture[1, 2].any()
