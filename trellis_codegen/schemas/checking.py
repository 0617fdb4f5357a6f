"""Checks an embedded schema first: its size, its references, and its keywords.

A schema can make datamodel-code-generator read files and import modules. A schema that passes this check cannot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.naming import field
from trellis_codegen.problems import Pointer, Problem
from trellis_codegen.schemas.patterns import PatternRefused, translate_pattern
from trellis_codegen.schemas.wellformed import check_values

__all__ = ["MAX_SCHEMA_DEPTH", "MAX_SCHEMA_NODES", "check_schema", "resolve", "subschemas", "walk"]

MAX_SCHEMA_DEPTH = 64
"""Schemas may be nested this deep."""
MAX_SCHEMA_NODES = 2000
"""A named schema may have this many schemas inside."""

JsonObject: TypeAlias = dict[str, JsonValue]

_MAPS = frozenset(["properties", "patternProperties", "$defs", "definitions"])
_LISTS = frozenset(["anyOf", "oneOf", "allOf", "prefixItems"])
_SINGLES = frozenset(["items", "additionalItems", "additionalProperties"])


def check_schema(schema: JsonValue, pointer: Pointer) -> list[Problem]:
    """Return what is wrong with one named schema: its size, its keywords, its references, its names."""
    problems: list[Problem] = []
    for count, (node, place, depth) in enumerate(walk(schema, pointer), start=1):
        if depth > MAX_SCHEMA_DEPTH or count > MAX_SCHEMA_NODES:
            what = f"schemas are nested more than {MAX_SCHEMA_DEPTH} deep"
            if depth <= MAX_SCHEMA_DEPTH:
                what = f"has more than {MAX_SCHEMA_NODES} nested schemas"
            return [*problems, Problem(pointer=pointer, what=what, on_key=True)]
        if isinstance(node, dict):
            problems += _check_node(node, place, schema)
        elif not isinstance(node, bool):
            problems.append(Problem(pointer=place, what="a schema must be an object or a boolean"))
    return problems


def subschemas(node: JsonObject) -> Iterator[tuple[Pointer, JsonValue]]:
    """Yield the schemas directly inside one, with their way from it."""
    for keyword, value in node.items():
        if keyword in _MAPS and isinstance(value, dict):
            yield from (((keyword, name), each) for name, each in value.items())
        elif (keyword in _LISTS or keyword == "items") and isinstance(value, list):
            yield from (((keyword, index), each) for index, each in enumerate(value))
        elif keyword in _SINGLES:
            yield (keyword,), value


def walk(schema: JsonValue, pointer: Pointer, depth: int = 1) -> Iterator[tuple[JsonValue, Pointer, int]]:
    """Yield a schema and every schema inside it, with its place and its depth."""
    yield schema, pointer, depth
    if isinstance(schema, dict):
        for way, each in subschemas(schema):
            yield from walk(each, (*pointer, *way), depth + 1)


def _check_node(node: JsonObject, pointer: Pointer, root: JsonValue) -> Iterator[Problem]:
    yield from check_values(node, pointer)
    yield from _check_reference(node, pointer, root)
    yield from _check_patterns(node, pointer)
    yield from _check_fields(node, pointer)


def _check_reference(node: JsonObject, pointer: Pointer, root: JsonValue) -> Iterator[Problem]:
    reference = node.get("$ref")
    if not isinstance(reference, str):
        return
    if reference != "#" and not reference.startswith("#/"):
        hint = 'only references within the schema are supported: "#/$defs/…"'
        yield Problem(
            pointer=(*pointer, "$ref"), what=f'the reference "{reference}" is not allowed', hint=hint
        )
    elif resolve(root, reference) is None:
        yield Problem(
            pointer=(*pointer, "$ref"), what=f'the reference "{reference}" does not exist in this schema'
        )


def resolve(root: JsonValue, reference: str) -> JsonObject | bool | None:
    """Return the schema that a local reference points to, or None when there is none."""
    target = root
    for step in reference.removeprefix("#").split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(target, dict) and name in target:
            target = target[name]
        elif isinstance(target, list) and name.isdecimal() and int(name) < len(target):
            target = target[int(name)]
        else:
            return None
    return target if isinstance(target, dict | bool) else None


def _check_patterns(node: JsonObject, pointer: Pointer) -> Iterator[Problem]:
    patterns = node.get("patternProperties")
    keys = patterns if isinstance(patterns, dict) else {}
    places: list[tuple[str, Pointer, bool]] = [
        (key, (*pointer, "patternProperties", key), True) for key in keys
    ]
    if isinstance(pattern := node.get("pattern"), str):
        places.append((pattern, (*pointer, "pattern"), False))
    for pattern, place, on_key in places:
        try:
            translate_pattern(pattern)
        except PatternRefused as error:
            what = f'pattern "{pattern}" can\'t be compiled: {error}'
            yield Problem(pointer=place, what=what, on_key=on_key)


def _check_fields(node: JsonObject, pointer: Pointer) -> Iterator[Problem]:
    """Check that each property, and each required member without a schema, can have a field."""
    owners: dict[str, str] = {}
    for name, place in _find_fields(node, pointer):
        attribute = field(name)
        owner = owners.setdefault(attribute, name)
        if not attribute:
            what = f'cannot make a Python name from "{name}"'
            yield Problem(pointer=place, what=what, on_key=place[-1] == name)
        elif owner != name:
            what = f'"{owner}" and "{name}" would both become the field {attribute}'
            yield Problem(pointer=place, what=what, on_key=place[-1] == name)


def _find_fields(node: JsonObject, pointer: Pointer) -> Iterator[tuple[str, Pointer]]:
    properties, required = node.get("properties"), node.get("required")
    known = properties if isinstance(properties, dict) else {}
    for name in known:
        yield name, (*pointer, "properties", name)
    for index, member in enumerate(required if isinstance(required, list) else ()):
        if isinstance(member, str) and member not in known:
            yield member, (*pointer, "required", index)
