"""The tables of a recipe as typed, immutable models. They know no plugin."""

from transgan.recipe.schema.data import MAX_DIRECTIONS, MAX_TRANSLATIONS, Attribute, Data, Input, SomePairs, Task
from transgan.recipe.schema.guard import Action, Fallback, Fault, Guard
from transgan.recipe.schema.numbers import MAX_STEPS, as_size, smaller_size
from transgan.recipe.schema.recipe import Evaluate, Recipe
from transgan.recipe.schema.training import (
    NamedOptimizer,
    Optimizer,
    OptimizerChanges,
    Optimizers,
    Phase,
    Stage,
    StageOptimizers,
    Train,
)

__all__ = [
    "MAX_DIRECTIONS",
    "MAX_STEPS",
    "MAX_TRANSLATIONS",
    "Action",
    "Attribute",
    "Data",
    "Evaluate",
    "Fallback",
    "Fault",
    "Guard",
    "Input",
    "NamedOptimizer",
    "Optimizer",
    "OptimizerChanges",
    "Optimizers",
    "Phase",
    "Recipe",
    "SomePairs",
    "Stage",
    "StageOptimizers",
    "Task",
    "Train",
    "as_size",
    "smaller_size",
]
