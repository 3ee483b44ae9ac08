"""A whole recipe: its tables."""

from typing import Any, Literal

from pydantic import Field, PositiveInt, model_validator

from transgan.recipe.schema.data import Attributes, Data, Inputs, Tasks
from transgan.recipe.schema.guard import Guard
from transgan.recipe.schema.numbers import Count
from transgan.recipe.schema.training import Optimizers, Phase, Stage, Train
from transgan.recipe.slots import DiscriminatorSlot, LossSlot, NetworkSlot, Section, SingleSlot, Slot
from transgan.recipe.upgrade import EXPECTED_VERSION

#: Bound on the entries of any table.
MAX_ENTRIES = 1_000


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
    tasks: Tasks = Field(min_length=1)
    inputs: Inputs = {}
    """Further files of the samples."""
    attributes: Attributes = {}
    """Labels that networks are conditioned on, besides tasks and domains."""
    train: Train
    optimizers: Optimizers = Optimizers()
    nodes: SingleSlot = Slot(use="translation")
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
