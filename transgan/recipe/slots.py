"""The places in a recipe that plugins fill: what is said to a plugin is in `options`; and the base of every table."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from transgan.api.schedule import Schedule, constant

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


class Adapt(Section):
    """How often samples are augmented, learned from how well a discriminator knows the real ones (Karras et al., 2020).

    The share of samples that each augmentation changes starts at 0, and rises while the mean sign of the logits of real
    samples is above `target` (the discriminator has begun to know them by heart), and falls while it is below.
    """

    model_config = ConfigDict(json_schema_extra={"expected": "true or a table"})

    target: float = Field(0.6, gt=-1, lt=1)
    """The mean sign of the logits of real samples that is aimed at."""
    samples: PositiveInt = 500_000
    """Samples of a domain that go by while the share moves from 0 to 1."""
    most: float = Field(0.8, gt=0, le=1)
    """The largest share; with more, the changes begin to show in what is generated."""

    @model_validator(mode="before")
    @classmethod
    def _as_it_is(cls, given: Any) -> Any:
        return {} if given is True else given


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
    augment: list[str] = []
    """Augmentations of all that it is shown, in their order; `[augmentations]` has their options."""
    adapt: Adapt | None = None
    """How often it is augmented is learned, as this says; always, where left out."""


class LossSlot(Slot):
    """A loss and its weight."""

    model_config = ConfigDict(json_schema_extra={"expected": "a weight, a schedule or a table"})

    weight: Schedule = constant(1.0)
    """Factor of the term, absolute; a number or a schedule."""
    translations: list[str] = ["*"]


#: Tables of slots, and the class of each.
SLOTS: dict[str, type[Slot]] = {
    "conditionings": Slot,
    "augmentations": Slot,
    "generators": NetworkSlot,
    "encoders": NetworkSlot,
    "discriminators": DiscriminatorSlot,
    "losses": LossSlot,
    "metrics": Slot,
}
