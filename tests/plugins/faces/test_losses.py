"""The loss `face_cycle`: an L1 distance whose weights have the mean 1, and are highest in the face."""

import pytest
import torch
from torch import Tensor
from transgan_faces.losses import FaceCycle, FaceCycleOptions


def spot(row: int, column: int, size: int = 64) -> Tensor:
    """Return a picture that differs from 0 in one pixel."""
    x = torch.zeros(1, 3, size, size)
    x[..., row, column] = 1
    return x


@pytest.mark.parametrize("outside", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("margin", [0.0, 0.15])
def test_an_equal_difference_everywhere_costs_as_much_as_in_a_plain_cycle(outside: float, margin: float) -> None:
    x = torch.rand(2, 3, 32, 48) * 2 - 1
    loss = FaceCycle(FaceCycleOptions(outside=outside, margin=margin))
    assert float(loss.for_generator(x, x + 0.25)) == pytest.approx(0.25, rel=1e-5)


def test_the_middle_counts_more_than_the_corner_by_the_option() -> None:
    loss, x = FaceCycle(FaceCycleOptions(outside=0.25)), torch.zeros(1, 3, 64, 64)
    middle, corner = (float(loss.for_generator(x, spot(at, at))) for at in (32, 0))
    assert corner == pytest.approx(0.25 * middle, rel=1e-5)


def test_a_margin_makes_the_face_smaller() -> None:
    x = torch.zeros(1, 3, 64, 64)
    share = []
    for margin in (0.0, 0.5):
        loss = FaceCycle(FaceCycleOptions(margin=margin, outside=0.25))
        share.append(float(loss.for_generator(x, spot(32, 10))) / float(loss.for_generator(x, spot(32, 32))))
    assert share[0] > 0.5 and share[1] == pytest.approx(0.25, rel=1e-5)


def test_a_mask_of_the_data_says_where_the_face_is() -> None:
    loss = FaceCycle(FaceCycleOptions(mask="input", outside=0.5))
    mask = -torch.ones(1, 1, 64, 64)
    mask[..., :32, :] = 1
    weights = {row: float(loss.for_generator(torch.zeros(1, 3, 64, 64), spot(row, 5), mask)) for row in (3, 60)}
    assert weights[3] == pytest.approx(2 * weights[60])
    assert loss.unused_inputs == ()
    assert FaceCycle(FaceCycleOptions()).unused_inputs == ("source_mask",)


def test_a_sample_without_a_face_counts_everywhere() -> None:
    loss = FaceCycle(FaceCycleOptions(mask="input", outside=0.0))
    x = torch.zeros(1, 3, 16, 16)
    assert float(loss.for_generator(x, x + 0.5, -torch.ones(1, 1, 16, 16))) == pytest.approx(0.5)
