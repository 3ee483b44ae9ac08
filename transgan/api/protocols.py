"""What each kind of plugin has to be.

One rule runs through all of it: a function names what it needs as arguments, and is given just that.
Shapes: N samples, C channels, *space one to three axes. Samples lie in [-1, 1].
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from transgan.api.samples import Domain, SampleRng
from transgan.options import Configurable, OptionsT
from transgan.schedule import Clock

Conditions = Mapping[str, Any]
"""What a network is conditioned on, by name; tensors have N first."""


@dataclass(frozen=True)
class NetworkSpec:
    """What the plan knows of the place where a network will stand. Options are the user's choice; this follows."""

    channels: int
    """Channels of a sample, hence of what a generator returns."""
    inputs: int
    """Channels of the input: a sample's, and those that conditionings add."""
    style: int
    """Length of the style vector that conditionings make; 0 for none."""
    space: tuple[int, ...]
    """The axes of a training batch behind N and C."""
    domains: tuple[str, ...]
    tasks: tuple[str, ...]
    attributes: Mapping[str, int] = field(default_factory=dict)
    """Length of the vector that encodes each of the recipe's attributes."""
    source_channels: int | None = None
    """Channels of the input sample alone; None where they equal `channels`."""

    @property
    def keeps_channels(self) -> bool:
        """Whether a generator returns as many channels as the sample that it translates."""
        return self.source_channels in (None, self.channels)


@dataclass(frozen=True)
class Translation:
    """One direction of one task: a sample of `source` becomes one of `target`; `*` stands for several domains."""

    task: str
    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.task}: {self.source} -> {self.target}"

    @property
    def back(self) -> "Translation":
        """The other direction."""
        return Translation(self.task, self.target, self.source)


@dataclass(frozen=True)
class DiscriminatorOutput:
    """What a discriminator returns for a batch."""

    logits: list[Tensor]
    """One tensor for each scale, (N, 1, *space) or (N, 1), before any sigmoid."""
    class_logits: Tensor | None = None
    """(N, number of domains), where the discriminator has a class head."""
    features: list[Tensor] = field(default_factory=list)
    """Activations, (N, C, *space) each, first layer first, one scale after the other."""
    kept_logits: list[Tensor] = field(default_factory=list)
    """(N, K, *space) or (N, K) for each scale: one logit for each value of the labels that translations keep, where the
    discriminator looks at them one by one."""
    kept: Tensor | None = None
    """(N, K) how much each of these counts in adversarial losses beside `logits`: 0 for values not asked about."""


@dataclass(frozen=True)
class Call:
    """A request, returned by a node, to run a network. Requests that are ready together may become one pass."""

    role: str
    """The role in which the translation needs the network: `generator`, `back`, or an encoder's name."""
    x: Any
    """The input, usually (N, C, *space)."""
    conditions: Conditions = field(default_factory=dict)
    frozen: bool = False
    """Whether gradients pass through the network without reaching its parameters."""


class Network(nn.Module, Configurable[OptionsT]):
    """Base class of networks. `forward` takes the input and, by name, the conditions that it wants.

    Args:
        options: the recipe's.
        spec: channels, size, domains and tasks.
    """

    mixes_batch: ClassVar[bool] = False
    """True where a sample's output depends on the other samples. Batch norm is recognised without it."""
    channels_last: ClassVar[bool] = False
    """True where `forward` takes samples (N, C, H, W) with channels last in memory, where large convolutions are
    faster: nothing in it views a tensor as only one with rows last can be viewed; `reshape` works in either format.
    What it returns has rows last again."""
    note: str = ""
    """What `transgan check` says of the network, such as that its weights are random; a sentence."""

    def __init__(self, options: OptionsT, spec: NetworkSpec):
        super().__init__()

    @classmethod
    def unused_conditions(cls, options: OptionsT) -> Collection[str]:
        """Return which arguments of `forward` these options do not need; they keep their defaults."""
        return ()

    def init_from_data(self, domains: Mapping[str, Domain], translations: Sequence[Translation]) -> None:
        """Initialise weights from the training data. Called once, before the first step of a run.

        One process calls it; the result must be in parameters or buffers, changed in place. They are saved with the run
        and the model, so that neither resuming nor translating needs the data.

        Args:
            domains: every domain, with its training samples.
            translations: those that this network takes part in.
        """

    def after_step(self) -> None:
        """Called after each optimizer step of this network: the place to clip weights."""


class Generator(Network[OptionsT]):
    """`forward(x, style, ...) -> y`: x (N, spec.inputs, *space) in [-1, 1], style (N, spec.style) or None,
    y (N, spec.channels, *space)."""

    stride: PositiveInt = 1
    """Every axis of x must be a multiple of it, but for the `free_axes`."""
    free_axes: ClassVar[NonNegativeInt] = 0
    """How many axes of *space, the first ones, may have any length: those along which elements are translated one by
    one."""


