"""Which values of a resolved recipe somebody has written: those that are not marked as defaults."""

from collections.abc import Iterator, Mapping

import tomlkit
from tomlkit.container import Container
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Item, Table

from transgan.recipe.write import DEFAULT


def written_keys(text: str) -> set[str]:
    """Return the dotted keys of a recipe that `write_recipe` has returned whose values are not defaults.

    A list of tables is one value. Of a text that is no recipe there are none.
    """
    try:
        return set(_keys(tomlkit.parse(text), ""))
    except (TOMLKitError, RecursionError):
        return set()


def _keys(table: Container, above: str) -> Iterator[str]:
    for key in table:
        item = table.item(key)
        if isinstance(item, Table):
            yield from _keys(item.value, f"{above}{key}.")
        elif isinstance(item, AoT):
            yield from {f"{above}{key}" for each in item.body for _ in _keys(each.value, "")}
        elif not isinstance(item, Item) or item.trivia.comment != f"# {DEFAULT}":  # no item: a table in several places
            yield from (f"{above}{key}{inside}" for inside in _inside(item))


def _inside(value: object) -> Iterator[str]:
    """Yield what stands behind the key of a value: nothing, or the keys of the tables in it."""
    if isinstance(value, Mapping) and value:
        for key, each in value.items():
            yield from (f".{key}{inside}" for inside in _inside(each))
    else:
        yield ""
