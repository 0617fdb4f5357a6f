"""Takes schemas of a contract apart: what describes a value, a member, an item. Pure.

References lead into the same named schema, and may lead in circles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias
from urllib.parse import unquote

from pydantic import JsonValue

from trellis_admin.samples.pattern_text import may_match

__all__ = [
    "Part",
    "describe_item",
    "describe_member",
    "expand",
    "follow_reference",
    "is_described",
    "is_record",
]

Part: TypeAlias = dict[str, JsonValue]
"""One schema, without what its `$ref`, `allOf`, `anyOf` or `oneOf` lead to."""

_LISTS: Final = ("allOf", "anyOf", "oneOf")
_SINGLES: Final = ("if", "then", "else")
_MEMBERS: Final = ("dependentSchemas", "dependencies")
_ANNOTATIONS: Final = frozenset(
    {
        "$anchor",
        "$comment",
        "$id",
        "$schema",
        "default",
        "deprecated",
        "description",
        "example",
        "examples",
        "readOnly",
        "title",
    }
)
"""Keywords that say nothing about what a value may be."""
_LEADING: Final = frozenset({"$ref", "$defs", "definitions", *_LISTS, *_SINGLES, *_MEMBERS})
"""Keywords that lead to other parts, which may say something."""


def expand(schemas: Sequence[JsonValue], root: JsonValue) -> list[Part]:
    """Return every part that may describe a value for which all or some of the schemas hold."""
    parts: list[Part] = []
    pending, seen = [*schemas], set[int]()
    while pending:
        schema = pending.pop(0)
        if not isinstance(schema, dict) or id(schema) in seen:
            continue
        seen.add(id(schema))
        parts.append(schema)
        if isinstance(reference := schema.get("$ref"), str):
            pending.append(follow_reference(reference, root))
        for keyword in _LISTS:
            if isinstance(members := schema.get(keyword), list):
                pending += members
        pending += [schema[keyword] for keyword in _SINGLES if keyword in schema]
        for keyword in _MEMBERS:
            if isinstance(named := schema.get(keyword), dict):
                pending += named.values()
    return parts


def follow_reference(reference: str, root: JsonValue) -> JsonValue:
    """Return the schema that a reference leads to; True, which describes nothing, if it leads nowhere."""
    if reference[:1] != "#" or reference[1:2] not in ("", "/"):
        return True
    plain = reference[1:]
    found = (_follow(pointer.split("/")[1:], root) for pointer in (unquote(plain), plain))
    return next((schema for schema in found if schema is not None), True)


def _follow(steps: Sequence[str], root: JsonValue) -> JsonValue:
    found = root
    for step in steps:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


def is_described(parts: Sequence[Part]) -> bool:
    """Return whether a schema says anything about its values; `{}` does not, nor does a title alone."""
    return any(part.keys() - _ANNOTATIONS - _LEADING for part in parts)


def is_record(parts: Sequence[Part]) -> bool:
    """Return whether an object has members of its own: their names are the contract's, not data."""
    return any(isinstance(part.get("properties"), dict) and part["properties"] for part in parts)


def describe_member(parts: Sequence[Part], name: str) -> list[JsonValue]:
    """Return the schemas that describe a member of an object; none if it is not declared."""
    return [schema for part in parts for schema in _describe_in_part(part, name)]


def _describe_in_part(part: Part, name: str) -> list[JsonValue]:
    properties, patterns = part.get("properties"), part.get("patternProperties")
    found: list[JsonValue] = []
    if isinstance(properties, dict) and name in properties:
        found.append(properties[name])
    if isinstance(patterns, dict):
        found += [schema for pattern, schema in patterns.items() if may_match(pattern, name)]
    rest = part.get("additionalProperties")
    if not found and isinstance(rest, dict) and rest.keys() - _ANNOTATIONS:
        found.append(rest)
    return found


def describe_item(parts: Sequence[Part], index: int) -> list[JsonValue]:
    """Return the schemas that describe an item of a list; none if it is not declared."""
    found: list[JsonValue] = []
    for part in parts:
        items = part.get("items")
        prefix = part.get("prefixItems", items if isinstance(items, list) else None)
        rest = part.get("additionalItems") if isinstance(items, list) else items
        positions = prefix if isinstance(prefix, list) else []
        if index < len(positions):
            found.append(positions[index])
        elif isinstance(rest, dict):
            found.append(rest)
    return found
