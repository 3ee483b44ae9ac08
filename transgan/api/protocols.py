"""What a plugin has to be. Nothing here knows how, or in what order, it will be called.

One rule runs through all of it: whatever a function needs, it names as an argument, and takes no more.
Shapes: N samples, C channels, *space one to three axes.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from torch import Tensor, nn

from transgan.api.options import Options
from transgan.api.samples import Domain, Draws
from transgan.api.schedule import Clock

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
    attributes: Mapping[str, int] = field(default_factory=dict)
    """How many numbers tell each of the recipe's attributes."""


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

    def start(self, domains: Mapping[str, Domain], translations: Sequence[Translation]) -> None:
        """Called once, before the first step of a run and never again: the place to take something from the data.

        It happens on one process: what is to stay must be in parameters or buffers, changed in place. They are saved
        with the run and with the model, so that a run that is resumed, and a model that translates, need no data.

        Args:
            domains: all, with their training samples.
            translations: those that this copy makes, or judges.
        """

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
    discriminator that judges, which is asked in fp32), `other_discriminators` (those of the other tasks) and `clock`. A
    loss that asks for any of the first five is evaluated for each discriminator of each translation, any other once for
    each translation. Besides:

    - `source_outputs`, `reconstruction_outputs`: what the discriminators of the source domain, those that judge the way
      back, say of source and reconstruction, in the same order;
    - `fake_opinion`: (N,) how real the target domain's discriminators take each fake to be, at most 1; no gradient;
    - `memory`: tensors that this loss has noted for this translation and discriminator, by name; what it writes there
      is remembered as the mean over the batch's parts and all processes, from the phase's end on;
    - `draws`: random numbers of this loss's own.
    """

    Options: ClassVar[type[Options]] = Options
    unneeded: Collection[str] = ()
    """Arguments that these options have no use for; they keep their defaults, and cost nothing."""
    lasting: ClassVar[bool] = False
    """True when its weight may follow any schedule, but not end at 0."""
    slopes: ClassVar[bool] = False
    """True when it bounds a discriminator's slope at each sample; then the discriminator may not mix samples."""
    boundary: ClassVar[float | None] = None
    """For adversarial losses: the logit at which a discriminator is undecided; None where there is no such logit."""

    def __init__(self, options: Any):
        self.options = options

    def opinion(self, logits: Tensor) -> Tensor:
        """For adversarial losses with a boundary: how real a discriminator takes something to be, at most 1."""
        raise NotImplementedError

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


class Augmentation:
    """A change of what a discriminator is shown, real and fake alike (Zhao et al., 2020); gradients pass through it."""

    Options: ClassVar[type[Options]] = Options
    moves: ClassVar[bool] = False
    """True when it moves things about: what a discriminator sees beside a sample (`given`) is then moved with it."""

    def __init__(self, options: Any, spec: Spec):
        self.options = options

    def __call__(self, x: Tensor, draws: Draws, clock: Clock) -> Tensor:
        """(N, C, *space) in [-1, 1], changed by chance, each sample by itself. Equal draws make equal changes."""
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
        """A batch of one translation. The arguments are node names, and any of these.

        - `keys` and `samples`: the N held-out samples; `counterpart`: their true translations as a tensor, without
          which a metric that asks for it is skipped; `true_samples`: the same as samples, None where unknown.
        - `translate(x, row=i)`: x (K, C, *space), parts of sample i as the media's `to_model` makes them, translated.
        """
        raise NotImplementedError

    def compute(self) -> dict[Translation, dict[str, float]]:
        """The figures, by translation."""
        raise NotImplementedError

    def protocol(self) -> Mapping[str, str]:
        """For figures of which there are several definitions, by name, which one this is, in words."""
        return {}
