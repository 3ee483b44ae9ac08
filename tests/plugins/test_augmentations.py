"""Augmentations against the published ones, written out sample by sample."""

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

from transgan.api import Clock, Spec, UsageError, constant
from transgan.data.draws import SampleDraws

HEIGHT, WIDTH = 13, 16
SPEC = Spec(3, 3, 0, (HEIGHT, WIDTH), ("a",), ("t",))


class Said:
    """Draws that were said before."""

    def __init__(self, numbers: list[list[float]]):
        self.numbers = torch.tensor(numbers)

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        return self.numbers[:, : int(np.prod(shape))].reshape(len(self.numbers), *shape)

    normal = uniform


@pytest.fixture
def x() -> Tensor:
    return torch.rand(3, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2 - 1


def chance(count: int) -> Said:
    return Said(torch.rand(3, count, generator=torch.Generator().manual_seed(2)).tolist())


def test_colour_is_brightness_then_saturation_then_contrast(x: Tensor) -> None:
    said = chance(3)
    changed = Colour(ColourOptions(), SPEC)(x, said, Clock())
    for picture, got, (u, v, w) in zip(x.numpy(), changed.numpy(), said.numbers.double().tolist(), strict=True):
        picture = picture + (u - 0.5)
        grey = picture.mean(0)
        picture = grey + (picture - grey) * (2 * v)
        picture = picture.mean() + (picture - picture.mean()) * (w + 0.5)
        assert np.abs(got - picture).max() < 1e-6
    still = Colour(ColourOptions(brightness=0.0, saturation=0.0, contrast=0.0), SPEC)(x, said, Clock())
    torch.testing.assert_close(still, x)


def test_a_translation_moves_by_whole_pixels_and_leaves_grey(x: Tensor) -> None:
    said = Said([[0.0, 0.999], [0.5, 0.5], [0.999, 0.0]])
    changed = Translate(TranslationOptions(share=0.25), SPEC)(x, said, Clock()).numpy()
    furthest = (3, 4)  # a quarter of 13 and of 16, rounded
    for picture, got, (down, right) in zip(x.numpy(), changed, ((-3, 4), (0, 0), (3, -4)), strict=True):
        padded = np.pad(picture, ((0, 0), *((f, f) for f in furthest)))
        rows, columns = furthest[0] - down, furthest[1] - right
        assert np.array_equal(got, padded[:, rows : rows + HEIGHT, columns : columns + WIDTH])
    every = {-3, -2, -1, 0, 1, 2, 3}
    line = torch.arange(1.0, HEIGHT + 1).view(1, 1, HEIGHT, 1).expand(50, 1, HEIGHT, WIDTH)
    moved = Translate(TranslationOptions(share=0.25), SPEC)(line, Said([[i / 50, 0.5] for i in range(50)]), Clock())
    assert {7 - int(each[0, 6, 8]) for each in moved} == every


def test_a_cutout_blanks_a_square_that_may_hang_over_the_border(x: Tensor) -> None:
    said = Said([[0.0, 0.0], [0.5, 0.25], [0.999, 0.999]])
    changed = Cutout(CutoutOptions(), SPEC)(x, said, Clock()).numpy()
    high, wide = 7, 8  # half of 13 and of 16, rounded
    for picture, got, (u, v) in zip(x.numpy(), changed, said.numbers.tolist(), strict=True):
        wanted = picture.copy()
        top, left = int(u * (HEIGHT + 1 - high % 2)) - high // 2, int(v * (WIDTH + 1 - wide % 2)) - wide // 2
        wanted[:, max(0, top) : top + high, max(0, left) : left + wide] = 0
        assert np.array_equal(got, wanted)
        assert 0 < (got == 0).mean() <= high * wide / (HEIGHT * WIDTH)


def test_noise_is_normal_and_follows_its_schedule() -> None:
    draws = SampleDraws(3, np.zeros(4), np.arange(4))
    x = torch.zeros(4, 3, 32, 32)
    noise = Noise(NoiseOptions.model_validate({"scale": {"from": 0.5, "to": 0.0}}), SPEC)
    begun = noise(x, draws, Clock())
    assert float(begun.std()) == pytest.approx(0.5, rel=0.02) and abs(float(begun.mean())) < 0.02
    torch.testing.assert_close(noise(x, draws, Clock(run=0.5)), begun / 2)
    assert noise(x, draws, Clock(run=1.0)) is x


@pytest.mark.parametrize(
    "augmentation",
    [Colour(ColourOptions(), SPEC), Translate(TranslationOptions(), SPEC), Cutout(CutoutOptions(), SPEC)],
)
def test_gradients_pass_through_and_samples_do_not_meet(x: Tensor, augmentation: Colour | Translate | Cutout) -> None:
    x = x[:, :, :5, :6].clone().requires_grad_()
    draws = SampleDraws(0, np.zeros(3), np.arange(3), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda y: augmentation(y, draws, Clock()), (x,))
    alone = SampleDraws(0, np.zeros(1), np.array([1]), dtype=torch.float64)
    torch.testing.assert_close(augmentation(x, draws, Clock())[1:2], augmentation(x[1:2], alone, Clock()))
    assert NoiseOptions().scale == constant(0.1)


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(UsageError, match="height and width"):
        Cutout(CutoutOptions(), Spec(80, 80, 0, (64,), ("a",), ("t",)))
