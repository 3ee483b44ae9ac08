"""What is translated: samples and their labels, tasks, and further files of the samples."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from transgan.recipe.schema.numbers import SampleSize
from transgan.recipe.slots import Section, SingleSlot, Slot
from transgan.schedule import NotNegative, constant

#: Bounds on translations: on those that every step trains, and on all directions of all tasks, which are evaluated.
MAX_TRANSLATIONS, MAX_DIRECTIONS = 1_000, 20_000
#: Names that an attribute cannot have, since networks have other arguments of these names.
RESERVED = {"task", "domain", "style", "kept", "real", "x", "self"}


class Data(Section):
    """The source of the samples, and how they become tensors."""

    source: SingleSlot
    """The source of the samples."""
    default: SingleSlot | None = None
    """The source to use instead where `root` is not set."""
    root: str | None = None
    """The data folder, relative to the working directory."""
    media: SingleSlot = Slot(use="image")
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
    """The values of a label that is a string. Of one that is a number, or true and false, they are written as strings:
    `["-1", "1"]`."""

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
    if taken := sorted(RESERVED & attributes.keys()):
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
    weight: NotNegative = constant(1.0)
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


#: The tables of these, with the checks of their names.
Attributes = Annotated[dict[str, Attribute], AfterValidator(_check_attribute_names)]
Tasks = Annotated[dict[str, Task], AfterValidator(_check_directions)]
Inputs = Annotated[dict[str, Input], AfterValidator(_check_inputs)]
