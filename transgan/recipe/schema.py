"""The tables of a recipe as typed, immutable models. They know no plugin."""

from fnmatch import fnmatch
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field, PositiveInt, model_validator

from transgan.options import Size
from transgan.recipe.slots import DiscriminatorSlot, LossSlot, NetworkSlot, Section, Slot
from transgan.recipe.upgrade import EXPECTED_VERSION
from transgan.schedule import Schedule, constant
from transgan.text import listed

Side = Literal["generator", "discriminator"]
Action = Literal["off", "warn", "stop", "rollback", "fallback"]
Fault = Literal["not_finite", "collapse", "copying", "discriminator_wins", "discriminator_blind", "hiding", "exploding"]

#: Names that an attribute cannot have, since networks have other arguments of these names.
_RESERVED = {"task", "domain", "style", "kept", "real", "x", "self"}


#: Bounds on what a step may hold, and on what a checkpoint's name may count.
MAX_BATCH, MAX_SIZE, MAX_STEPS = 65_536, 65_536, 99_999_999
#: Bounds on translations: on those that every step trains, and on all directions of all tasks, which are evaluated.
MAX_TRANSLATIONS, MAX_DIRECTIONS = 1_000, 20_000
#: Bound on the entries of any table.
MAX_ENTRIES = 1_000


def _at_most(limit: int) -> AfterValidator:
    """Return a check against a bound that only a mistake or an attack exceeds, so that help need not name it."""

    def check(number: int) -> int:
        if number > limit:
            raise ValueError(f"found {number}, expected at most {limit:,}")
        return number

    return AfterValidator(check)


Count = Annotated[PositiveInt, _at_most(MAX_BATCH)]
Steps = Annotated[PositiveInt, _at_most(MAX_STEPS)]
Axis = Annotated[PositiveInt, _at_most(MAX_SIZE)]
SampleSize = Annotated[
    Axis | Annotated[list[Axis], Field(min_length=2, max_length=3)],
    Field(json_schema_extra={"expected": "a whole number of at least 1, or [height, width]"}),
]


def as_size(size: int | list[int]) -> Size:
    """Return a recipe's size as media take it."""
    return tuple(size) if isinstance(size, list) else size


def smaller_size(size: int | list[int], limit: int | list[int]) -> Size:
    """Return a size, where it exceeds a limit the limit, axis by axis."""
    if isinstance(size, int) and isinstance(limit, int):
        return min(size, limit)
    axes = len(limit) if isinstance(limit, list) else len(size) if isinstance(size, list) else 1
    sizes, limits = ([each] * axes if isinstance(each, int) else each for each in (size, limit))
    return tuple(min(a, b) for a, b in zip(sizes, limits, strict=True))