class Discriminator(Network[OptionsT]):
    """`forward(x, style, ...) -> DiscriminatorOutput`: x (N, spec.inputs, *space), style as a generator's.

    One that keeps statistics of real samples and of fakes apart may name `real`, (N,): 1 for samples that it should
    find real, 0 for all others. It keeps its default where a loss calls it itself, as for a gradient penalty.
    """


class Encoder(Network[OptionsT]):
    """`forward(x, style, ...)` returns whatever the nodes that call it expect."""


class Conditioning(nn.Module, Configurable[OptionsT]):
    """`forward(x, style, ...) -> (x, style)`: write conditions into the input, the style vector, or both.

    x is (N, C, *space) and style (N, S) or None, before and after; C and S grow by `channels` and `style`.
    """

    channels: NonNegativeInt = 0
    """Channels that it adds to x."""
    style: NonNegativeInt = 0
    """Length that it adds to the style vector."""
    spatial: ClassVar[bool] = False
    """True where the condition has values for every position, (N, K, *space)."""
    channels_last: ClassVar[bool] = False
    """True where `forward` takes samples with channels last in memory, as of networks."""

    def __init__(self, options: OptionsT, spec: NetworkSpec):
        super().__init__()


class Loss(Configurable[OptionsT]):
    """One term of the objective: define `for_generator`, `for_discriminator`, or both; each returns a scalar.

    Arguments are names of nodes and batch inputs, and names that only losses can ask for: `transgan plugins --names`
    lists them all. A loss that names `real_output`, `fake_output`, `real_input`, `fake_input` or `discriminator` is
    evaluated for each discriminator of each translation, any other loss once for each translation.
    """

    interval: PositiveInt = 1
    """The loss is evaluated at every Nth step of its phase only, with N times its weight; in between its last value is
    logged (lazy regularisation)."""
    unused_inputs: Collection[str] = ()
    """Arguments that these options do not need: they keep their defaults, and are not computed."""
    measures: ClassVar[tuple[str, int] | None] = None
    """What it is for, where that is not samples of any kind: their name in the plural, and their number of axes *space.
    A recipe whose media has others is refused, rather than the loss taking one axis for another."""
    nonzero_at_end: ClassVar[bool] = False
    """True where a weight that ends at 0 is a mistake."""
    penalizes_gradient: ClassVar[bool] = False
    """True for a gradient penalty, taken sample by sample: its discriminator may not mix samples."""
    decision_logit: ClassVar[float | None] = None
    """For adversarial losses: the logit at which a discriminator is undecided; None where there is none (critics)."""

    def __init__(self, options: OptionsT):
        self.options = options

    def realness(self, logits: Tensor) -> Tensor:
        """For adversarial losses with a `decision_logit`: how real each logit says a sample is, at most 1."""
        raise NotImplementedError

    def networks(self, spec: NetworkSpec) -> dict[str, nn.Module]:
        """Return the loss's own networks, trained with the generators; its nodes call them `<loss>/<name>`."""
        return {}


class Nodes(Configurable[OptionsT]):
    """Named tensors and how to compute them: the methods marked with `@node`."""

    shown: ClassVar[Collection[str]] = ()
    """Nodes that previews show beside translations, as samples of their size: (N, 1 or C, *axes) in [-1, 1], with axes
    of any length."""

    def __init__(self, options: OptionsT):
        self.options = options


