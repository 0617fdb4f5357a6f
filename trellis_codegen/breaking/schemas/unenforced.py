"""Keywords that no model checks: readers in other languages may. They are compared as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from trellis_codegen.breaking.proof.models import Model
from trellis_codegen.contract.canonical import canonical_json
from trellis_codegen.problems import Pointer, json_pointer
from trellis_codegen.schemas.keywords import STRUCTURAL, is_steering

__all__ = ["UnenforcedChange", "find_unenforced_changes"]

_MEMBERS: Final = ("properties", "patternProperties")


@dataclass(frozen=True, slots=True)
class UnenforcedChange:
    """A keyword that was added, changed or removed."""

    place: Pointer
    """The schema that has it."""
    keyword: str
    path: str


def find_unenforced_changes(old: Model, new: Model, *, has_findings: bool) -> Iterator[UnenforcedChange]:
    """Yield the changes. Keywords that also hold what models do check count only if the models are the same."""
    before, after = _list_keywords(old), _list_keywords(new)
    for pointer in sorted(before.keys() | after.keys(), key=str):
        if before.get(pointer) == after.get(pointer):
            continue
        keyword = str(pointer[-1])
        if has_findings and keyword in STRUCTURAL:
            continue
        if _is_new_member(pointer, old.schema) or _is_new_member(pointer, new.schema):
            continue
        yield UnenforcedChange(pointer[:-1], f'"{keyword}"', json_pointer(pointer[:-1]) or "/")


def _list_keywords(model: Model) -> dict[Pointer, str]:
    """Return the text of each keyword that the generator warns about, by its place."""
    found: dict[Pointer, str] = {}
    for problem in model.unenforced:
        keyword = str(problem.pointer[-1]) if problem.pointer else ""
        if keyword == "default" or is_steering(keyword):
            continue
        value = _find(model.schema, problem.pointer)
        found[problem.pointer] = canonical_json(value)
    return found


def _find(schema: JsonValue, pointer: Pointer) -> JsonValue:
    for step in pointer:
        if isinstance(schema, dict):
            schema = schema.get(str(step))
        elif isinstance(schema, list) and isinstance(step, int) and step < len(schema):
            schema = schema[step]
    return schema


def _is_new_member(pointer: Pointer, schema: JsonValue) -> bool:
    """Return whether a schema does not have the member that the keyword is about: another rule reports that."""
    for index, step in enumerate(pointer):
        if step in _MEMBERS and index + 1 < len(pointer):
            members = _find(schema, pointer[: index + 1])
            if not isinstance(members, dict) or pointer[index + 1] not in members:
                return True
    return False
