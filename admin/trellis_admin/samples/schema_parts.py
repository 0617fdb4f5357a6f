"""Takes schemas of a contract apart: what describes a value, a member, an item. Pure.

References lead into the same named schema, and may lead in circles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from pydantic import JsonValue

__all__ = ["Part", "describe_item", "describe_member", "expand", "follow_reference", "is_record"]

Part: TypeAlias = dict[str, JsonValue]
"""One schema, without what its `$ref`, `allOf`, `anyOf` or `oneOf` lead to."""

_LISTS: Final = ("allOf", "anyOf", "oneOf")
_SINGLES: Final = ("if", "then", "else")


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
    return parts


def follow_reference(reference: str, root: JsonValue) -> JsonValue:
    """Return the schema that a reference leads to; True, which describes nothing, if it leads nowhere."""
    if not reference.startswith("#"):
        return True
    found = root
    for step in reference[1:].split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            return True
    return found


def is_record(parts: Sequence[Part]) -> bool:
    """Return whether an object has members of its own: their names are the contract's, not data."""
    return any(isinstance(part.get("properties"), dict) for part in parts)


def describe_member(parts: Sequence[Part], name: str) -> list[JsonValue]:
    """Return the schemas that describe a member of an object; none if it is not declared."""
    named = [*_find_named(parts, name)]
    if named:
        return named
    return [schema for part in parts if isinstance(schema := part.get("additionalProperties"), dict)]


def _find_named(parts: Sequence[Part], name: str) -> Iterator[JsonValue]:
    for part in parts:
        properties, patterns = part.get("properties"), part.get("patternProperties")
        if isinstance(properties, dict) and name in properties:
            yield properties[name]
        if isinstance(patterns, dict):
            yield from (schema for pattern, schema in patterns.items() if _matches(pattern, name))


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return False


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
