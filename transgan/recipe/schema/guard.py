"""What the guardian does about a run that goes wrong."""

from typing import Literal, get_args

from pydantic import ConfigDict, Field, PositiveInt

from transgan.recipe.schema.numbers import Count
from transgan.recipe.slots import Section, Slot
from transgan.schedule import NotNegative, constant

Action = Literal["off", "warn", "stop", "rollback", "fallback"]
Fault = Literal["not_finite", "collapse", "copying", "discriminator_wins", "discriminator_blind", "hiding", "exploding"]


class Fallback(Section):
    """The objective of the guardian's `fallback`: WGAN-GP (Gulrajani et al., 2017), in the proportions of StarGAN."""

    model_config = ConfigDict(json_schema_extra={"expected": "a table"})

    adversarial: str = "wasserstein"
    """The loss that replaces adversarial losses with a decision logit, such as `lsgan`, `vanilla` and `hinge`."""
    weight: NotNegative = constant(1.0)
    """Weight of that loss, a number or a schedule."""
    penalty: Slot = Slot(use="gradient_penalty", options={"slope": 0.25})
    """The loss that replaces all gradient penalties, a name or a table with its options. The default bounds the slope
    of the mean logit as StarGAN does: a slope of 1 would outweigh a cycle loss many times over."""
    penalty_weight: NotNegative = constant(10.0)
    """Weight of that penalty, a number or a schedule."""
    critic_steps: Count = 5
    """Optimizer steps of the critics for each one of the generators."""
    lr: NotNegative = constant(1e-4)
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