class Data(Section):
    """The source of the samples, and how they become tensors."""

    source: Slot
    """The source of the samples."""
    default: Slot | None = None
    """The source to use instead where `root` is not set."""
    root: str | None = None
    """The data folder, relative to the working directory."""
    media: Slot = Slot(use="image")
    """How files are decoded and written."""
    size: SampleSize = 256
    """Size of a training sample; the media defines its unit."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """Fraction of the samples that is held out of training, selected by a hash of their names."""
    balance: list[str] = []
    """Labels with categories, such as `["gender"]`: training samples of each domain are drawn so that every value of
    each of these labels is equally likely in it. Pairs are drawn as they are."""
    cache: bool = True
    """Cache decoded samples in a memory-mapped file."""


class Attribute(Section):
    """A label of the samples that networks are conditioned on.

    A number is scaled to [-1, 1] from its range, `height = { from = 150, to = 200 }`. A string is one-hot encoded by
    its values, `mood = { values = ["calm", "glad"] }`.
    """

    model_config = ConfigDict(json_schema_extra={"expected": "a table with from and to, or with values"})

    low: float | None = Field(None, alias="from")
    """The minimum of the label, encoded as -1. A sample below it is an error."""
    high: float | None = Field(None, alias="to")
    """The maximum of the label, encoded as 1. A sample above it is an error."""
    values: list[str] | None = Field(None, min_length=2)
    """The values of a label that is a string."""

    @model_validator(mode="after")
    def _check_form(self) -> "Attribute":
        ranged = self.low is not None and self.high is not None
        if (self.values is None) == (not ranged) or (self.values and (self.low, self.high) != (None, None)):
            raise ValueError('expected either from = 150 and to = 200, or values = ["calm", "glad"]')
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"from = {self.low:g} must be below to = {self.high:g}")
        if self.values and len(set(self.values)) != len(self.values):
            raise ValueError(f"the values {', '.join(self.values)} must differ")
        return self

    @property
    def numbers(self) -> int:
        """Length of the vector that encodes the label."""
        return len(self.values) if self.values else 1


def _check_attribute_names(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    if taken := sorted(_RESERVED & attributes.keys()):
        raise ValueError(f"'{taken[0]}' is the name of another argument of networks; rename the label")
    return attributes


class SomePairs(Section):
    """Pairs among unpaired samples."""

    share: float = Field(1.0, gt=0, le=1)
    """Fraction of the training pairs that are trained on as pairs, selected by a hash of their names."""


class Task(Section):
    """The domains between which samples are translated."""

    between: list[str] | None = Field(None, min_length=2)
    """Two or more domains; samples of each are translated into every other."""
    source: str | None = Field(None, alias="from")
    """The source domain of a task with one direction."""
    target: str | None = Field(None, alias="to")
    """The target domain of a task with one direction."""
    paired: bool | Literal["held_out", "some"] | SomePairs = Field(
        False, json_schema_extra={"expected": "true or false, 'held_out', 'some' or { share = 0.05 }"}
    )
    """Samples with the same name are true translations of each other. `true` trains on pairs; `"held_out"` trains on
    unpaired samples, and uses pairs only to evaluate held-out samples; `"some"` trains on unpaired samples, and besides
    on a batch of the pairs that there are, with `{ share = 0.05 }` on a fraction of them."""
    targets: Literal["all", "random"] = "all"
    """With more than two domains: `"all"` trains every translation on a batch of its own in each step, `"random"` takes
    one batch with a random target domain for each sample."""
    weight: Schedule = constant(1.0)
    """Factor of all losses of the task, a number or a schedule."""

    @model_validator(mode="after")
    def _check_form(self) -> "Task":
        one_way = self.source is not None and self.target is not None
        if (self.between is None) == (not one_way) or (self.between and (self.source or self.target)):
            raise ValueError('expected either between = ["a", "b"], or from = "a" and to = "b"')
        if len(set(self.domains)) != len(self.domains):
            raise ValueError(f"the domains {', '.join(self.domains)} must differ")
        if self.targets == "random" and self.trains_pairs:
            raise ValueError('with targets = "random" no pairs are trained on; set targets = "all", or remove paired')
        return self

    @property
    def trains_pairs(self) -> bool:
        """Whether the task is trained on pairs: on nothing else, or on some besides."""
        return self.paired not in (False, "held_out")

    @property
    def share_of_pairs(self) -> float | None:
        """The fraction of the pairs that are trained on beside unpaired samples; None for other tasks."""
        return 1.0 if self.paired == "some" else getattr(self.paired, "share", None)

    @property
    def domains(self) -> list[str]:
        """The task's domains."""
        return self.between or [str(self.source), str(self.target)]

    @property
    def both_ways(self) -> bool:
        """Whether samples of every domain of the task are translated."""
        return self.between is not None


def _check_directions(tasks: dict[str, Task]) -> dict[str, Task]:
    """Check that there are not more translations than can be trained or measured."""
    together = every = 0
    for name, task in tasks.items():
        count = len(task.domains)
        directions = count * (count - 1) if task.both_ways else 1
        together += 1 if task.targets == "random" else directions
        every += directions
        what = f"'{name}' has {count:,} domains, hence {directions:,} translations"
        if together > MAX_TRANSLATIONS:
            raise ValueError(
                f'{what}; at most {MAX_TRANSLATIONS:,} are trained together. Use fewer domains, or targets = "random"'
            )
        if every > MAX_DIRECTIONS:
            raise ValueError(f"{what}; at most {MAX_DIRECTIONS:,} of all tasks are possible. Use fewer domains")
    return tasks


