"""A recipe as written, typed: the grammar of its tables. Knows no plugin; what is said to one is in `Slot.options`."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, model_validator

from transgan.api.schedule import Schedule, constant

Side = Literal["generator", "discriminator"]
Per = Literal["run", "task", "domain", "direction", "translation"]


class Section(BaseModel):
    """Base of the recipe's own tables: strict, frozen, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Slot(Section):
    """A named place in the recipe, and the plugin that fills it. Every key that is not the grammar's is an option."""

    model_config = ConfigDict(json_schema_extra={"expected": "true, the name of a plugin, or a table"})

    use: str
    """Name of the plugin; the slot's own name where left out."""
    options: dict[str, Any] = {}


class NetworkSlot(Slot):
    """A generator or an encoder."""

    per: Per = "run"
    """How many copies there are: one a run, a task, a domain, a direction (shared by all tasks), a translation."""
    translations: list[str] = ["*"]
    """The translations that it serves: `"age"`, `"* -> old"`, `"young -> old"`."""
    conditionings: list[str] | None = None
    """The conditionings that tell it; all for generators, none for other networks, where left out."""


class DiscriminatorSlot(NetworkSlot):
    """A discriminator, and what it is shown."""

    per: Per = "domain"
    real: str = "target"
    """The node that is real."""
    fake: str = "fake"
    """The node that is judged."""
    given: str | None = None
    """A node that it sees beside either, along the channels (pix2pix: `"source"`)."""
    history: int = Field(0, ge=0)
    """Older fakes that are remembered and shown in half of the cases (Shrivastava et al., 2017); 0 for none."""


class LossSlot(Slot):
    """A loss and its weight."""

    model_config = ConfigDict(json_schema_extra={"expected": "a weight, a schedule or a table"})

    weight: Schedule = constant(1.0)
    """Factor of the term, absolute; a number or a schedule."""
    translations: list[str] = ["*"]


class Data(Section):
    """Where samples come from."""

    source: Slot
    """The source of samples; for a plugin without options its name is enough."""
    default: Slot | None = None
    """The source used where no `root` is given."""
    root: str | None = None
    """The folder with the data; relative to where the command is run."""
    media: Slot = Slot(use="image")
    """How files become tensors."""
    size: PositiveInt = 256
    """Side of a training picture in pixels, or frames of a training crop."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the samples kept from training, chosen by a hash of their names."""
    cache: bool = True
    """Keep decoded samples in a file that is mapped into memory."""


class Task(Section):
    """Which domains are translated into which."""

    between: list[str] | None = Field(None, min_length=2)
    """Two or more domains, every one into every other."""
    source: str | None = Field(None, alias="from")
    """One way only: the domain translated ..."""
    target: str | None = Field(None, alias="to")
    """... and the domain that it becomes."""
    paired: bool = False
    """Samples of the same name belong together."""
    targets: Literal["all", "random"] = "all"
    """With more than two domains: each translation a batch of its own, or one batch with targets drawn by chance."""
    weight: Schedule = constant(1.0)
    """Factor of all the task's losses; a number or a schedule."""

    @model_validator(mode="after")
    def _one_form(self) -> "Task":
        one_way = self.source is not None and self.target is not None
        if (self.between is None) == (not one_way) or (self.between and (self.source or self.target)):
            raise ValueError('expected either between = ["a", "b"], or from = "a" and to = "b"')
        if len(set(self.domains)) != len(self.domains):
            raise ValueError(f"the domains {', '.join(self.domains)} must differ")
        return self

    @property
    def domains(self) -> list[str]:
        return self.between or [str(self.source), str(self.target)]

    @property
    def both_ways(self) -> bool:
        return self.between is not None


def _decay(schedule: Schedule) -> Schedule:
    if not all(0 <= number < 1 for number in (schedule.start, schedule.to or 0.0, *schedule.values)):
        raise ValueError("expected numbers from 0 to below 1")
    return schedule


