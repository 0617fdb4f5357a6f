"""Fields that the format once had, or that are easily confused: errors, while other unknown fields are warnings."""

from __future__ import annotations

from typing import TypeAlias

from pydantic import JsonValue

from trellis_codegen.problems import Pointer, Problem
from trellis_codegen.rule_ids import Rule

__all__ = ["find_unsupported"]

_Finding: TypeAlias = tuple[str, str | None]

_PLATFORM: _Finding = ("is not supported", "the platform makes the streams")
_GONE: dict[Pointer, _Finding] = {
    ("subjects",): ("raw subjects are not supported", "declare an event, an RPC, an operation or a feed"),
    ("resources", "jobs"): ("is not supported", 'declare queues in "jobs", at the top level'),
    ("resources", "stream"): _PLATFORM,
    ("resources", "streams"): _PLATFORM,
}


def find_unsupported(pointer: Pointer, value: JsonValue) -> Problem | None:
    """Return the problem with such a field; None for any other unknown field."""
    found = _GONE.get(pointer)
    match pointer:
        case ("uses", "required" | "optional", _, "subjects"):
            found = ("raw subjects are not supported", "name the RPCs, operations, events and feeds in use")
        case ("uses", _) if isinstance(value, dict) and "contract" in value:
            found = ('must be inside "required" or "optional"', 'write "uses": {"required": {…}}')
        case _:
            pass
    return found and Problem(
        pointer=pointer, rule=Rule.UNSUPPORTED_FIELD, what=found[0], hint=found[1], on_key=True
    )