class Input(Section):
    """A further file of each sample, such as a mask or an instance map: the one with the sample's name.

    It is decoded and augmented as the sample is. Nodes, losses and metrics get it by the argument names `source_NAME`
    and `target_NAME`.
    """

    domains: dict[str, Any] = Field(min_length=1)
    """For each domain that has it the files, in the form of `[domains]`: `{ horse = "horse_masks" }`."""
    media: str | dict[str, Any] = {}
    """How the files are decoded: a media, or options that differ from those of the domain's:
    `{ channels = 1, labels = true }`."""


def _check_inputs(inputs: dict[str, Input]) -> dict[str, Input]:
    for name in inputs:
        if not name.isidentifier() or name.startswith("_") or name in ("domain", "attributes"):
            raise ValueError(f"'{name}' cannot be part of an argument's name; rename the input, such as 'mask'")
    return inputs


def _check_decay(schedule: Schedule) -> Schedule:
    if not all(0 <= number < 1 for number in schedule.numbers):
        raise ValueError("expected numbers from 0 to below 1")
    return schedule


class Train(Section):
    """Length of the run, batches, precision, and what is saved when."""

    steps: Steps
    """Training steps of the run, over all stages. A step makes one optimizer step for each phase that is due."""
    batch: Count = 1
    """Batch size: samples of a domain in a step, over all processes."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of every random number of the run."""
    init_from: str | None = None
    """Start from the weights of this model, run or checkpoint, a folder, instead of new ones, as far as its networks
    and their domains and tasks are those of this recipe: see [](../howto/transfer.md). Optimizers, steps and statistics
    of the data begin anew."""
    freeze: list[str] = []
    """What is not trained, by patterns: of networks, `"style_encoder"`, or of a network and its parameters,
    `"patch*|scales.0.layers.0*"`."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Precision of the networks' forward and backward passes; weights are always fp32. `"fp16"` scales the losses, by a
    factor that follows the gradients; it is for GPUs that have no bf16."""
    tf32: bool = False
    """Whether an NVIDIA GPU may round the factors of fp32 products to 10 bits (TF32), which is faster. A phase with a
    loss that runs discriminators in fp32, such as a gradient penalty, does not."""
    compile: bool = False
    """Whether networks are compiled by torch.compile: minutes once, then faster steps on a GPU."""
    checkpointing: list[str] = []
    """Networks, by name or pattern such as `"*"`, that keep no activations: these are computed again in the backward
    pass (gradient checkpointing). Takes less memory and about a third more time; results are the same. A pattern leaves
    out networks with running statistics (batch norm), which a second pass would change again."""
    accumulate: Count = 1
    """Number of micro-batches into which a batch is divided, to save memory (gradient accumulation)."""
    clip: Schedule = constant(0.0)
    """Maximum norm of each network's gradient, a number or a schedule; 0 for no limit."""
    ema: Annotated[Schedule, AfterValidator(_check_decay)] = constant(0.0)
    """Decay per step of the exponential moving average of the generators' weights, which the model uses; below 1, a
    number or a schedule; 0 for no average."""
    balance: Literal["all", "auto"] | dict[str, Schedule] = "all"
    """The tasks of a step: `"all"`; or a single one, chosen at random with fixed weights such as `{ age = 2, race = 1
    }`, each a number or a schedule; or, with `"auto"`, a single one, with larger weights for tasks that lag behind. A
    step with a single task is cheaper."""
    merge: Literal["auto", "always", "never"] = "auto"
    """Whether calls of one network are merged into one pass. The result is the same; `"auto"` merges where it is
    faster."""
    log_every: PositiveInt = 10
    """Steps between lines of metrics.jsonl."""
    sample_every: int = Field(0, ge=0)
    """Steps between previews in samples/; 0 for a tenth of the run."""
    checkpoint_every: int = Field(0, ge=0)
    """Steps between checkpoints; 0 for a tenth of the run, but at most 2000."""
    keep: PositiveInt = 3
    """Number of newest checkpoints to keep."""

    def logs(self, step: int) -> bool:
        """Return whether a line of metrics.jsonl is written after a step, counted from 1."""
        return step % self.log_every == 0 or step in (1, self.steps)


