"""Slots, the places in a recipe that plugins fill, and the base class of all its tables."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from transgan.schedule import NotNegative, constant

Per = Literal["run", "task", "domain", "direction", "translation"]


class Section(BaseModel):
    """Base class of the recipe's tables: immutable; unknown keys and wrong types are errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Slot(Section):
    """A named place in the recipe that a plugin fills. Keys that are not listed here are options of the plugin."""

    model_config = ConfigDict(json_schema_extra={"expected": "true, the name of a plugin, or a table"})

    use: str
    """Name of the plugin; defaults to the slot's own name."""
    options: dict[str, Any] = {}


#: A slot outside of a table of named ones: there is no name that could be that of its plugin.
SingleSlot = Annotated[Slot, Field(json_schema_extra={"expected": "the name of a plugin, or a table"})]


class NetworkSlot(Slot):
    """A generator or an encoder."""

    per: Per = "run"
    """What has its own copy of the network: the whole run (one copy), each task, domain, direction (shared by all
    tasks), or translation."""
    translations: list[str] = ["*"]
    """The translations that use it: `"age"`, `"* -> old"`, `"young -> old"`."""
    conditionings: list[str] | None = None
    """The conditionings that it uses; defaults to all for generators, and to none for other networks."""


class Adapt(Section):
    """Adaptive discriminator augmentation (Karras et al., 2020): adapt how often samples are augmented to overfitting.

    Each augmentation changes a fraction p of the samples. p starts at 0; it rises while the mean sign of the logits of
    real samples is above `target` (the discriminator overfits), and falls while it is below.
    """

    model_config = ConfigDict(json_schema_extra={"expected": "true or a table"})

    target: float = Field(0.6, gt=-1, lt=1)
    """Target for the mean sign of the logits of real samples."""
    samples: PositiveInt = 500_000
    """Number of samples of a domain over which p changes by 1."""
    most: float = Field(0.8, gt=0, le=1)
    """Maximum of p; above it, augmentations leak into generated samples."""

    @model_validator(mode="before")
    @classmethod
    def _expand_true(cls, given: Any) -> Any:
        return {} if given is True else given


class DiscriminatorSlot(NetworkSlot):
    """A discriminator and its inputs."""

    per: Per = "domain"
    shares: str | None = None
    """Use the networks of this other slot instead of own ones, on other nodes: a discriminator of two kinds of fakes.
    Options, `per` and `conditionings` are then that slot's."""
    real: str = "target"
    """The node with real samples."""
    fake: str = "fake"
    """The node with fake samples."""
    given: str | list[str] | None = None
    """A node, or several, concatenated to both along the channels, as in a conditional GAN (pix2pix: `"source"`)."""
    keep: list[str] = []
    """Labels that translations keep, by names of `[attributes]` with values, and of tasks, whose domains are then the
    values. The discriminator gets them as the condition `kept`: of a real sample its own, of a fake those of
    the sample that it is made from."""
    history: int = Field(0, ge=0)
    """Size of the image pool (Shrivastava et al., 2017), which replaces half of the fakes by older ones; 0 for none."""
    augment: list[str] = []
    """Augmentations of the inputs, in order; `[augmentations]` has their options."""
    adapt: Adapt | None = None
    """Adapt how often augmentations are applied; by default they are applied to every sample."""

    @property
    def beside(self) -> tuple[str, ...]:
        """The nodes of `given`."""
        return (self.given,) if isinstance(self.given, str) else tuple(self.given or ())


class LossSlot(Slot):
    """A loss and its weight."""

    model_config = ConfigDict(json_schema_extra={"expected": "a weight, a schedule or a table"})

    weight: NotNegative = constant(1.0)
    """Factor of the loss in the objective, a number or a schedule. Weights are not normalised."""
    translations: list[str] = ["*"]
    """The translations that it applies to."""
    discriminators: list[str] = ["*"]
    """The slots of the discriminators that it applies to, where it belongs to a discriminator."""


#: The slots of `[data]`.
SLOTS_OF_DATA = ("source", "default", "media")
#: The path of a slot of its own.
PENALTY_OF_FALLBACK = ("guard", "fallback", "penalty")
#: The class of the slots in each table of slots.
SLOTS: dict[str, type[Slot]] = {
    "conditionings": Slot,
    "augmentations": Slot,
    "generators": NetworkSlot,
    "encoders": NetworkSlot,
    "discriminators": DiscriminatorSlot,
    "losses": LossSlot,
    "metrics": Slot,
    "hooks": Slot,
}