class Train(Section):
    """How long, how much at once, and how exactly."""

    steps: PositiveInt
    """Steps of the run, all stages together; in one step every phase that is due moves its networks once."""
    batch: PositiveInt = 1
    """Samples of a domain in a step, over all processes."""
    seed: int = Field(0, ge=0, lt=2**63)
    """From which every random number follows."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the networks' passes; weights stay fp32."""
    accumulate: PositiveInt = 1
    """Parts in which a batch is taken, one after the other, to save memory."""
    clip: Schedule = constant(0.0)
    """Largest norm of a network's gradient, a number or a schedule; 0 for no limit."""
    ema: Annotated[Schedule, AfterValidator(_decay)] = constant(0.0)
    """Decay a step of the moving average of the generators' weights, which is what translates; below 1, a number or a
    schedule; 0 for none."""
    merge: Literal["auto", "always", "never"] = "auto"
    """Whether calls of one network become one pass. The result is the same; `auto` merges where it is faster."""
    log_every: PositiveInt = 10
    """Steps between two lines of metrics.jsonl."""
    sample_every: int = Field(0, ge=0)
    """Steps between two pictures in samples/; 0 for a tenth of the run."""
    checkpoint_every: int = Field(0, ge=0)
    """Steps between two checkpoints; 0 for a tenth of the run, and never less than every 2000."""
    keep: PositiveInt = 3
    """Checkpoints kept."""


class Optimizer(Section):
    """How one side's networks are moved."""

    use: Literal["adam", "adamw"] = "adam"
    lr: Schedule = constant(2e-4)
    """Learning rate, a number or a schedule."""
    betas: list[float] = Field([0.5, 0.999], min_length=2, max_length=2)
    weight_decay: float = Field(0.0, ge=0)


class Optimizers(Section):
    generator: Optimizer = Optimizer()
    """Moves generators, encoders, and the networks of losses."""
    discriminator: Optimizer = Optimizer()


class Phase(Section):
    """One optimisation step of one side."""

    side: Side
    trains: list[str] | None = None
    """Networks that it moves; all of its side where left out."""
    losses: list[str] = ["*"]
    translations: list[str] = ["*"]
    every: PositiveInt = 1
    """Played in every so manieth step."""
    recompute: bool = False
    """Make all nodes anew, with the networks as they are now, instead of sharing the step's."""


class Stage(Section):
    """A stretch of the run that differs from the rest. Weights are carried over from one to the next."""

    share: float = Field(gt=0, le=1)
    """Part of train.steps."""
    size: PositiveInt | None = None
    """data.size for this stage, if that is not smaller already."""
    batch: PositiveInt | None = None
    """train.batch for this stage."""
    losses: dict[str, Schedule] = {}
    """Weights that differ; 0 switches a loss off."""
    optimizers: Optimizers | None = None


class Evaluate(Section):
    """When and on how much the metrics are measured; which ones stands in [metrics]."""

    every: int = Field(0, ge=0)
    """Steps between two evaluations; 0 for the end only."""
    samples: PositiveInt = 256
    """Held-out samples of a domain, at most."""
    batch: PositiveInt = 32


class Recipe(Section):
    """A whole recipe."""

    version: Literal[1] = 1
    name: str = Field(
        "run",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        json_schema_extra={"expected": "a text of letters, digits, '.', '_' and '-', 64 at most"},
    )
    """What run folders are called after; the file's name where left out."""
    data: Data
    domains: dict[str, Any] = Field(min_length=1)
    """What belongs to a domain, in the words of the source: a folder, a glob, or a selection by attributes."""
    tasks: dict[str, Task] = Field(min_length=1)
    train: Train
    optimizers: Optimizers = Optimizers()
    nodes: Slot = Slot(use="translation")
    conditionings: dict[str, Slot] = {}
    generators: dict[str, NetworkSlot]
    encoders: dict[str, NetworkSlot] = {}
    discriminators: dict[str, DiscriminatorSlot] = {}
    losses: dict[str, LossSlot]
    phases: list[Phase] = [Phase(side="generator"), Phase(side="discriminator")]
    stages: list[Stage] = []
    evaluate: Evaluate = Evaluate()
    metrics: dict[str, Slot] = {}


#: Tables of slots, and the class of each.
SLOTS: dict[str, type[Slot]] = {
    "conditionings": Slot,
    "generators": NetworkSlot,
    "encoders": NetworkSlot,
    "discriminators": DiscriminatorSlot,
    "losses": LossSlot,
    "metrics": Slot,
}

__all__ = ["SLOTS", "Recipe", "Schedule", "Section", "Slot"]
