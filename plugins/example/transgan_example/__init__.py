"""An example of a plugin package: a loss and a generator."""

from transgan.api import Register, hookimpl
from transgan_example.generators import RecolourGenerator
from transgan_example.losses import TotalVariation

#: The version of `transgan.api` that it is written for.
requires_api = 1


@hookimpl
def register_losses(register: Register) -> None:
    register("total_variation", TotalVariation)


@hookimpl
def register_generators(register: Register) -> None:
    register("recolour", RecolourGenerator)
