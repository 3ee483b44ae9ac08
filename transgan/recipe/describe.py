"""Descriptions of values and of JSON schemas in words, for error messages and help."""

import datetime
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from transgan.text import printable

JsonSchema = Mapping[str, Any]

SCHEDULE = "a number, or a schedule such as {from = 1.0, to = 0.0}"
BACKSLASH = "a backslash begins an escape sequence; write a path in single quotes, as in root = 'C:\\data'"
_SINGULAR = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a string",
    "boolean": "true or false",
    "array": "a list",
    "object": "a table",
}
_PLURAL = {
    "integer": "whole numbers",
    "number": "numbers",
    "string": "strings",
    "boolean": "booleans",
    "array": "lists",
    "object": "tables",
}


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded; the command line may contain bytes that are not valid UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quoted(text: str, max_length: int = 60) -> str:
    """Return a text in quotation marks, shortened to `max_length` characters."""
    cut = text if len(text) <= max_length else text[:max_length] + "..."
    return '"' + printable(cut.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def found(value: Any, kind: bool = True) -> str:
    """Describe a value of a recipe, to stand after "found" in a message: `"8" (a string)`, `3`, `a list of 2`.

    Args:
        value: the value.
        kind: add the type of strings and numbers.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value) + (" (a string)" if kind else "")
    if isinstance(value, (int, float)):
        number = repr(value) if abs(value) < 2**64 or isinstance(value, float) else "a very large number"
        return number + ((" (a whole number)" if isinstance(value, int) else " (a number)") if kind else "")
    if isinstance(value, Mapping):
        return "a table" if value else "an empty table"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, (datetime.date, datetime.time)):
        return f"{value.isoformat()} (a date or time)"
    return "something else"


class _Lenient(GenerateJsonSchema):
    """A generator of JSON schemas that skips types without one, instead of warning or failing."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default", "skipped-discriminator"}

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}


@lru_cache(maxsize=256)
def json_schema(model: type[BaseModel]) -> JsonSchema:
    """Return a model's JSON schema, in which every model describes its types and limits in the same form."""
    try:
        return model.model_json_schema(schema_generator=_Lenient)
    except Exception:  # a plugin's own pydantic hooks may fail; only the wording of messages depends on the schema
        return {}


def subschema(root: JsonSchema, schema: JsonSchema, key: str | int) -> JsonSchema:
    """Return the schema of the value at a key or an index; an empty one where it is unknown.

    Args:
        root: the schema of the whole model, with all definitions.
        schema: the part of it that describes the table or list.
        key: the key or index.
    """
    for each in _choices(root, schema):
        if isinstance(key, str):
            inner = each.get("properties", {}).get(key, each.get("additionalProperties"))
        else:
            inner = (each.get("prefixItems", [])[key : key + 1] or [each.get("items")])[0]
        if isinstance(inner, Mapping):
            return inner
    return {}


def known_keys(root: JsonSchema, schema: JsonSchema) -> set[str]:
    """Return the keys that a table may have."""
    tables = list(_choices(root, schema))
    return {
        key for each in tables for key in (*each.get("properties", {}), *each.get("propertyNames", {}).get("enum", ()))
    }


def expected(root: JsonSchema, schema: JsonSchema) -> str:
    """Describe the values that a schema allows: `a whole number of at least 1`."""
    words = list(dict.fromkeys(_describe(root, each) for each in _choices(root, schema, described=True)))
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1] if words else "something else"


def _choices(root: JsonSchema, schema: JsonSchema, described: bool = False) -> list[JsonSchema]:
    """Return the members of a union, or the schema itself, with references resolved and without null.

    Args:
        described: a union with a description of its own is not taken apart.
    """
    if described and "expected" in schema:
        return [schema]
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        target = {"expected": SCHEDULE, **root.get("$defs", {}).get(name, {})} if name == "Schedule" else None
        return _choices(root, target or root.get("$defs", {}).get(name, {}), described)
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return [choice for each in schema[union] for choice in _choices(root, each, described)]
    return [] if schema.get("type") == "null" else [schema]


def _describe(root: JsonSchema, schema: JsonSchema) -> str:
    if "expected" in schema:
        return str(schema["expected"])
    if "const" in schema or "enum" in schema:
        values = [_literal(value) for value in schema.get("enum", [schema.get("const")])]
        return values[0] if len(values) == 1 else f"one of {', '.join(values)}"
    kind = str(schema.get("type", ""))
    if kind in ("integer", "number"):
        return _SINGULAR[kind] + _describe_limits(schema, whole=kind == "integer")
    if kind == "array":
        return _describe_list(root, schema)
    if kind == "object" and schema.get("minProperties"):
        return "a table that is not empty"
    if kind == "string" and schema.get("minLength"):
        return "a string that is not empty"
    if kind == "string" and "pattern" in schema:
        return f"a string of the form {schema['pattern']}"
    return _SINGULAR.get(kind, "something else")


def _describe_list(root: JsonSchema, schema: JsonSchema) -> str:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    count = f"{least} " if least and least == most else f"at least {least} " if least else ""
    if most is not None and most != least:
        count = f"{least} to {most} "
    inner = [schema["items"]] if isinstance(schema.get("items"), Mapping) else schema.get("prefixItems", [])
    choices = [choice for each in inner for choice in _choices(root, each)]
    kinds = {
        "numbers or schedules" if choice.get("expected") == SCHEDULE else _PLURAL.get(str(choice.get("type")), "values")
        for choice in choices
    }
    elements = kinds.pop() if len(kinds) == 1 else "values"
    words = [f"'{value}'" for choice in choices for value in choice.get("enum", [])]
    return f"a list of {count}{elements}" + (f" out of {', '.join(words)}" if words else "")


def _describe_limits(schema: JsonSchema, whole: bool) -> str:
    least, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    most, below = schema.get("maximum"), schema.get("exclusiveMaximum")
    if whole:
        least = above + 1 if above is not None else least
        most = below - 1 if below is not None else most
        above = below = None
    if least is not None and most is not None:
        return f" from {_number(least)} to {_number(most)}"
    parts = [
        f"{word} {_number(limit)}"
        for word, limit in (("of at least", least), ("above", above), ("at most", most), ("below", below))
        if limit is not None
    ]
    return " " + " and ".join(parts) if parts else ""


def _number(limit: float) -> str:
    return str(int(limit)) if float(limit).is_integer() else str(limit)


def _literal(value: Any) -> str:
    return f"'{value}'" if isinstance(value, str) else found(value, kind=False)
