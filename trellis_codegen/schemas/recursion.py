"""Recursive schemas that are not objects: which of them need a name, and which have no end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.schemas.dereferencing import find_circles
from trellis_codegen.schemas.normalizing import normalize
from trellis_codegen.schemas.plain import split_map
from trellis_codegen.schemas.schema_forms import is_object

__all__ = ["allows_null", "find_endless", "find_named"]

JsonObject: TypeAlias = dict[str, JsonValue]
Targets: TypeAlias = Mapping[str, JsonValue]
"""The recursive references of a schema, each with its target in the simplest form."""


def find_named(targets: Targets) -> frozenset[str]:
    """Return the references whose types contain themselves, with no class between.

    Such a type must have a name to refer to. Any other is written out where it is used, down to its classes.
    """
    edges = {source: {found for found, _ in _references(target)} for source, target in targets.items()}
    return find_circles(edges)


def find_endless(targets: Targets) -> frozenset[str]:
    """Return the references that lead back to themselves with no list, map or object between: no value can match."""
    edges = {
        source: {found for found, is_direct in _references(target) if is_direct}
        for source, target in targets.items()
    }
    return find_circles(edges)


def allows_null(schema: JsonValue, targets: Targets) -> bool:
    """Whether null matches a schema in its simplest form. Its references have an end."""
    if not isinstance(schema, dict):
        return schema is True
    if isinstance(reference := schema.get("$ref"), str):
        return allows_null(targets[reference], targets)
    if isinstance(values := schema.get("enum"), list):
        return None in values
    if isinstance(members := schema.get("anyOf"), list):
        return any(allows_null(member, targets) for member in members)
    return schema.get("type", "null") == "null"


def _references(schema: JsonValue, *, is_direct: bool = True) -> Iterator[tuple[str, bool]]:
    """Yield the references outside of objects, each with whether nothing is around it."""
    schema = normalize(schema)
    if not isinstance(schema, dict) or is_object(schema):
        return
    if isinstance(reference := schema.get("$ref"), str):
        yield reference, is_direct
    if isinstance(members := schema.get("anyOf"), list):
        for member in members:
            yield from _references(member, is_direct=is_direct)
    for inner in _elements(schema):
        yield from _references(inner, is_direct=False)


def _elements(schema: JsonObject) -> Iterator[JsonValue]:
    """Yield the schemas of what a map or a list holds."""
    if schema.get("type") == "object":
        yield split_map(schema)[1]
    if schema.get("type") == "array":
        yield schema.get("items", True)
        prefix = schema.get("prefixItems")
        yield from prefix if isinstance(prefix, list) else ()
