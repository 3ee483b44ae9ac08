"""A JSON Schema of recipes, by which editors complete, explain and check them while they are written."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from transgan.recipe.describe import JsonSchema, json_schema
from transgan.recipe.schema import Recipe
from transgan.recipe.slots import SLOTS, SLOTS_OF_DATA, LossSlot, Slot
from transgan.schedule import Schedule

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: The kinds of the plugins in slots that stand by themselves.
_KINDS_OF_DATA = {"source": "sources", "default": "sources", "media": "media"}
#: Keywords of pydantic's schemas that say nothing to an editor, and one that only error messages use.
_DROPPED = {"title", "expected", "$defs"}
#: Holds for a slot in which a schedule stands: of the tables there, only those of schedules have this key.
_IS_SCHEDULE = {"type": "object", "required": ["from"]}
#: What a slot whose name is no plugin's must be, where there is no other recipe that says it.
_NAMES_A_PLUGIN = {
    "type": ["object", "string", "boolean"],
    "if": {"not": {"required": ["shares"]}},
    "then": {"required": ["use"]},
}


@dataclass(frozen=True)
class Described:
    """What the schema says of a plugin."""

    options: type[BaseModel]
    description: str = ""


Plugins = Mapping[str, Mapping[str, Described]]
"""Plugins by kind, as in a recipe's tables (`"generators"`; also `"sources"`, `"media"` and `"nodes"`), and name."""


def editor_schema(plugins: Plugins) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of recipes that use these plugins.

    It is complete about keys and the types of values; what only a whole recipe shows, such as a domain that no task
    names, is left to `transgan check`. Editors such as taplo offer keys of `properties` and `anyOf` only and overlook
    `then` and `else`: so some schemas have an `anyOf` that always holds.
    """
    raw = json_schema(Recipe)
    schema = _flattened(raw, raw)
    tables = schema["properties"]
    kinds: dict[str, type[Slot]] = {**SLOTS, **dict.fromkeys((*_KINDS_OF_DATA.values(), "nodes"), Slot)}
    definitions = {key: each for kind, cls in kinds.items() for key, each in _definitions(kind, cls, plugins).items()}
    for kind, cls in SLOTS.items():
        slots = {name: _slot(kind, cls, name, each) for name, each in plugins.get(kind, {}).items()}
        tables[kind] |= {"type": "object", "properties": slots, "additionalProperties": _other_slot(kind, cls)}
    for key in SLOTS_OF_DATA:
        tables["data"]["properties"][key] = {"$ref": _place_of(_KINDS_OF_DATA[key], "any")}
    tables["nodes"] = {"$ref": _place_of("nodes", "any")}
    tables["guard"]["properties"]["fallback"]["properties"]["penalty"] = {"$ref": _place_of("losses", "any")}
    tables["domains"]["additionalProperties"] = {"type": ["string", "object"]}
    whole: dict[str, Any] = {name: {"required": _required(raw, name)} for name in ("data", "train")}
    whole |= {
        kind: {"properties": dict.fromkeys(plugins.get(kind, {}), True), "additionalProperties": _NAMES_A_PLUGIN}
        for kind in SLOTS
    }
    return {
        "$schema": DIALECT,
        "title": "A recipe of TransGAN",
        **schema,
        # What a recipe extends has what it lacks.
        "if": {"required": ["extends"]},
        "else": {"required": raw["required"], "properties": whole},
        "$defs": definitions,
    }


def _definitions(kind: str, cls: type[Slot], plugins: Plugins) -> dict[str, Any]:
    """Return the schemas of the slots of a kind: one for each plugin, one for any of them, and `use`."""
    own = _keys_of(cls)
    found = plugins.get(kind, {})
    use = {
        "description": "Name of the plugin, or package:name.",
        "type": "string",
        "if": {"pattern": ":"},
        "else": {"enum": [*found]},
        "anyOf": [{}, {"enum": [*found]}],
    }
    named = {"$ref": _place_of(kind)}
    types = ["boolean", "object", "string", *(["number"] if cls is LossSlot else [])]
    tables: dict[str, Any] = {}
    for name, each in found.items():
        tables[name] = {
            "type": types,
            "description": each.description,
            "properties": {
                "use": named,
                **own,
                **_flattened(schema := json_schema(each.options), schema)["properties"],
            },
            "additionalProperties": False,
            "if": {"type": "string"},
            "then": named,
        }
    any_of_them: dict[str, Any] = {
        "type": ["object", "string"],
        "if": {"type": "string"},
        "then": named,
        "else": {
            "properties": {"use": named},
            "allOf": [{"if": _uses(name), "then": {"$ref": _place_of(kind, name)}} for name in found] or [{}],
        },
        "anyOf": [{}, {"properties": {"use": named, **own, **_all_options(tables, own)}}],
    }
    definitions = {kind: use, f"{kind}.any": any_of_them}
    return definitions | {f"{kind}.{name}": table for name, table in tables.items()}


def _slot(kind: str, cls: type[Slot], name: str, plugin: Described) -> dict[str, Any]:
    """Return the schema of a slot with a plugin's name, which another plugin may fill."""
    own = {"$ref": _place_of(kind, name)}
    dispatch: dict[str, Any] = {"if": _uses(name, other=True), "then": {"$ref": _place_of(kind, "any")}, "else": own}
    if cls is LossSlot:
        dispatch = {"if": _IS_SCHEDULE, "then": _SCHEDULE, "else": dispatch}
    return {"description": plugin.description, **dispatch, "anyOf": [{}, own]}