class Optimizer(Section):
    """The optimizer of one side's networks."""

    use: Literal["adam", "adamw"] = "adam"
    lr: Schedule = constant(2e-4)
    """Learning rate, a number or a schedule."""
    betas: list[Schedule] = Field([constant(0.5), constant(0.999)], min_length=2, max_length=2)
    """Decay of Adam's averages of gradients and of their squares, each a number or a schedule."""
    weight_decay: float = Field(0.0, ge=0)


class OptimizerChanges(Section):
    """What differs from another optimizer; the rest is as it is there."""

    lr: Schedule | None = None
    """Learning rate, a number or a schedule."""
    betas: list[Schedule] | None = Field(None, min_length=2, max_length=2)
    weight_decay: float | None = Field(None, ge=0)

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that are given."""
        return {name: value for name in OptimizerChanges.model_fields if (value := getattr(self, name)) is not None}


class NamedOptimizer(OptimizerChanges):
    """The optimizer of some networks: what differs from that of their side."""

    networks: list[str] = Field(min_length=1)
    """The networks, by patterns of their names: `["mapping*"]`."""


class Optimizers(Section):
    """The optimizers of both sides; and others by names of your own, for some networks: `[optimizers.mapping]`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, NamedOptimizer] = Field(init=False)

    generator: Optimizer = Optimizer()
    """For generators, encoders, and the networks of losses."""
    discriminator: Optimizer = Optimizer()
    """For discriminators."""

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, table: Any) -> Any:
        """Take a table without networks for a misspelt side."""
        named = table if isinstance(table, dict) else {}
        own = {name: each for name, each in named.items() if name not in cls.model_fields and isinstance(each, dict)}
        if unknown := [name for name, each in own.items() if "networks" not in each]:
            known = listed([*cls.model_fields, *(name for name in own if name not in unknown)])
            raise ValueError(f"no optimizer '{unknown[0]}', only {known}; set networks = [...] for one of your own")
        return table

    @property
    def named(self) -> dict[str, NamedOptimizer]:
        """The optimizers for some networks; of several that name a network the first is its."""
        return self.model_extra or {}

    def of(self, network: str, side: str) -> tuple[str, Optimizer]:
        """Return the name and the settings of the optimizer of a network of a side."""
        options: Optimizer = getattr(self, side)
        for name, each in self.named.items():
            if any(fnmatch(network, pattern) for pattern in each.networks):
                return name, options.model_copy(update=each.changes)
        return side, options


class StageOptimizers(Section):
    """What a stage changes of the optimizers."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, OptimizerChanges] = Field(init=False)

    generator: OptimizerChanges = OptimizerChanges()
    discriminator: OptimizerChanges = OptimizerChanges()

    def applied_to(self, optimizers: Optimizers) -> Optimizers:
        """Return the optimizers of the stage."""
        own = {"generator": self.generator, "discriminator": self.discriminator, **(self.model_extra or {})}
        before = {name: getattr(optimizers, name) for name in ("generator", "discriminator")} | optimizers.named
        after = {name: each.model_copy(update=own[name].changes) for name, each in before.items() if name in own}
        return Optimizers(**{**before, **after})


class Phase(Section):
    """One optimizer step of one side."""

    side: Side
    trains: list[str] | None = None
    """Networks to train; defaults to all networks of the side."""
    losses: list[str] = ["*"]
    """Losses of the phase's objective."""
    translations: list[str] = ["*"]
    """Translations of the phase's objective."""
    every: PositiveInt = 1
    """Run the phase in every Nth step only."""
    recompute: bool = False
    """Compute all nodes again with the networks as they are now, instead of using those of the step's first phase."""


