"""Checks an embedded schema first: its size, its references, and its keywords.

A schema can make datamodel-code-generator read files and import modules. A schema that passes this check cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias, cast

from pydantic import JsonValue

from trellis_codegen.contract.hints import hint_at_names
from trellis_codegen.contract.pointers import canonical_reference, resolve, split_reference
from trellis_codegen.naming import field
from trellis_codegen.problems import Pointer, Problem, closest
from trellis_codegen.rule_ids import Rule
from trellis_codegen.schemas.patterns import PatternRefused, translate_pattern
from trellis_codegen.schemas.wellformed import check_values

__all__ = ["MAX_SCHEMA_DEPTH", "MAX_SCHEMA_NODES", "check_schema", "replace_subschemas", "subschemas", "walk"]

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
            return [*problems, Problem(pointer=pointer, rule=Rule.SCHEMA_TOO_LARGE, what=what, on_key=True)]
        if isinstance(node, dict):
            problems += _check_node(node, place, schema)
        elif not isinstance(node, bool):
            problems.append(
                Problem(
                    pointer=place, rule=Rule.INVALID_SCHEMA, what="a schema must be an object or a boolean"
                )
            )
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


def replace_subschemas(node: JsonObject, change: Callable[[JsonValue, Pointer], JsonValue]) -> JsonObject:
    """Return `node` with the schemas directly inside it replaced; `change` gets each with its way from `node`."""
    result = dict(node)
    for way, each in subschemas(node):
        new = change(each, way)
        match way:
            case (str(keyword),):
                result[keyword] = new
            case (str(keyword), str(name)):
                result[keyword] = {**cast("JsonObject", result[keyword]), name: new}
            case (str(keyword), int(index)):
                old = cast("list[JsonValue]", result[keyword])
                result[keyword] = [*old[:index], new, *old[index + 1 :]]
            case _:
                pass
    return result


def walk(schema: JsonValue, pointer: Pointer) -> Iterator[tuple[JsonValue, Pointer, int]]:
    """Yield a schema and every schema inside it, with its place and its depth.

    After these come the schemas that only a reference leads to, because no keyword of JSON Schema holds them.
    """
    seen: set[int] = set()
    references: dict[str, None] = {}

    def visit(node: JsonValue, place: Pointer, depth: int) -> Iterator[tuple[JsonValue, Pointer, int]]:
        yield node, place, depth
        if not isinstance(node, dict):
            return
        seen.add(id(node))
        if isinstance(reference := node.get("$ref"), str):
            references[canonical_reference(schema, reference)] = None
        for way, each in subschemas(node):
            yield from visit(each, (*place, *way), depth + 1)

    yield from visit(schema, pointer, 1)
    followed = 0
    while followed < len(references):
        reference = [*references][followed]
        followed += 1
        target = resolve(schema, reference)
        if isinstance(target, dict) and id(target) not in seen:
            steps = split_reference(reference)
            yield from visit(target, (*pointer, *steps), len(steps) + 1)


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
        yield Problem(
            pointer=(*pointer, "$ref"),
            rule=Rule.INVALID_REFERENCE,
            what=f'the reference "{reference}" is not allowed',
            hint='only references within the schema are supported: "#/$defs/…"',
        )
    elif resolve(root, reference) is None:
        yield Problem(
            pointer=(*pointer, "$ref"),
            rule=Rule.INVALID_REFERENCE,
            what=f'the reference "{reference}" does not exist in this schema',
            hint=_suggest_definition(reference, root),
        )


def _suggest_definition(reference: str, root: JsonValue) -> str | None:
    section, _, name = reference.removeprefix("#/").partition("/")
    if section not in ("$defs", "definitions", "schemas") or not name:
        return None
    definitions = root.get(section) if isinstance(root, dict) else None
    if isinstance(definitions, dict) and (close := closest(name, definitions)):
        return f'did you mean "#/{section}/{close}"?'
    return (
        f'a schema can refer only to its own parts, not to other schemas of the contract: copy "{name}" into its "$defs" '
        f'and write "#/$defs/{name}"; equal objects become one class'
    )


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
            yield Problem(pointer=place, rule=Rule.INVALID_PATTERN, what=what, on_key=on_key)


def _check_fields(node: JsonObject, pointer: Pointer) -> Iterator[Problem]:
    """Check that each property, and each required member without a schema, can have a field."""
    owners: dict[str, tuple[str, Pointer]] = {}
    for name, place in _find_fields(node, pointer):
        attribute = field(name)
        owner, first = owners.setdefault(attribute, (name, place))
        if not attribute:
            rule, what = Rule.NO_PYTHON_NAME, f'cannot make a Python name from "{name}"'
        elif owner != name:
            rule = Rule.NAME_COLLISION
            what = f'"{owner}" and "{name}" would both become the field {attribute}'
        else:
            continue
        hint = hint_at_names([(place, name), (first, owner)], attribute)
        yield Problem(pointer=place, rule=rule, what=what, hint=hint, on_key=place[-1] == name)


def _find_fields(node: JsonObject, pointer: Pointer) -> Iterator[tuple[str, Pointer]]:
    properties, required = node.get("properties"), node.get("required")
    known = properties if isinstance(properties, dict) else {}
    for name in known:
        yield name, (*pointer, "properties", name)
    for index, member in enumerate(required if isinstance(required, list) else ()):
        if isinstance(member, str) and member not in known:
            yield member, (*pointer, "required", index)
