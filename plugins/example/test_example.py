"""Tests of the example: what its kinds promise, by `transgan.testing`."""

from transgan_example.generators import RecolourGenerator
from transgan_example.losses import TotalVariation

from transgan.testing import check


def test_the_loss_keeps_what_losses_promise() -> None:
    check(TotalVariation, {}, {"power": 2.0})


def test_the_generator_keeps_what_generators_promise() -> None:
    check(RecolourGenerator, {"width": 4}, {"width": 4, "layers": 1})
