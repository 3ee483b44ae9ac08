"""Animated pictures that are written, as Pillow reads them: their times, and their opacity."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence
from transgan_video.clips import Frame
from transgan_video.writing import ClipWriter

from transgan.api import DataWarning


def write(path: Path, pictures: list[np.ndarray], durations: list[Fraction]) -> None:
    begins = [sum(durations[:i], Fraction(0)) for i in range(len(durations))]
    with ClipWriter(path) as writer:
        for each in map(Frame, pictures, begins, durations):
            writer.write(each)


def shown(path: Path) -> tuple[list[float], list[np.ndarray]]:
    """Return how many milliseconds frames are shown, as the file says, and their pixels."""
    with Image.open(path) as image:
        frames = [(np.asarray(each.convert("RGBA")), each.info["duration"]) for each in ImageSequence.Iterator(image)]
    return [duration for _, duration in frames], [pixels for pixels, _ in frames]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.apng"])
@pytest.mark.parametrize("last", [Fraction(1), Fraction(1, 20), Fraction(200)])
def test_every_frame_is_shown_for_its_time(tmp_path: Path, name: str, last: Fraction) -> None:
    pictures = [np.full((24, 32, 3), 60 * i, np.uint8) for i in range(4)]
    write(tmp_path / name, pictures, [Fraction(1, 10), Fraction(1, 5), Fraction(1, 10), last])
    durations, pixels = shown(tmp_path / name)
    assert durations == [100, 200, 100, 1000 * last]
    assert all(np.abs(one[..., :3].astype(int) - two).max() < 8 for one, two in zip(pixels, pictures, strict=True))


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
@pytest.mark.parametrize("holes", ["0111", "0100", "0101", "1000", "0000"])
def test_holes_are_where_they_were(tmp_path: Path, name: str, holes: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 24, 32, 4), dtype=np.uint8)
    noise[..., 3] = 255
    for i, hole in enumerate(holes):
        noise[i, 4:10, 3 * i : 3 * i + 8, 3] = 0 if hole == "1" else 255
    write(tmp_path / name, list(noise), [Fraction(1, 10)] * 4)
    for found, expected in zip(shown(tmp_path / name)[1], noise, strict=True):
        assert np.array_equal(found[..., 3], expected[..., 3])


@pytest.mark.parametrize(("name", "rate", "shortest"), [("a.gif", 60, 20), ("a.gif", 120, 20), ("a.png", 120, 11)])
def test_no_frame_is_too_short_for_browsers(tmp_path: Path, name: str, rate: int, shortest: int) -> None:
    pictures = [np.full((24, 32, 3), 2 * i, np.uint8) for i in range(rate)]
    with pytest.warns(DataWarning, match=r"\d+ of \d+ frames are dropped, so that the others have their times") as said:
        write(tmp_path / name, pictures, [Fraction(1, rate)] * rate)
    durations, pixels = shown(tmp_path / name)
    assert len(said) == 1
    assert min(durations) >= shortest
    assert abs(sum(durations) - 1000) <= 2 * shortest
    begins = np.cumsum([0, *durations[:-1]])
    drift = [begin - 1000 * int(each[0, 0, 0]) / 2 / rate for begin, each in zip(begins, pixels, strict=True)]
    assert max(map(abs, drift)) <= 5  # a half of 1/100 s


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_no_frame_that_is_long_enough_is_dropped(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, [np.full((24, 32, 3), 8 * i, np.uint8) for i in range(25)], [Fraction(1, 50)] * 25)
    assert shown(tmp_path / name)[0] == [20] * 25