class Stage(Section):
    """A part of the run with settings of its own. Weights are carried over from one stage to the next."""

    share: float = Field(gt=0, le=1)
    """Fraction of `train.steps`."""
    most: PositiveInt | None = None
    """Steps of this stage, at most: the next one has what its share is more, so that a warm-up grows no longer with the
    run. Of the last stage it has no effect."""
    size: SampleSize | None = None
    """Replaces `data.size` in this stage if it is smaller."""
    batch: Count | None = None
    """Replaces `train.batch` in this stage."""
    losses: dict[str, Schedule] = {}
    """Replaces the weights of losses in this stage; 0 disables a loss."""
    phases: list[Phase] | None = None
    """Replaces `[[phases]]` in this stage: which networks it trains, by which losses."""
    freeze: list[str] = []
    """What this stage does not train, beside `train.freeze`, in the same form."""
    conditions: dict[str, bool | int | float | str] = {}
    """Conditions of networks in this stage, by the names of their arguments: `{ enhancers = 0 }`. Arguments that it
    does not name have their defaults. A model, and what is measured during the run, has those of the last trained
    step."""
    optimizers: StageOptimizers = StageOptimizers()
    """What differs from `[optimizers]` in this stage; everything else stays."""


class Fallback(Section):
    """The objective of the guardian's `fallback`: WGAN-GP (Gulrajani et al., 2017), in the proportions of StarGAN."""

    model_config = ConfigDict(json_schema_extra={"expected": "a table"})

    adversarial: str = "wasserstein"
    """The loss that replaces adversarial losses with a decision logit, such as `lsgan`, `vanilla` and `hinge`."""
    weight: Schedule = constant(1.0)
    """Weight of that loss, a number or a schedule."""
    penalty: Slot = Slot(use="gradient_penalty", options={"slope": 0.25})
    """The loss that replaces all gradient penalties, a name or a table with its options. The default bounds the slope
    of the mean logit as StarGAN does: a slope of 1 would outweigh a cycle loss many times over."""
    penalty_weight: Schedule = constant(10.0)
    """Weight of that penalty, a number or a schedule."""
    critic_steps: Count = 5
    """Optimizer steps of the critics for each one of the generators."""
    lr: Schedule = constant(1e-4)
    """Learning rate of both sides, a number or a schedule."""


class Guard(Section):
    """How the guardian reacts to faults of the run; [](../explanation/guardian.md) says how each is detected."""

    action: Action = "warn"
    """`off` ignores faults; `warn` reports them; `stop` ends the run; `rollback` restores the last good checkpoint and
    lowers the learning rates; `fallback` restores it and continues with another objective, `[guard.fallback]`."""
    actions: dict[Fault, Action] = {}
    """Other actions for single faults: `{ copying = "off", not_finite = "rollback" }`."""
    skip: int = Field(10, ge=0)
    """Number of skipped steps (with NaN or infinity) to tolerate among the last 1000. Beyond it the run stops, unless
    the action for `not_finite` is `rollback` or `fallback`."""
    patience: PositiveInt = 20
    """Number of consecutive checks, one every `train.log_every` steps, that must find a fault before the action is
    taken; a quarter of it for `exploding`."""
    warmup: int = Field(500, ge=0)
    """Steps after the start, and after each rollback, in which only `not_finite` is acted on."""
    check_every: int = Field(0, ge=0)
    """Steps between checks of held-out samples, of which three in a row must find a fault; 0 for a fiftieth of the run,
    but at least 100."""
    collapse: float = Field(0.3, gt=0)
    """Fault below this value: spread of the outputs, as a fraction of the spread of real samples of the target."""
    copying: float = Field(0.01, gt=0)
    """Fault below this value: change of the input by the generator, as a fraction of the distance between samples of
    the two domains."""
    discriminator_wins: float = Field(0.98, gt=0.5, le=1)
    """Fault above this value: how often a real sample's logit is above a fake's, where the discriminator's loss is also
    close to 0."""
    discriminator_blind: float = Field(0.6, ge=0.5, lt=1)
    """Fault below this value, until it was once clearly above chance: how often the discriminator ranks a real held-out
    sample above a translation (the area under the ROC curve). A checkpoint to go back to would be no better: `rollback`
    only reports it."""
    hiding: float = Field(3.0, gt=1)
    """Fault above this value: error of the reconstruction from a translation with slight noise, rounded to 8 bits,
    divided by the error from the translation itself."""
    exploding: float = Field(100.0, gt=1)
    """Fault above this value: norm of a network's gradient, divided by its median."""
    lr_factor: float = Field(0.5, gt=0, le=1)
    """Factor of the learning rates at each rollback."""
    rollbacks: int = Field(3, ge=0)
    """Number of rollbacks after which the next one stops the run instead."""
    fallback: Fallback = Fallback()

    def action_on(self, fault: Fault) -> Action:
        """Return the action for a fault."""
        return self.actions.get(fault, self.action)

    @property
    def possible_actions(self) -> set[Action]:
        """The actions that any fault can cause."""
        return {self.action_on(fault) for fault in get_args(Fault)}


