"""A loss and a generator, as anybody may add them to TransGAN."""

from transgan.api import Register, hookimpl
from transgan_example.generators import RecolourGenerator
from transgan_example.losses import TotalVariation


@hookimpl
def register_losses(register: Register) -> None:
    register("total_variation", TotalVariation)


@hookimpl
def register_generators(register: Register) -> None:
    register("recolour", RecolourGenerator)
