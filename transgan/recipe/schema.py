"""A recipe as written, typed: the grammar of its tables. Knows no plugin."""

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field, PositiveInt, model_validator

from transgan.api.schedule import Schedule, constant
from transgan.recipe.slots import DiscriminatorSlot, LossSlot, NetworkSlot, Section, Slot

Side = Literal["generator", "discriminator"]
Action = Literal["off", "warn", "stop", "rollback", "fallback"]
Fault = Literal["not_finite", "collapse", "copying", "discriminator_wins", "hiding", "exploding"]


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
    """Size of a training sample, in the unit of the media."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the samples kept from training, chosen by a hash of their names."""
    cache: bool = True
    """Keep decoded samples in a file that is mapped into memory."""


class Attribute(Section):
    """A label of the samples, by its name, that networks are told by numbers.

    Of a number, told as one from -1 to 1, it says the range: `height = { from = 150, to = 200 }`. Of a text it says the
    values, told by a number each, of which one is 1 and the others 0: `mood = { values = ["calm", "glad"] }`.
    """

    model_config = ConfigDict(json_schema_extra={"expected": "a table with from and to, or with values"})

    low: float | None = Field(None, alias="from")
    """What is told as -1; no sample may have less ..."""
    high: float | None = Field(None, alias="to")
    """... and what is told as 1; none may have more."""
    values: list[str] | None = Field(None, min_length=2)
    """The texts that the label can be, two or more."""

    @model_validator(mode="after")
    def _one_form(self) -> "Attribute":
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
        """How many numbers tell it."""
        return len(self.values) if self.values else 1


def _can_be_told(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    if taken := sorted({"task", "domain", "style", "x", "self"} & attributes.keys()):
        raise ValueError(f"networks are told something else by the name '{taken[0]}'; rename the label")
    return attributes


class Task(Section):
    """Which domains are translated into which."""

    between: list[str] | None = Field(None, min_length=2)
    """Two or more domains, every one into every other."""
    source: str | None = Field(None, alias="from")
    """One way only: the domain translated ..."""
    target: str | None = Field(None, alias="to")
    """... and the domain that it becomes."""
    paired: bool | Literal["held_out"] = False
    """Samples of the same name belong together: each is the other's true translation. With `"held_out"` only those that
    are held out; training takes samples as they come, and figures know the truth."""
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
    balance: Literal["all", "auto"] | dict[str, Schedule] = "all"
    """Which tasks a step plays: all; or one, so that the task that lags catches up (`auto`); or one, by fixed shares
    such as `{ age = 2, race = 1 }`, each a number or a schedule. A step of one task costs less."""
    merge: Literal["auto", "always", "never"] = "auto"
    """Whether calls of one network become one pass. The result is the same; `auto` merges where it is faster."""
    log_every: PositiveInt = 10
    """Steps between two lines of metrics.jsonl."""
    sample_every: int = Field(0, ge=0)
    """Steps between two sheets in samples/; 0 for a tenth of the run."""
    checkpoint_every: int = Field(0, ge=0)
    """Steps between two checkpoints; 0 for a tenth of the run, and never less than every 2000."""
    keep: PositiveInt = 3
    """Checkpoints kept."""

    def logs(self, step: int) -> bool:
        """Whether metrics.jsonl gets a line once so many steps are done."""
        return step % self.log_every == 0 or step in (1, self.steps)


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


class Fallback(Section):
    """The objective that takes the place of one that has failed: WGAN-GP (Gulrajani et al., 2017)."""

    model_config = ConfigDict(json_schema_extra={"expected": "a table"})

    adversarial: str = "wasserstein"
    """The loss that replaces the adversarial ones (`lsgan`, `vanilla`, `hinge`, and others with a boundary) ..."""
    weight: Schedule = constant(1.0)
    """... and its weight, a number or a schedule."""
    penalty: str = "gradient_penalty"
    """The loss that bounds the critics' slope, in place of any other that does ..."""
    penalty_weight: Schedule = constant(10.0)
    """... and its weight, a number or a schedule."""
    critic_steps: PositiveInt = 5
    """Steps of the critics for one of the generators."""
    lr: Schedule = constant(1e-4)
    """Learning rate of both sides from then on, a number or a schedule."""


class Guard(Section):
    """What is done about a run that goes wrong; [](../explanation/guardian.md) says how each fault is known."""

    action: Action = "warn"
    """`off`; `warn` tells; `stop` ends the run; `rollback` goes back to the last good checkpoint with lower learning
    rates; `fallback` goes on from there by another objective, `[guard.fallback]`."""
    actions: dict[Fault, Action] = {}
    """Actions for single faults, where they differ: `{ copying = "off", not_finite = "rollback" }`."""
    skip: int = Field(10, ge=0)
    """Steps with numbers that are not finite, of the newest 1000, that are skipped before anything is done. What has to
    be done then is at least to stop."""
    looks: PositiveInt = 20
    """Looks in a row, one every `train.log_every` steps, that find a fault before anything is done."""
    warmup: int = Field(500, ge=0)
    """Steps from the begin, or from when the run last went back, in which only numbers that are not finite count."""
    check_every: int = Field(0, ge=0)
    """Steps between two looks at held-out samples, of which three in a row count; 0 for a fiftieth of the run, and no
    less than 100."""
    collapse: float = Field(0.3, gt=0)
    """Outputs differ among each other by less than this share of what real samples of the target do."""
    copying: float = Field(0.01, gt=0)
    """The generator changes its input by less than this share of how samples of the two domains differ."""
    discriminator_wins: float = Field(0.98, gt=0.5, le=1)
    """Discriminators put more than this share of real samples above fakes, and have next to nothing to learn."""
    hiding: float = Field(3.0, gt=1)
    """The way back errs so many times as much once a translation was rounded to 8 bits with a little noise."""
    exploding: float = Field(100.0, gt=1)
    """The norm of a network's gradient is so many times its median."""
    lr_factor: float = Field(0.5, gt=0, le=1)
    """What learning rates are multiplied by at a rollback."""
    rollbacks: int = Field(3, ge=0)
    """Rollbacks in a run; what would be the next one stops it."""
    fallback: Fallback = Fallback()

    def action_on(self, fault: Fault) -> Action:
        """What to do about a fault."""
        return self.actions.get(fault, self.action)

    @property
    def wanted(self) -> set[Action]:
        """Every action that may be taken."""
        return {self.action_on(fault) for fault in get_args(Fault)}


class Evaluate(Section):
    """When and on how much the metrics are measured; which ones stands in [metrics]."""

    every: int = Field(0, ge=0)
    """Steps between two evaluations; 0 for the end only."""
    keep_best: str = ""
    """A figure of [metrics], by whose mean over translations the model is chosen among those measured; then evaluations
    before the end take only the metric that it is of. What networks take from the data before the first step is
    measured too, as step 0. Without it the last model is kept."""
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
    attributes: Annotated[dict[str, Attribute], AfterValidator(_can_be_told)] = {}
    """Labels that networks are told by numbers, besides tasks and domains."""
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
