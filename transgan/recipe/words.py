"""Values and expectations in plain words, for messages."""

import datetime
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

Described = Mapping[str, Any]

SCHEDULE = "a number, or a schedule such as {from = 1.0, to = 0.0}"
_ONE = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a table",
}
_MANY = {
    "integer": "whole numbers",
    "number": "numbers",
    "string": "texts",
    "boolean": "truth values",
    "array": "lists",
    "object": "tables",
}


def printable(text: str) -> str:
    """Without what could move the cursor of a terminal or end a line."""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)


def is_unicode(text: str) -> bool:
    """Whether a text can be written; one from the command line may hold bytes that are no letters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def quoted(text: str, longest: int = 60) -> str:
    """In quotation marks, cut where it is long."""
    cut = text if len(text) <= longest else text[:longest] + "..."
    return '"' + printable(cut.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def found(value: Any, kind: bool = True) -> str:
    """A value as it was written, and of what kind it is."""
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
    """Describes what it can of a stranger's options, and keeps quiet about the rest."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default", "skipped-discriminator"}

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> JsonSchemaValue:
        return {}


@lru_cache(maxsize=256)
def described(model: type[BaseModel]) -> Described:
    """A model's JSON schema: the one description of types and limits that is the same for all models."""
    try:
        return model.model_json_schema(schema_generator=_Lenient)
    except Exception:  # a stranger's own hooks run in there; only the wording of a message depends on it
        return {}


def step_into(root: Described, schema: Described, key: str | int) -> Described:
    """The description of what is under a key or an index."""
    for each in _choices(root, schema):
        if isinstance(key, str):
            inner = each.get("properties", {}).get(key, each.get("additionalProperties"))
        else:
            inner = (each.get("prefixItems", [])[key : key + 1] or [each.get("items")])[0]
        if isinstance(inner, Mapping):
            return inner
    return {}


def known_keys(root: Described, schema: Described) -> set[str]:
    """The keys that a table may have."""
    return {key for each in _choices(root, schema) for key in each.get("properties", {})}


def expected(root: Described, schema: Described) -> str:
    """What may stand there: `a whole number of at least 1`."""
    words = list(dict.fromkeys(_one(root, each) for each in _choices(root, schema)))
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1] if words else "something else"


def _choices(root: Described, schema: Described) -> list[Described]:
    """The schema without references, one for each of a union's members; null is left out, TOML has none."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rsplit("/", 1)[-1]
        target = {"expected": SCHEDULE, **root.get("$defs", {}).get(name, {})} if name == "Schedule" else None
        return _choices(root, target or root.get("$defs", {}).get(name, {}))
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return [choice for each in schema[union] for choice in _choices(root, each)]
    return [] if schema.get("type") == "null" else [schema]


def _one(root: Described, schema: Described) -> str:
    if "expected" in schema:
        return str(schema["expected"])
    if "const" in schema or "enum" in schema:
        values = [_literal(value) for value in schema.get("enum", [schema.get("const")])]
        return values[0] if len(values) == 1 else f"one of {', '.join(values)}"
    kind = str(schema.get("type", ""))
    if kind in ("integer", "number"):
        return _ONE[kind] + _limits(schema, whole=kind == "integer")
    if kind == "array":
        return _list(root, schema)
    if kind == "object" and schema.get("minProperties"):
        return "a table that is not empty"
    if kind == "string" and schema.get("minLength"):
        return "a text that is not empty"
    if kind == "string" and "pattern" in schema:
        return f"a text of the form {schema['pattern']}"
    return _ONE.get(kind, "something else")


def _list(root: Described, schema: Described) -> str:
    least, most = schema.get("minItems", 0), schema.get("maxItems")
    count = f"{least} " if least and least == most else f"at least {least} " if least else ""
    if most is not None and most != least:
        count = f"{least} to {most} "
    inner = [schema["items"]] if isinstance(schema.get("items"), Mapping) else schema.get("prefixItems", [])
    choices = [choice for each in inner for choice in _choices(root, each)]
    kinds = {_MANY.get(str(choice.get("type", "")), "values") for choice in choices}
    things = kinds.pop() if len(kinds) == 1 else "values"
    words = [f"'{value}'" for choice in choices for value in choice.get("enum", [])]
    return f"a list of {count}{things}" + (f" out of {', '.join(words)}" if words else "")


def _limits(schema: Described, whole: bool) -> str:
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
