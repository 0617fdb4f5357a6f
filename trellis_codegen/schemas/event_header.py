"""The `header` of an event, which the runtime writes: a schema that declares it must not make the publisher invent one."""

from __future__ import annotations

from pydantic import JsonValue

__all__ = ["without_required_header"]

_HEADER = "header"
_DEFINITIONS = ("#/$defs/", "#/definitions/")
_ALTERNATIVES = ("allOf", "anyOf", "oneOf")


def without_required_header(schema: JsonValue) -> JsonValue:
    """Return the schema of an event with `header` as an optional member, also in the parts that it consists of."""
    if not isinstance(schema, dict):
        return schema
    changed: dict[str, JsonValue] = dict(schema)
    required = schema.get("required")
    if isinstance(required, list) and _HEADER in required:
        changed["required"] = [name for name in required if name != _HEADER]
    for keyword in _ALTERNATIVES:
        parts = schema.get(keyword)
        if isinstance(parts, list):
            changed[keyword] = [without_required_header(part) for part in parts]
    match schema.get("$ref"):
        case str(reference) if reference.startswith(_DEFINITIONS):
            keyword, _, name = reference.removeprefix("#/").partition("/")
            definitions = schema.get(keyword)
            if isinstance(definitions, dict) and name in definitions:
                changed[keyword] = {**definitions, name: without_required_header(definitions[name])}
        case _:
            pass
    return changed
