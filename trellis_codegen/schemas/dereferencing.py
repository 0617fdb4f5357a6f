"""Expands the references of a schema; only recursive ones remain."""

from __future__ import annotations

from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.contract.pointers import resolve
from trellis_codegen.problems import Problem, ProblemsFound
from trellis_codegen.schemas.checking import MAX_SCHEMA_NODES, replace_subschemas, subschemas
from trellis_codegen.schemas.keywords import MERGEABLE, is_steering

__all__ = ["dereference", "find_recursive_references"]

JsonObject: TypeAlias = dict[str, JsonValue]


def find_recursive_references(schema: JsonValue) -> frozenset[str]:
    """Return the references that lead back to themselves."""
    edges: dict[str, set[str]] = {}
    pending = {"#"}
    while pending:
        source = pending.pop()
        edges[source] = _references(resolve(schema, source))
        pending |= edges[source] - edges.keys()
    return frozenset(source for source in edges if source in _reached(source, edges))


def dereference(schema: JsonValue, root: JsonValue, *, keep: frozenset[str]) -> JsonValue:
    """Return `schema`, a part of `root`, with every reference replaced by its target, except those in `keep`.

    Raises:
        ProblemsFound: the result would be too large.
    """
    count = 0

    def expand(node: JsonValue) -> JsonValue:
        nonlocal count
        count += 1
        if count > MAX_SCHEMA_NODES:
            what = f"the schema is too large when its references are expanded: at most {MAX_SCHEMA_NODES} schemas"
            raise ProblemsFound([Problem(pointer=(), what=what)])
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref")
        siblings = {key: each for key, each in node.items() if key not in ("$ref", "$defs", "definitions")}
        if isinstance(reference, str) and reference not in keep:
            target = resolve(root, reference)
            if siblings.keys() & MERGEABLE:
                words = {key: each for key, each in siblings.items() if key not in MERGEABLE}
                demands = {key: each for key, each in siblings.items() if key in MERGEABLE}
                return expand({**words, "allOf": [target, demands]})
            return expand({**target, **siblings}) if isinstance(target, dict) else target
        if isinstance(reference, str):
            return node
        return replace_subschemas(
            {key: each for key, each in siblings.items() if not is_steering(key)}, expand
        )

    return expand(schema)


def _references(node: JsonValue) -> set[str]:
    if not isinstance(node, dict):
        return set()
    inside = {
        reference
        for way, child in subschemas(node)
        if way[0] not in ("$defs", "definitions")
        for reference in _references(child)
    }
    reference = node.get("$ref")
    return inside | ({reference} if isinstance(reference, str) else set())


def _reached(start: str, edges: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    pending = set(edges[start])
    while pending:
        each = pending.pop()
        reached.add(each)
        pending |= edges[each] - reached
    return reached