def _other_slot(kind: str, cls: type[Slot]) -> dict[str, Any]:
    """Return the schema of a slot whose name is no plugin's."""
    slot: dict[str, Any] = {"$ref": _place_of(kind, "any")}
    if cls is LossSlot:  # in a recipe that extends another one it may be a weight
        slot = {"if": {"anyOf": [{"type": "number"}, _IS_SCHEDULE]}, "then": _SCHEDULE, "else": slot}
    return {"if": {"const": False}, "else": slot, "anyOf": [{}, {"$ref": _place_of(kind, "any")}]}


def _place_of(kind: str, name: str = "") -> str:
    return f"#/$defs/{kind}.{name}".rstrip(".")


def _uses(name: str, other: bool = False) -> dict[str, Any]:
    """Return what holds for a table that names a plugin, with or without its package, or that names another one."""
    pattern = {"pattern": f"^(.+:)?{re.escape(name)}$"}
    use = {"not": pattern} if other else pattern
    return {"type": "object", "required": ["use"], "properties": {"use": use}}


def _keys_of(cls: type[Slot]) -> dict[str, Any]:
    """Return the keys that every slot of a class has, but for `use`."""
    schema = json_schema(cls)
    return {
        key: each for key, each in _flattened(schema, schema)["properties"].items() if key not in ("use", "options")
    }


def _all_options(tables: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of all plugins, each with what it means in each of them, to offer where `use` says which."""
    meanings: dict[str, dict[str, str]] = {}
    for plugin, table in tables.items():
        for key, each in table["properties"].items():
            if key != "use" and key not in own:
                meanings.setdefault(key, {})[plugin] = each.get("description", "")
    return {
        key: {"description": "\n".join(f"{plugin}: {text}" for plugin, text in texts.items() if text)}
        for key, texts in meanings.items()
    }


def _flattened(root: JsonSchema, schema: JsonSchema, required: bool = False) -> dict[str, Any]:
    """Return a schema of pydantic's as TOML sees it: without references, null, and titles, a schedule as a number too.

    Args:
        root: the schema with the definitions.
        schema: the part of it.
        required: whether a table must be complete; where a recipe extends another one, only those in lists must.
    """
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        rest = {key: each for key, each in schema.items() if key != "$ref"}
        target = _SCHEDULE if name == Schedule.__name__ else _flattened(root, root["$defs"][name], required)
        return {**target, **_flattened(root, rest)}
    flat: dict[str, Any] = {key: each for key, each in schema.items() if key not in _DROPPED}
    if isinstance(flat.get("default"), (dict, type(None))):
        flat.pop("default", None)
    if not required:
        flat.pop("required", None)
    for key in ("anyOf", "oneOf"):
        if key in flat:
            choices = [_flattened(root, each, required) for each in flat.pop(key) if each.get("type") != "null"]
            flat = {**choices[0], **flat} if len(choices) == 1 else {**flat, key: choices}
    if "properties" in flat:
        flat["properties"] = {key: _flattened(root, each) for key, each in flat["properties"].items()}
    if isinstance(flat.get("additionalProperties"), Mapping):
        flat["additionalProperties"] = _flattened(root, flat["additionalProperties"])
    if isinstance(flat.get("items"), Mapping):
        flat["items"] = _flattened(root, flat["items"], required=True)
    if "prefixItems" in flat:
        flat["prefixItems"] = [_flattened(root, each, required=True) for each in flat["prefixItems"]]
    if str(schema.get("expected", "")).startswith("true or"):
        flat["type"] = ["object", "boolean"]
    return flat


def _required(root: JsonSchema, table: str) -> list[str]:
    """Return the keys that a table of the recipe must have."""
    name = str(root["properties"][table]["$ref"]).rsplit("/", 1)[-1]
    return list(root["$defs"][name].get("required", []))


def _schedule() -> dict[str, Any]:
    schema = json_schema(Schedule)
    flat = _flattened(schema, schema, required=True)
    return {**flat, "type": ["number", "object"], "description": "A number, or one that changes during the run."}


_SCHEDULE = _schedule()
