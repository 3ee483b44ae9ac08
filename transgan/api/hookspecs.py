"""The hooks that a plugin may implement, in the order in which they are called."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pluggy import HookimplMarker, HookspecMarker

from transgan.api.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor

    from transgan.api.protocols import ImportedGenerator
    from transgan.engine import Run

hookspec = HookspecMarker("transgan")
hookimpl = HookimplMarker("transgan")

Register = Callable[[str, type[Any]], None]
RegisterWeights = Callable[[Weights], None]

# Registration: called once, before a recipe is resolved. `register("resnet", ResnetGenerator)`.


@hookspec
def register_sources(register: Register) -> None:
    """Offer sources: where samples come from."""


@hookspec
def register_media(register: Register) -> None:
    """Offer media: how a kind of file becomes a tensor and back."""


@hookspec
def register_conditionings(register: Register) -> None:
    """Offer conditionings: ways of telling a network what to do."""


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
    """Offer augmentations: changes of what discriminators are shown."""


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
def register_finders(register: Register) -> None:
    """Offer finders: ways of finding the parts of an item to translate. The name is what they find, in the plural."""


@hookspec
def register_weights(register: RegisterWeights) -> None:
    """Announce files of weights, pinned by their hash, that `transgan download` can fetch: `register(Weights(...))`."""


# Import: called by `transgan import`, until one plugin knows the file.


@hookspec(firstresult=True)
def read_weights(path: Path) -> "ImportedGenerator | None":
    """Read a generator that another program has saved; None where the file is not of a kind you know. DataError."""


# Lifecycle: called during a run, on its main process, on every plugin that is installed.


@hookspec
def run_started(run: "Run") -> None:
    """The folder exists and the plan is checked; no step is taken yet."""


@hookspec
def step_finished(run: "Run", step: int, losses: "Mapping[str, Tensor]") -> None:
    """A step is done. Losses are unweighted and still on the device: read them only when you are about to show them."""


@hookspec
def samples_drawn(run: "Run", step: int, path: Path) -> None:
    """A preview of the held-out samples was written."""


@hookspec
def checkpoint_saved(run: "Run", step: int, path: Path) -> None:
    """A checkpoint is complete on disk."""


@hookspec
def run_finished(run: "Run", outcome: str) -> None:
    """Called once: `"finished"`, `"interrupted"` or `"failed"`."""
