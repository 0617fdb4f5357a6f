"""The rule of numbers: NATS, other runtimes and Python can represent them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, cast

from pydantic import BaseModel

from trellis_codegen.contract.manifest import Manifest
from trellis_codegen.problems import Pointer, Problem, Severity
from trellis_codegen.rule_ids import Rule

__all__ = ["UNUSUAL_LIMITS", "check_numbers"]

_LONGEST_MS = 9_223_372_036_854
"""NATS counts durations in nanoseconds, in 64 bits: 292 years."""
_LARGEST = 2**53 - 1
"""The largest integer that every runtime holds exactly."""
_MAX_DELIVER = 2**31 - 1
_HISTORY = 64
UNUSUAL_LIMITS: Final = {
    "maxDeliver": _MAX_DELIVER,
    "concurrency": _MAX_DELIVER,
    "maxActive": _MAX_DELIVER,
    "maxValueBytes": _MAX_DELIVER,
}
"""The limits of members that the server keeps in 32 bits."""


def check_numbers(manifest: Manifest) -> Iterator[Problem]:
    """Every number is one that a server accepts; the history of a bucket is at most 64, the limit of NATS."""
    for pointer, name, number in _find_numbers(manifest, ()):
        limit = _LONGEST_MS if name.endswith("Ms") else UNUSUAL_LIMITS.get(name, _LARGEST)
        if number > limit:
            yield Problem(
                pointer=pointer, rule=Rule.OUT_OF_RANGE, what=f"must be at most {limit}, got {number}"
            )
        elif name == "history" and number > _HISTORY:
            what = f"NATS keeps at most {_HISTORY} values of a key, got {number}"
            yield Problem(pointer=pointer, rule=Rule.HISTORY_TOO_LONG, what=what, severity=Severity.WARNING)


def _find_numbers(value: object, pointer: Pointer) -> Iterator[tuple[Pointer, str, int]]:
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            if name in value.model_fields_set and field.alias != "schemas":
                yield from _find_numbers(getattr(value, name), (*pointer, str(field.alias)))
    elif isinstance(value, dict):
        for name, each in cast("dict[str, object]", value).items():
            yield from _find_numbers(each, (*pointer, name))
    elif isinstance(value, list):
        for index, each in enumerate(cast("list[object]", value)):
            yield from _find_numbers(each, (*pointer, index))
    elif isinstance(value, int) and not isinstance(value, bool):
        name = next(str(step) for step in reversed(pointer) if isinstance(step, str))
        yield pointer, name, value
