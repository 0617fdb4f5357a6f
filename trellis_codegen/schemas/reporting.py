"""Walks a valid schema and reports the constraints that the models do not enforce."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import JsonValue

from trellis_codegen.problems import Pointer, Problem, ProblemsFound
from trellis_codegen.schemas.checking import walk
from trellis_codegen.schemas.dereferencing import dereference, find_recursive_references
from trellis_codegen.schemas.keywords import MERGEABLE
from trellis_codegen.schemas.unenforced import find_unenforced

__all__ = ["find_losses"]

_COMBINED = frozenset(["allOf", "anyOf", "oneOf"])
_JOINS_AT_MOST = 100
"""The number of schemas that are checked with their references expanded."""


def find_losses(schema: JsonValue, pointer: Pointer) -> Iterator[Problem]:
    """Yield a warning for each constraint of a valid named schema that its models do not enforce."""
    recursive = find_recursive_references(schema)
    nodes = {place: node for node, place, _ in walk(schema, pointer) if isinstance(node, dict)}
    joins = 0
    for place, node in nodes.items():
        written_out: JsonValue = node
        if node.keys() & _COMBINED and joins < _JOINS_AT_MOST:
            joins += 1
            try:
                written_out = dereference(node, schema, keep=recursive)
            except ProblemsFound:
                written_out = node
        outer = nodes.get(place[:-2]) if len(place) > len(pointer) + 1 and place[-2] in _COMBINED else None
        joined = outer is not None and (place[-2] == "allOf" or bool(outer.keys() & (MERGEABLE - _COMBINED)))
        reference = node.get("$ref")
        for problem in find_unenforced(node, written_out, place, joined=joined):
            if problem.pointer[-1] != "$ref" or reference in recursive:
                yield problem
