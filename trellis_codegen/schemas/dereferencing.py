"""Expands the references of a schema; only recursive ones remain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.contract.pointers import follow, resolve
from trellis_codegen.problems import Pointer, Problem, ProblemsFound
from trellis_codegen.rule_ids import Rule
from trellis_codegen.schemas.checking import MAX_SCHEMA_NODES, replace_subschemas, subschemas
from trellis_codegen.schemas.keywords import MERGEABLE, is_steering
from trellis_codegen.schemas.origins import ORIGINS, join_origins

__all__ = ["dereference", "find_circles", "find_recursive_references"]

JsonObject: TypeAlias = dict[str, JsonValue]

_LEFT_OUT = frozenset(["$ref", "$defs", "definitions", ORIGINS])


def find_recursive_references(schema: JsonValue) -> frozenset[str]:
    """Return the references that lead back to themselves."""
    edges: dict[str, set[str]] = {}
    pending = {"#"}
    while pending:
        source = pending.pop()
        edges[source] = _references(resolve(schema, source))
        pending |= edges[source] - edges.keys()
    return find_circles(edges)


def find_circles(edges: Mapping[str, set[str]]) -> frozenset[str]:
    """Return the references that lead back to themselves; `edges` has for each the references that it leads to."""
    return frozenset(source for source in edges if source in _reached(source, edges))


def dereference(
    schema: JsonValue, root: JsonValue, *, keep: frozenset[str], place: Pointer = ()
) -> JsonValue:
    """Return `schema`, the part of `root` at `place`, with every reference replaced by its target, except those in `keep`.

    Each schema of the result knows its place in `root`.

    Raises:
        ProblemsFound: the result would be too large.
    """
    return _Expansion(root, keep).expand(schema, place)


@dataclass(slots=True)
class _Expansion:
    """One expansion, which counts the schemas that it makes."""

    root: JsonValue
    keep: frozenset[str]
    count: int = 0

    def expand(self, node: JsonValue, place: Pointer) -> JsonValue:
        self.count += 1
        if self.count > MAX_SCHEMA_NODES:
            what = f"the schema is too large when its references are expanded: at most {MAX_SCHEMA_NODES} schemas"
            raise ProblemsFound([Problem(pointer=(), rule=Rule.SCHEMA_TOO_LARGE, what=what)])
        if not isinstance(node, dict):
            return node
        origins: JsonObject = {ORIGINS: [list[JsonValue](place)]}
        siblings = {key: each for key, each in node.items() if key not in _LEFT_OUT and not is_steering(key)}
        if not isinstance(reference := node.get("$ref"), str):
            return {**self._with_inside(siblings, place), **origins}
        if reference in self.keep:
            target: JsonValue = {"$ref": reference, **origins}
        else:
            target = self.expand(*follow(self.root, reference))
        demands = {key: each for key, each in siblings.items() if key in MERGEABLE}
        words = {key: each for key, each in siblings.items() if key not in MERGEABLE}
        if demands:
            return {**words, "allOf": [target, {**self._with_inside(demands, place), **origins}]}
        return {**target, **words, **join_origins(origins, target)} if isinstance(target, dict) else target

    def _with_inside(self, node: JsonObject, place: Pointer) -> JsonObject:
        return replace_subschemas(node, lambda each, way: self.expand(each, (*place, *way)))


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


def _reached(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    pending = set(edges[start])
    while pending:
        each = pending.pop()
        reached.add(each)
        pending |= edges[each] - reached
    return reached
