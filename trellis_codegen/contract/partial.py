"""A document without its faulty parts, so that the rules can be checked in the same run."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Final

from pydantic import JsonValue

from trellis_codegen.problems import Pointer, Problem

__all__ = ["drop_consequences", "list_entries", "remove_faults"]

_ENTRY_DEPTH: Final = {"uses": 3, "resources": 3}
"""The depth of the named entries in these sections; in the others it is 2."""
_STAND_INS: Final[dict[str, JsonValue]] = {
    "format": "trellis.contract.v1",
    "id": "stand-in@v1",
    "displayName": "stand-in",
    "description": "stand-in",
    "kind": "service",
}
"""Values for required members that are missing or wrong."""


def remove_faults(document: JsonValue, faults: Iterable[Pointer]) -> JsonValue:
    """Return the document without each entry that has a fault, and with stand-ins for its own required members."""
    result = copy.deepcopy(document)
    if not isinstance(result, dict):
        return result
    for fault in faults:
        _mend(result, fault)
    return result


def drop_consequences(problems: Iterable[Problem], faults: Iterable[Pointer]) -> list[Problem]:
    """Leave out problems that the document may have only because an entry was removed from it."""
    removed = [_entry(fault) for fault in faults]
    names = {f'"{entry[-1]}"' for entry in removed if entry}
    return [
        problem
        for problem in problems
        if not any(name in problem.what for name in names)
        and not any(problem.pointer[: len(entry)] == entry for entry in removed)
    ]


def list_entries(faults: Iterable[Pointer]) -> list[Pointer]:
    """Return the entries that have a fault, each once. Of the contract's own texts there is no more to check."""
    return [*dict.fromkeys(entry for entry in map(_entry, faults) if not entry or entry[0] not in _STAND_INS)]


def _mend(document: dict[str, JsonValue], fault: Pointer) -> None:
    entry = _entry(fault)
    if not entry:
        return
    if entry[0] in _STAND_INS:
        document[str(entry[0])] = _STAND_INS[str(entry[0])]
        return
    parent: JsonValue = document
    for step in entry[:-1]:
        parent = parent.get(str(step)) if isinstance(parent, dict) else None
    if isinstance(parent, dict):
        parent.pop(str(entry[-1]), None)


def _entry(fault: Pointer) -> Pointer:
    """Return the named entry that a fault lies in: a queue, a schema, a bucket, or a member of the document."""
    return fault[: _ENTRY_DEPTH.get(str(fault[0]), 2)] if fault else fault
