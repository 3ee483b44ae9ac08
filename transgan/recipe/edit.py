"""Changes of a recipe's text that keep its comments."""

from collections.abc import Mapping
from itertools import dropwhile
from typing import Any

import tomlkit
from tomlkit.items import InlineTable, Item, Table

from transgan.recipe.write import value_in_toml

#: Space between a value and a comment that is written beside it.
_SPACE = "    "


def edit(text: str, changes: Mapping[str, Any], comments: Mapping[str, str], header: str) -> str:
    """Return a recipe's text with other values. Comments stay, but beside changed values, which they might not fit.

    Args:
        text: the recipe, in TOML.
        changes: values by their keys, such as `{"train.steps": 2000, "stages.0.batch": 4}`; a table replaces all of
            one, and None takes out what is there.
        comments: what is written beside values and headers of tables, by their keys; those of others are ignored.
        header: replaces the comment that the recipe begins with.

    Raises:
        ValueError: a value has characters that TOML cannot hold, such as a file's name that is not valid UTF-8.
    """
    body = "\n".join(dropwhile(lambda line: line.startswith("#") or not line.strip(), text.splitlines()))
    document = tomlkit.parse(body.rstrip() + "\n")
    for key, value in changes.items():
        _set(document, key.split("."), value)
    for key, comment in comments.items():
        item = _find(document, key.split("."))
        if isinstance(item, Item):
            item.comment(comment)
            item.trivia.comment_ws = _SPACE
    return header.rstrip() + "\n\n" + tomlkit.dumps(document).strip() + "\n"


def _find(table: Any, keys: list[str]) -> Any:
    for key in keys:
        if not isinstance(table, Mapping) or key not in table:
            return None
        table = table[key]
    return table


def _set(table: Any, keys: list[str], value: Any) -> None:
    """Set the value at a path below a table; tables on the way to it are added."""
    *way, last = keys
    for key in way:
        if isinstance(table, list):
            table = table[int(key)]
            continue
        if key not in table:
            if value is None:
                return
            table[key] = tomlkit.inline_table() if isinstance(table, InlineTable) else tomlkit.table()
        table = table[key]
        if isinstance(table, InlineTable):
            table.trivia.comment = ""
    if value is None:
        if last in table:
            del table[last]
        return
    whole = isinstance(value, Mapping) and not way
    table[last] = _table(value) if whole else _item(value)
    if isinstance(item := table[last], Item) and not whole:
        item.trivia.comment_ws = item.trivia.comment = ""


def _table(values: Mapping[str, Any]) -> Table:
    """Return a table with a header, a line for each of its values, and an empty line after it."""
    table = tomlkit.table()
    for key, value in values.items():
        table.add(key, _item(value))
    table.add(tomlkit.nl())
    return table


def _item(value: Any) -> Item:
    """Return a value in one line."""
    return tomlkit.value(value_in_toml(value))
