"""Augmentations against the published ones, written out for each sample in numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor
from transgan_images.augmentations import (
    Colour,
    ColourOptions,
    Cutout,
    CutoutOptions,
    Noise,
    NoiseOptions,
    Translate,
    TranslationOptions,
)

from transgan.api import Clock, NetworkSpec, UsageError, constant
from transgan.rng import CounterRng

HEIGHT, WIDTH = 13, 16
SPEC = NetworkSpec(3, 3, 0, (HEIGHT, WIDTH), ("a",), ("t",))


class FixedRng:
    """Random numbers that are fixed in advance: a row for each sample."""

    def __init__(self, numbers: list[list[float]]):
        self.numbers = torch.tensor(numbers)

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        return self.numbers[:, : int(np.prod(shape))].reshape(len(self.numbers), *shape)

    normal = uniform


@pytest.fixture
def x() -> Tensor:
    return torch.rand(3, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


def fixed(count: int) -> FixedRng:
    return FixedRng(torch.rand(3, count, generator=torch.Generator().manual_seed(2)).tolist())


def test_colour_is_brightness_then_saturation_then_contrast(x: Tensor) -> None:
    rng = fixed(3)
    changed = Colour(ColourOptions(), SPEC)(x, rng, Clock())
    for image, result, (u, v, w) in zip(x.numpy(), changed.numpy(), rng.numbers.double().tolist(), strict=True):
        image = image + (u - 0.5)
        grey = image.mean(0)
        image = grey + (image - grey) * (2 * v)
        image = image.mean() + (image - image.mean()) * (w + 0.5)
        assert np.abs(result - image).max() < 1e-6
    unchanged = Colour(ColourOptions(brightness=0.0, saturation=0.0, contrast=0.0), SPEC)(x, rng, Clock())
    torch.testing.assert_close(unchanged, x)


def test_translation_shifts_by_whole_pixels_and_pads_with_grey(x: Tensor) -> None:
    rng = FixedRng([[0.0, 0.999], [0.5, 0.5], [0.999, 0.0]])
    changed = Translate(TranslationOptions(share=0.25), SPEC)(x, rng, Clock()).numpy()
    max_shift = (3, 4)  # a quarter of 13 and of 16, rounded
    for image, result, (down, right) in zip(x.numpy(), changed, ((-3, 4), (0, 0), (3, -4)), strict=True):
        padded = np.pad(image, ((0, 0), *((shift, shift) for shift in max_shift)))
        rows, columns = max_shift[0] - down, max_shift[1] - right
        assert np.array_equal(result, padded[:, rows : rows + HEIGHT, columns : columns + WIDTH])
    shifts = {-3, -2, -1, 0, 1, 2, 3}
    line = torch.arange(1.0, HEIGHT + 1).view(1, 1, HEIGHT, 1).expand(50, 1, HEIGHT, WIDTH)
    shifted = Translate(TranslationOptions(share=0.25), SPEC)(
        line, FixedRng([[i / 50, 0.5] for i in range(50)]), Clock()
    )
    assert {7 - int(each[0, 6, 8]) for each in shifted} == shifts


def test_cutout_blanks_a_square_that_may_extend_beyond_the_border(x: Tensor) -> None:
    rng = FixedRng([[0.0, 0.0], [0.5, 0.25], [0.999, 0.999]])
    changed = Cutout(CutoutOptions(), SPEC)(x, rng, Clock()).numpy()
    height, width = 7, 8  # half of 13 and of 16, rounded
    for image, result, (u, v) in zip(x.numpy(), changed, rng.numbers.tolist(), strict=True):
        expected = image.copy()
        top, left = int(u * (HEIGHT + 1 - height % 2)) - height // 2, int(v * (WIDTH + 1 - width % 2)) - width // 2
        expected[:, max(0, top) : top + height, max(0, left) : left + width] = 0
        assert np.array_equal(result, expected)
        assert 0 < (result == 0).mean() <= height * width / (HEIGHT * WIDTH)


def test_noise_is_gaussian_and_follows_its_schedule() -> None:
    rng = CounterRng(3, np.zeros(4), np.arange(4))
    x = torch.zeros(4, 3, 32, 32)
    noise = Noise(NoiseOptions.model_validate({"scale": {"from": 0.5, "to": 0.0}}), SPEC)
    first = noise(x, rng, Clock())
    assert float(first.std()) == pytest.approx(0.5, rel=0.02) and abs(float(first.mean())) < 0.02
    torch.testing.assert_close(noise(x, rng, Clock(run=0.5)), first / 2)
    assert noise(x, rng, Clock(run=1.0)) is x


@pytest.mark.parametrize(
    "augmentation",
    [Colour(ColourOptions(), SPEC), Translate(TranslationOptions(), SPEC), Cutout(CutoutOptions(), SPEC)],
)
def test_augmentations_are_differentiable_and_treat_samples_independently(
    x: Tensor, augmentation: Colour | Translate | Cutout
) -> None:
    x = x[:, :, :5, :6].clone().requires_grad_()
    rng = CounterRng(0, np.zeros(3), np.arange(3), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda y: augmentation(y, rng, Clock()), (x,))
    single = CounterRng(0, np.zeros(1), np.array([1]), dtype=torch.float64)
    torch.testing.assert_close(augmentation(x, rng, Clock())[1:2], augmentation(x[1:2], single, Clock()))
    assert NoiseOptions().scale == constant(0.1)


def test_samples_other_than_images_are_refused() -> None:
    with pytest.raises(UsageError, match="height and width"):
        Cutout(CutoutOptions(), NetworkSpec(80, 80, 0, (64,), ("a",), ("t",)))
