"""Images in another size, compared with Pillow, whose filters torch's antialiased ones are modelled on."""

from itertools import product
from typing import Literal

import numpy as np
import pytest
import torch
from PIL import Image
from transgan_images.media import ImageMedia, ImageOptions
from transgan_images.resizing import antialiased

METHODS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_is_that_of_pillow_one_pixel_wide_or_high_too(
    mode: Literal["bilinear", "bicubic"], channels: int
) -> None:
    for before, after in product([(16, 4), (16, 1), (1, 16), (7, 5)], [(8, 1), (32, 1), (1, 8), (1, 1), (9, 3)]):
        x = torch.rand(2, channels, *before)
        expected = [
            [Image.fromarray(plane.numpy()).resize(after[::-1], METHODS[mode]) for plane in planes] for planes in x
        ]
        arrays = np.array([[np.asarray(plane) for plane in planes] for planes in expected])
        torch.testing.assert_close(antialiased(x, after, mode), torch.from_numpy(arrays), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(200, 1), (1, 200), (200, 2)])
def test_a_picture_of_one_line_comes_back_as_that_line(shape: tuple[int, int]) -> None:
    """A ramp survives a smaller size, but for the pixels at its ends."""
    ramp = np.broadcast_to(np.linspace(20, 230, 200).reshape((-1, 1) if shape[0] > 1 else (1, -1)), shape)
    media = ImageMedia(ImageOptions(channels=1), 64)
    y, undo = media.to_model(media.read(ramp.round().astype(np.uint8)), 4, False, "")
    back = media.export_like(media.from_model(y, undo, ""), np.zeros((1, 1), np.uint8))
    assert back.shape == shape
    assert np.abs(back.astype(float) - ramp).max() < 8
