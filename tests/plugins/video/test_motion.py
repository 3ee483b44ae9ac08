"""Motion, flicker and its lowering, against shifts that are known."""

import numpy as np
import pytest

pytest.importorskip("cv2", reason="OpenCV is not installed")

from transgan_video.measures import Flicker
from transgan_video.motion import Motion, warped
from transgan_video.steadying import Steadying


def texture(shift: int = 0, size: int = 96) -> np.ndarray:
    """Return a window (S, S, 3) into a smooth random texture, moved to the right by whole pixels."""
    import cv2

    noise = np.random.default_rng(0).normal(size=(size, 2 * size, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return np.rint(255 * smooth[:, size // 2 - shift : size // 2 - shift + size]).astype(np.uint8)


def test_the_way_back_is_the_shift() -> None:
    back, trusted = Motion().between(texture(0), texture(3))
    inner = back[16:-16, 16:-16]
    assert np.abs(inner - [-3, 0]).mean() < 0.1
    assert trusted[16:-16, 16:-16].mean() > 0.99
    assert not trusted[:, :2].any()  # what has come in from the left was outside


def test_warping_by_whole_pixels_is_exact() -> None:
    back = np.zeros((96, 96, 2), np.float32)
    back[..., 0] = -3
    assert np.array_equal(warped(texture(0), back)[:, 3:], texture(3)[:, 3:])


def test_flicker_is_the_alternating_change_and_not_the_motion() -> None:
    flicker = Flicker()
    for i in range(6):
        source = texture(2 * i) // 2 + 60
        flicker.update(source, source + (10 if i % 2 else 0))
    figures = flicker.compute()
    assert flicker.pairs == 5
    assert figures["source"] < 1
    assert figures["translated"] == pytest.approx(10, abs=0.5)
    assert figures["trusted"] > 0.9


def test_one_frame_does_not_flicker() -> None:
    flicker = Flicker()
    flicker.update(texture(), texture())
    assert flicker.compute() == {"source": 0, "translated": 0, "trusted": 0}


def test_steadying_a_still_clip_is_an_exponential_average() -> None:
    rng = np.random.default_rng(1)
    source = texture()
    steadying, expected = Steadying(0.5), None
    for _ in range(5):
        translated = rng.integers(0, 256, source.shape, dtype=np.uint8)
        result = steadying(source, translated)
        expected = translated.astype(float) if expected is None else (expected + translated) / 2
        assert np.abs(result[8:-8, 8:-8] - expected[8:-8, 8:-8]).max() < 1.5


def test_steadying_lowers_flicker_along_motion() -> None:
    rng = np.random.default_rng(2)
    plain, steady, steadying = Flicker(), Flicker(), Steadying(0.6)
    for i in range(8):
        source = texture(2 * i)
        translated = np.clip(255 - source.astype(int) + rng.normal(0, 20), 0, 255).astype(np.uint8)
        plain.update(source, translated)
        steady.update(source, steadying(source, translated))
    assert steady.compute()["translated"] < 0.7 * plain.compute()["translated"]


def test_a_cut_is_not_mixed() -> None:
    steadying = Steadying(0.9)
    steadying(texture(), np.zeros((96, 96, 3), np.uint8))
    after = steadying(255 - texture(20), np.full((96, 96, 3), 200, np.uint8))
    assert np.mean(after < 190) < 0.1


def test_opacity_and_tiny_frames_are_left_alone() -> None:
    steadying = Steadying(0.5)
    for level in (0, 100):
        pixels = np.full((5, 7, 4), level, np.uint8)
        pixels[..., 3] = level
        result = steadying(np.zeros((5, 7, 3), np.uint8), pixels)
    assert (result[..., 3] == 100).all()
    assert (result[..., :3] == 50).all()
