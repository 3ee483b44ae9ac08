"""How a run trains: its length, optimizers, phases and stages."""

from fnmatch import fnmatch
from typing import Any, Literal

from pydantic import ConfigDict, Field, PositiveInt, model_validator

from transgan.recipe.schema.numbers import Count, SampleSize, Steps
from transgan.recipe.slots import Section
from transgan.schedule import Decay, NotNegative, Schedule, constant
from transgan.text import listed

Side = Literal["generator", "discriminator"]


class Train(Section):
    """Length of the run, batches, precision, and what is saved when."""

    steps: Steps
    """Training steps of the run, over all stages. A step makes one optimizer step for each phase that is due."""
    batch: Count = 1
    """Batch size: samples of a domain in a step, over all processes."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of every random number of the run."""
    init_from: str | None = Field(None, min_length=1)
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
    pass (gradient checkpointing). Takes less memory and about a third more time; results are the same."""
    accumulate: Count = 1
    """Number of micro-batches into which a batch is divided, to save memory (gradient accumulation)."""
    clip: NotNegative = constant(0.0)
    """Maximum norm of each network's gradient, a number or a schedule; 0 for no limit."""
    ema: Decay = constant(0.0)
    """Decay per step of the exponential moving average of the generators' weights, which the model uses; below 1, a
    number or a schedule; 0 for no average."""
    balance: Literal["all", "auto"] | dict[str, Schedule] = "all"
    """The tasks of a step: `"all"`; or a single one, in fixed shares such as `{ age = 2, race = 1 }`, each a number
    or a schedule; or, with `"auto"`, a single one, with larger weights for tasks that lag behind. A
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
    lr: NotNegative = constant(2e-4)
    """Learning rate, a number or a schedule."""
    betas: list[Decay] = Field([constant(0.5), constant(0.999)], min_length=2, max_length=2)
    """Decay of Adam's averages of gradients and of their squares, each a number or a schedule."""
    weight_decay: float = Field(0.0, ge=0)


class OptimizerChanges(Section):
    """What differs from another optimizer; the rest is as it is there."""

    lr: NotNegative | None = None
    """Learning rate, a number or a schedule."""
    betas: list[Decay] | None = Field(None, min_length=2, max_length=2)
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
    losses: dict[str, NotNegative] = {}
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