def node(function: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a method as a node: its name is what others ask for, its argument names are what it needs itself.

    It returns a value; or a `Call`, whose result is the value; or it is a generator function, which takes several
    passes in a row: `y = yield Call("generator", x)`, and at last returns the value. One whose value may be None says
    so by its return type, `Tensor | None`. The first paragraph of its docstring says what the value is, a tensor's with
    its shape: `(N, C, *space)`.
    """
    function.is_node = True  # type: ignore[attr-defined]
    return function


class Augmentation(Configurable[OptionsT]):
    """An augmentation of discriminator inputs, real and fake alike (Zhao et al., 2020); differentiable."""

    geometric: ClassVar[bool] = False
    """True where it moves content: then `given`, what a discriminator sees beside a sample, is moved alike."""

    def __init__(self, options: OptionsT, spec: NetworkSpec):
        self.options = options

    def __call__(self, x: Tensor, rng: SampleRng, clock: Clock) -> Tensor:
        """Return x (N, C, *space), in [-1, 1], changed at random, each sample by itself; equal rng, equal changes."""
        raise NotImplementedError


@dataclass(frozen=True)
class ImportedGenerator:
    """A generator that another program has saved, in terms of a plugin."""

    name: str
    """The generator plugin that computes the same: `resnet`."""
    options: Mapping[str, Any]
    """The plugin's options, as far as weights show them."""
    state: Mapping[str, Tensor]
    """What the plugin's `load_state_dict` takes."""
    inputs: int
    """Input channels."""
    channels: int
    """Output channels."""


class Metric(Configurable[OptionsT]):
    """A figure of how good translations are.

    Define `update(translation, ...)`: it takes a batch of one translation. Its arguments are names of nodes and batch
    inputs, and names that only metrics can ask for: `transgan plugins --names` lists them all.
    """

    direction: ClassVar[Mapping[str, str]] = {}
    """For each figure `"lower"` or `"higher"`: which is better."""
    measures: ClassVar[tuple[str, int] | None] = None
    """What it is for, where that is not samples of any kind: their name in the plural, and their number of axes *space.
    A recipe whose media has others is refused, rather than the metric failing after the training."""
    unused_inputs: Collection[str] = ()
    """Arguments of `update` that these options do not need: they keep their defaults, and are not computed."""
    update: Callable[..., None]

    def __init__(self, options: OptionsT):
        self.options = options

    def check_domains(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]]) -> None:
        """Refuse domains that it cannot measure, such as samples without a label, before anything is trained.

        Called by `transgan check`, before the training, and before `prepare`. It should read no files: what `elsewhere`
        returns here has all samples that the source finds there, none of them held out, and not the batches.

        Args:
            domains, tasks: as `prepare` gets them.

        Raises:
            UsageError: the options do not fit the domains.
            DataError: samples that the options ask for are not there.
        """

    def prepare(self, domains: Mapping[str, Domain], tasks: Mapping[str, Sequence[str]], seed: int) -> None:
        """Fit classifiers and reference statistics to the real domains. Called once, before the first update.

        Args:
            domains: every domain, by name.
            tasks: the domains of each task.
        """

    def reset(self) -> None:
        """Forget the updates; keep what `prepare` has fitted. Called before the first update of an evaluation."""
        raise NotImplementedError

    def compute(self) -> dict[Translation, dict[str, float]]:
        """Return the figures by translation and name."""
        raise NotImplementedError

    def warnings(self) -> Sequence[str]:
        """Return what whoever reads the last figures should know, a sentence each.

        Such as that there were too few samples, or which figures are missing and why.
        """
        return ()

    def protocol(self) -> Mapping[str, str]:
        """For figures with several definitions, return by name which one this is, in words."""
        return {}


@dataclass(frozen=True)
class RunInfo:
    """A run, as hooks see it: to read, and to ask for its end."""

    name: str
    """The recipe's name."""
    folder: Path
    """The run folder."""
    step: int
    """Completed steps."""
    steps: int
    """Steps of the whole run."""
    losses: Mapping[str, Tensor]
    """The newest step's losses, unweighted, by `<translation>/loss_G/<loss>` and `<translation>/loss_D/<loss>`.

    Scalars that are still on the device: read them only where they are shown.
    """
    figures: Mapping[str, Mapping[str, float]]
    """The newest evaluation's figures, by translation and name; empty before the first one."""
    request_stop: Callable[[str], None]
    """`request_stop(reason)` ends the run after the current step as if it were the last: with checkpoint and model."""


class Hooks(Configurable[OptionsT]):
    """What runs at moments of a run whose recipe names it, `[hooks.NAME]`: define any of the methods below.

    They are called on the run's main process. An error is reported and costs the run nothing else: no further method of
    these hooks is called in this run. A resumed run begins with a new object, before `run_started`.
    """

    def __init__(self, options: OptionsT):
        self.options = options

    def run_started(self, run: RunInfo) -> None:
        """The plan is checked and the folder exists; the next step is the first one of this process."""

    def step_finished(self, run: RunInfo) -> None:
        """A step is done; `run.step` counts it, `run.losses` has its losses."""

    def samples_saved(self, run: RunInfo, path: Path) -> None:
        """A preview of held-out samples was written to `path`."""

    def evaluated(self, run: RunInfo) -> None:
        """Held-out samples were measured; `run.figures` has the result."""

    def checkpoint_saved(self, run: RunInfo, path: Path) -> None:
        """A checkpoint is complete on disk, in the folder `path`."""

    def run_finished(self, run: RunInfo, outcome: str) -> None:
        """The run has ended: `"finished"`, `"stopped"` (by hooks, `transgan finish`), `"interrupted"` or `"failed"`."""


#: The methods of hooks, in the order in which a run first calls them.
MOMENTS = ("run_started", "step_finished", "samples_saved", "evaluated", "checkpoint_saved", "run_finished")
