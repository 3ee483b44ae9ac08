"""The hooks that a plugin's module may implement: what it offers, and files of other programs that it can read."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluggy import HookimplMarker, HookspecMarker

from transgan.api.examples import Examples
from transgan.api.starters import Starter
from transgan.api.weights import WeightFile

if TYPE_CHECKING:  # so that listing plugins does not import torch
    from transgan.api.protocols import ImportedGenerator

hookspec = HookspecMarker("transgan")
hookimpl = HookimplMarker("transgan")

Register = Callable[[str, type[Any]], None]
"""`register(name, cls)`: offer a class under the name that recipes use."""
RegisterWeightFiles = Callable[[WeightFile], None]
"""`register(WeightFile(...))`: announce a file that `transgan download` can fetch."""
RegisterStarters = Callable[[Starter], None]
"""`register(Starter(...))`: offer a recipe to begin with."""
RegisterCommands = Callable[[str, Any], None]
"""`register(name, app)`: offer the commands of a `typer.Typer` under a name."""
RegisterExamples = Callable[[Examples], None]
"""`register(Examples(...))`: offer files to try a model on."""


# Registration: called once, before a recipe is resolved. `register("resnet", ResnetGenerator)`.


@hookspec
def register_sources(register: Register) -> None:
    """Offer sources: where samples come from."""


@hookspec
def register_media(register: Register) -> None:
    """Offer media: how a kind of file becomes a tensor and back."""


@hookspec
def register_containers(register: Register) -> None:
    """Offer containers: files that hold a sequence of items of a media."""


@hookspec
def register_conditionings(register: Register) -> None:
    """Offer conditionings: how a condition enters a network."""


@hookspec
def register_generators(register: Register) -> None:
    """Offer generators."""


@hookspec
def register_discriminators(register: Register) -> None:
    """Offer discriminators."""


@hookspec
def register_encoders(register: Register) -> None:
    """Offer any other network that nodes call by name."""


@hookspec
def register_augmentations(register: Register) -> None:
    """Offer augmentations of discriminator inputs."""


@hookspec
def register_nodes(register: Register) -> None:
    """Offer sets of nodes."""


@hookspec
def register_losses(register: Register) -> None:
    """Offer losses."""


@hookspec
def register_metrics(register: Register) -> None:
    """Offer metrics."""


@hookspec
def register_region_detectors(register: Register) -> None:
    """Offer region detectors. The name is what they detect, in the plural: `faces`."""


@hookspec
def register_hooks(register: Register) -> None:
    """Offer hooks: what runs at moments of a run, where a recipe names it."""


@hookspec
def register_weight_files(register: RegisterWeightFiles) -> None:
    """Announce weight files, pinned by their hash, that `transgan download` can fetch: `register(WeightFile(...))`."""


@hookspec
def register_starters(register: RegisterStarters) -> None:
    """Offer recipes to begin with, each for a kind of data, to `transgan init`: `register(Starter(...))`.

    Called by `transgan init` only.
    """


@hookspec
def register_commands(register: RegisterCommands) -> None:
    """Offer groups of commands: `register("NAME", app)`, the app a `typer.Typer`, for `transgan NAME COMMAND`.

    Called only where the command line names no command of TransGAN's own, which come first, and to list commands: the
    place to import what the commands need.
    """


@hookspec
def register_examples(register: RegisterExamples) -> None:
    """Offer files to try a model on, which `transgan samples` writes: `register(Examples(...))`.

    Called only by that command and to list them: the place to import what makes them.
    """


# Import: called by `transgan import`, until one plugin knows the file.


@hookspec(firstresult=True)
def import_generator(path: Path) -> "ImportedGenerator | None":
    """Read a generator that another program has saved.

    Returns:
        The generator, or None where the file is not of a kind that this plugin knows.

    Raises:
        DataError: the file is of that kind, and damaged.
    """
