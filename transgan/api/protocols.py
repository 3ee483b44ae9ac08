"""What a plugin has to be. Nothing here knows how, or in what order, it will be called.

One rule runs through all of it: whatever a function needs, it names as an argument, and takes no more.
Shapes: N samples, C channels, *space one to three axes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from torch import Tensor, nn

from transgan.api.options import Options

F = TypeVar("F", bound=Callable[..., Any])

Conditions = Mapping[str, Any]
"""What a network is told besides its input: by name; tensors have N first."""


@dataclass(frozen=True)
class Spec:
    """What the plan knows of the place where a network will stand. Options are the user's choice; this follows."""

    channels: int
    """Channels of a sample, hence of what a generator returns."""
    inputs: int
    """Channels that come in: a sample's, and those that conditionings add."""
    style: int
    """Numbers in the style vector that conditionings make; 0 for none."""
    space: tuple[int, ...]
    """The axes of a training batch behind N and C."""
    domains: tuple[str, ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Translation:
    """One direction of one task: a sample of `source` is to become one of `target`; `*` stands for several domains."""

    task: str
    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.task}: {self.source} -> {self.target}"


@dataclass(frozen=True)
class DiscriminatorOutput:
    """What a discriminator says of a batch."""

    logits: list[Tensor]
    """One tensor a scale, (N, 1, *space) or (N, 1); no sigmoid."""
    class_logits: Tensor | None = None
    """(N, number of domains), where the discriminator classifies too."""
    features: list[Tensor] = field(default_factory=list)
    """Activations, first layer first."""


@dataclass(frozen=True)
class Call:
    """A request, returned by a node, to run a network. Requests that are ready together may become one pass.

    `role` is what nodes call the network (`generator`, `back`, an encoder's name); the plan says which one plays it.
    With `frozen` gradients pass through the network and leave it as it is.
    """

    role: str
    x: Any
    conditions: Conditions = field(default_factory=dict)
    frozen: bool = False


class Network(nn.Module):
    """Base of the networks: `forward` takes the input and, by name, whatever it wants of the conditions."""

    Options: ClassVar[type[Options]] = Options
    mixes_batch: ClassVar[bool] = False
    """True when one sample's output depends on the others (batch norm is noticed without it)."""

    def __init__(self, options: Any, spec: Spec):
        super().__init__()

    def after_step(self) -> None:
        """Called when an optimizer has moved this network: the place to clip weights."""


class Generator(Network):
    """`forward(x, style, ...) -> y`: x (N, spec.inputs, *space) in [-1, 1], style (N, spec.style) or None,
    y (N, spec.channels, *space)."""

    stride: int = 1
    """Every axis of x must be a multiple of it."""


class Discriminator(Network):
    """`forward(x, style, ...) -> DiscriminatorOutput`: x (N, spec.inputs, *space), style as a generator's."""


class Encoder(Network):
    """`forward(x, style, ...)` -> whatever the nodes that call it expect."""


class Conditioning(nn.Module):
    """`forward(x, style, ...) -> (x, style)`: writes conditions into the input, the style vector, or both."""

    Options: ClassVar[type[Options]] = Options
    channels: int = 0
    """Channels added to x."""
    style: int = 0
    """Numbers added to the style vector."""

    def __init__(self, options: Any, spec: Spec):
        super().__init__()


class Loss:
    """One term of the objective: `for_generator`, `for_discriminator`, or both; they return a scalar.

    Arguments are node names, or `real_output`, `fake_output`, `real_input`, `fake_input`, `discriminator` (of the
    discriminator that judges), `other_discriminators` (those of the other tasks) and `clock`. A loss that asks for
    any of the first five is evaluated for each discriminator of each translation, any other once for each translation.
    """

    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: Any):
        self.options = options

    def networks(self, spec: Spec) -> dict[str, nn.Module]:
        """Networks of the loss's own, trained with the generators; its nodes call them `<loss>/<name>`."""
        return {}


class Nodes:
    """Named tensors and how to make them: the methods marked with `@node`."""

    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: Any):
        self.options = options


def node(function: F) -> F:
    """Marks a method as a node: its name is what others ask for, its arguments are what it asks for itself."""
    function.is_node = True  # type: ignore[attr-defined]
    return function


