"""Recipes: TOML in, a typed recipe or every mistake at once out, and back to TOML with all defaults filled in."""

from transgan.recipe.grammar import Inspection
from transgan.recipe.problems import Origin, Problems
from transgan.recipe.reading import Document, parse_recipe, read_recipe
from transgan.recipe.schema import Recipe
from transgan.recipe.slots import SLOTS, Section
from transgan.recipe.writing import write_recipe

__all__ = [
    "SLOTS",
    "Document",
    "Inspection",
    "Origin",
    "Problems",
    "Recipe",
    "Section",
    "parse_recipe",
    "read_recipe",
    "write_recipe",
]
