"""Recipes: parsing and validation of TOML files with line numbers in errors, and writing with all defaults."""

from transgan.recipe.collection import InstalledRecipe, installed_recipes
from transgan.recipe.diagnostics import Origin, OverrideByFlag, Problems
from transgan.recipe.parse import Document, parse_recipe, read_recipe
from transgan.recipe.schema import Recipe
from transgan.recipe.slots import SLOTS, Section
from transgan.recipe.upgrade import upgrade
from transgan.recipe.write import write_recipe

__all__ = [
    "SLOTS",
    "Document",
    "InstalledRecipe",
    "Origin",
    "OverrideByFlag",
    "Problems",
    "Recipe",
    "Section",
    "installed_recipes",
    "parse_recipe",
    "read_recipe",
    "upgrade",
    "write_recipe",
]