class Evaluate(Section):
    """When the metrics of [metrics] are computed, and on how many samples."""

    every: int = Field(0, ge=0)
    """Steps between evaluations; 0 for a single one at the end."""
    keep_best: str = ""
    """A figure of [metrics]: keep the weights with the best mean of it over translations, among those evaluated. Then
    evaluations before the end compute only the metric of this figure, and networks that are initialised from data or
    by `train.init_from` are also evaluated before the first step. Of stages those count whose `conditions` are those of
    the last. By default the last weights are kept."""
    samples: PositiveInt = 256
    """Maximum number of held-out samples of each domain."""
    batch: Count = 32
    """Batch size of evaluations."""


class Recipe(Section):
    """A whole recipe."""

    version: Literal[2] = Field(2, json_schema_extra={"expected": EXPECTED_VERSION})
    """Version of the format."""
    extends: str | None = None
    """Another recipe, relative to this file, whose values are those of this recipe where it has none."""
    name: str = Field(
        "run",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        json_schema_extra={"expected": "a string of letters, digits, '.', '_' and '-', 64 at most"},
    )
    """Prefix of the names of run folders; defaults to the name of the file."""
    data: Data
    domains: dict[str, Any] = Field(min_length=1)
    """The selection of each domain's samples, in a form that the source defines: a folder, a glob, or labels."""
    tasks: Annotated[dict[str, Task], AfterValidator(_check_directions)] = Field(min_length=1)
    inputs: Annotated[dict[str, Input], AfterValidator(_check_inputs)] = {}
    """Further files of the samples."""
    attributes: Annotated[dict[str, Attribute], AfterValidator(_check_attribute_names)] = {}
    """Labels that networks are conditioned on, besides tasks and domains."""
    train: Train
    optimizers: Optimizers = Optimizers()
    nodes: Slot = Slot(use="translation")
    conditionings: dict[str, Slot] = {}
    augmentations: dict[str, Slot] = {}
    generators: dict[str, NetworkSlot]
    encoders: dict[str, NetworkSlot] = {}
    discriminators: dict[str, DiscriminatorSlot] = {}
    losses: dict[str, LossSlot]
    phases: list[Phase] = [Phase(side="generator"), Phase(side="discriminator")]
    stages: list[Stage] = []
    guard: Guard = Guard()
    evaluate: Evaluate = Evaluate()
    metrics: dict[str, Slot] = {}
    hooks: dict[str, Slot] = {}
    """What runs at moments of the run, beside it: early stopping, trackers, copies of checkpoints."""

    @model_validator(mode="before")
    @classmethod
    def _check_entries(cls, table: Any) -> Any:
        """Check the number of entries of each table before each of them is checked."""
        for name, value in table.items() if isinstance(table, dict) else ():
            if isinstance(value, (dict, list)) and len(value) > MAX_ENTRIES:
                raise ValueError(f"[{name}] has {len(value):,} entries; at most {MAX_ENTRIES:,} are possible")
        return table