@dataclass(frozen=True)
class Sample:
    """One file, part of a file, or recipe for making one."""

    key: str
    """Its name: the split is by it, pairs share it, outputs are called after it."""
    location: Any
    """What the media can decode: a path, or a callable where samples are made and not read."""
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Source:
    """Where samples come from; knows files, not tensors."""

    Options: ClassVar[type[Options]] = Options

    def __init__(self, options: Any, root: Path | None):
        self.options = options
        self.root = root

    def samples(self, domain: str, selection: Any) -> list[Sample]:
        """The samples of a domain, sorted by key. `selection` is what `[domains]` says of it.

        Raises:
            DataError: nothing there, or not readable; says where it looked and what it found.
            UsageError: the selection is not of a form that this source knows.
        """
        raise NotImplementedError

    def counterpart(self, sample: Sample, source: Any, target: Any) -> Sample | None:
        """The true translation of `sample`, from selection `source` to selection `target`, where it can be known."""
        return None


class Draws(Protocol):
    """Random numbers, each a pure function of (seed, purpose, epoch, index of the sample)."""

    def uniform(self, purpose: str, *shape: int) -> Tensor:
        """(N, *shape) in [0, 1)."""

    def normal(self, purpose: str, *shape: int) -> Tensor:
        """(N, *shape), standard normal."""


class Media:
    """How a kind of file becomes a tensor and back, and how it is shown."""

    Options: ClassVar[type[Options]] = Options
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings of files that `read` knows, with dot, in lower case."""
    channels: int = 3

    def __init__(self, options: Any, size: int):
        self.options = options
        self.size = size

    @property
    def space(self) -> tuple[int, ...]:
        """The axes of a training batch behind N and C."""
        raise NotImplementedError

    def decode(self, location: Any) -> np.ndarray:
        """What the cache keeps of a sample: an array of the same shape and type for every sample. DataError."""
        raise NotImplementedError

    def batch(self, decoded: Tensor, draws: Draws | None) -> Tensor:
        """Decoded samples, (N, ...) on the device, as (N, C, *space) in [-1, 1]; augmented where `draws` is given."""
        raise NotImplementedError

    def read(self, item: Any) -> Tensor:
        """A whole file, or what it is in Python (a PIL picture), as (C, *space) in [-1, 1], of any size. DataError."""
        raise NotImplementedError

    def export(self, x: Tensor) -> Any:
        """The opposite of `read` in Python: (C, *space) in [-1, 1] as a PIL picture, say."""
        raise NotImplementedError

    def to_model(self, x: Tensor, stride: int, native: bool = False) -> tuple[Tensor, Any]:
        """(C, *space) as the (1, C, *space) that a generator takes, and what `from_model` needs to undo it."""
        raise NotImplementedError

    def from_model(self, y: Tensor, undo: Any) -> Tensor:
        """The generator's (1, C, *space) at the size of the file: (C, *space)."""
        raise NotImplementedError

    def write(self, x: Tensor, path: Path) -> None:
        """Writes (C, *space) in [-1, 1]. DiskError."""
        raise NotImplementedError

    def preview(self, columns: Mapping[str, Sequence[Tensor]], path: Path) -> Path:
        """Shows samples side by side, a column a name and a row an item; returns the file written."""
        raise NotImplementedError


@dataclass(frozen=True)
class ImportedGenerator:
    """A generator that another program has saved, as one of ours."""

    name: str
    """The generator plugin that computes the same: `resnet`."""
    options: Mapping[str, Any]
    """The plugin's options, as far as weights can tell."""
    state: Mapping[str, Tensor]
    """Its weights, under the plugin's names: what `load_state_dict` takes."""
    inputs: int
    """Channels that come in."""
    channels: int
    """Channels that come out."""


@dataclass(frozen=True)
class Domain:
    """A domain's samples as metrics see them."""

    name: str
    samples: Sequence[Sample]
    held_out: Sequence[Sample]
    batches: Callable[..., Iterable[tuple[list[str], Tensor]]]
    """`batches(held_out: bool, size: int)` yields keys and (N, C, *space), once over all."""


class Metric:
    """A figure that says how good translations are. States its protocol in its name."""

    Options: ClassVar[type[Options]] = Options
    better: ClassVar[Mapping[str, str]] = {}
    """For each figure `"lower"` or `"higher"`."""

    def __init__(self, options: Any):
        self.options = options

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        """Once, before the first update: for classifiers and reference statistics, from the real domains."""

    def reset(self) -> None:
        """Forgets what was counted; keeps what `prepare` learned. Called before the first update of an evaluation."""
        raise NotImplementedError

    def update(self, translation: Translation, **nodes: Any) -> None:
        """A batch of one translation. The arguments are node names, `keys`, `counterpart` (skipped where unknown)."""
        raise NotImplementedError

    def compute(self) -> dict[Translation, dict[str, float]]:
        """The figures, by translation."""
        raise NotImplementedError
