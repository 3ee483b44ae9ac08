"""Pictures and maps as arrays and tensors: what nothing changes comes back as it was given."""

from typing import Any

import numpy as np
import pytest
import torch
from transgan_images.label_maps import LabelMapMedia, LabelMapOptions
from transgan_images.media import ImageMedia, ImageOptions

RNG = np.random.default_rng(0)
LEVELS = RNG.integers(0, 256, (12, 10, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (12, 10, 3), dtype=np.uint16)


def there_and_back(media: ImageMedia, given: Any) -> Any:
    x, undo = media.to_model(media.read(given), 1, True, "a")
    return media.export_like(media.from_model(x, undo, "a"), given)


@pytest.mark.parametrize(
    "given",
    [
        LEVELS,
        DEEP,
        LEVELS / 255,
        (LEVELS / 255).astype(np.float32),
        np.dstack([LEVELS, LEVELS[..., 0] | 1]),
        np.dstack([DEEP, DEEP[..., 0] | 1]) / 65535,
        torch.from_numpy(LEVELS).permute(2, 0, 1),
        torch.from_numpy(LEVELS / 127.5 - 1).permute(2, 0, 1),
    ],
)
def test_what_nothing_changes_is_the_same(given: Any) -> None:
    back = there_and_back(ImageMedia(ImageOptions(), 8), given)
    assert type(back) is type(given) and back.dtype == given.dtype and back.shape == given.shape
    gap = np.abs(np.asarray(back, float) - np.asarray(given, float)).max()
    assert gap <= (0 if np.asarray(given).dtype.kind == "u" else 2e-5)


def test_numbers_of_a_declared_range() -> None:
    media = ImageMedia(ImageOptions(range=(0, 4095)), 8)
    for given in ((DEEP >> 4), (DEEP >> 4).astype(np.int64), (DEEP >> 4).astype(np.float64)):
        back = there_and_back(media, given)
        assert back.shape == given.shape and back.dtype.kind == given.dtype.kind
        assert np.abs(back.astype(float) - given).max() <= 0.51


def test_grey_stays_grey() -> None:
    media = ImageMedia(ImageOptions(channels=1), 8)
    assert there_and_back(media, LEVELS[..., 0]).tobytes() == LEVELS[..., 0].tobytes()
    assert there_and_back(media, LEVELS[..., :1]).shape == (12, 10, 1)
    assert there_and_back(media, LEVELS).shape == (12, 10, 1)


def test_maps_have_the_numbers_of_classes() -> None:
    media = LabelMapMedia(LabelMapOptions(classes=5), 8)
    classes = RNG.integers(0, 5, (12, 10), dtype=np.uint8)
    for given in (classes, classes.astype(np.int64)):
        back = there_and_back(media, given)
        assert back.dtype == np.uint8 and np.array_equal(back, classes)
    planes = torch.from_numpy((np.arange(5)[:, None, None] == classes).astype(np.float32))
    assert torch.equal(there_and_back(media, planes), planes)
