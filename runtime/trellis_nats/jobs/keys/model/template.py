"""Which key a job has: strings and JSON pointers into its payload (reference, 10.1 to 10.4). Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import pydantic_core
from pydantic import JsonValue

from trellis_nats.errors import InvalidPayload

__all__ = ["JobKey", "resolve"]

_SAFE_INTEGER_MAX: Final = 2**53 - 1
"""Beyond it, JavaScript writes other digits and would hash another key (reference, 10.3)."""
_ARRAY_STEP: Final = re.compile(r"0|[1-9][0-9]*")
_DISPLAY_MAX: Final = 256
"""Characters that people are shown; the hash tells keys apart."""

Segment = str | int | bool


class JobKey(NamedTuple):
    """One key of one queue."""

    text: str
    """Its segments, joined by `:`, as records and events have it. Two keys may share it."""
    hash: str
    """64 lower-case hexadecimal digits, the same in every runtime."""

    @property
    def display(self) -> str:
        """The text for people, cut after 256 characters."""
        return self.text if len(self.text) <= _DISPLAY_MAX else self.text[:_DISPLAY_MAX] + "…"


def resolve(template: Sequence[str], payload: JsonValue, *, what: str) -> JobKey:
    """Return the key of a payload. `what` names the payload in errors.

    Raises:
        InvalidPayload: a pointer finds nothing, or no string, boolean or safe integer; all such places at once.
    """
    segments: list[Segment] = []
    problems: list[tuple[str, str]] = []
    for part in template:
        if not part.startswith("/"):
            segments.append(part)
            continue
        found = _follow(part, payload)
        if isinstance(found, _Problem):
            problems.append((f"#{part}", found.text))
        else:
            segments.append(found)
    if problems:
        raise InvalidPayload(what, problems)
    hashed = hashlib.sha256(b'{"version":1,"segments":%b}' % pydantic_core.to_json(segments)).hexdigest()
    return JobKey(":".join(map(_shown, segments)), hashed)


class _Problem(NamedTuple):
    text: str


def _follow(pointer: str, payload: JsonValue) -> Segment | _Problem:
    value = payload
    for step in _steps(pointer):
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and _ARRAY_STEP.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
        else:
            return _Problem("the concurrency key needs this value, and the payload does not have it")
    if isinstance(value, str) and value.isascii():
        return value
    match value:
        case str() if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return _Problem("the concurrency key needs text, and this is no Unicode")
        case str() | bool():
            return value
        case int() if abs(value) <= _SAFE_INTEGER_MAX:
            return value
        case int() | float():
            return _Problem(
                "the concurrency key takes integers from -(2^53-1) to 2^53-1: other numbers are written differently by "
                "other runtimes; use a string"
            )
        case _:
            kind = "null" if value is None else "an array" if isinstance(value, list) else "an object"
            return _Problem(f"the concurrency key needs a string, a boolean or an integer, got {kind}")


@lru_cache(maxsize=1024)  # the pointers of contracts are few, and every job follows them twice
def _steps(pointer: str) -> tuple[str, ...]:
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def _shown(segment: Segment) -> str:
    return str(segment).lower() if isinstance(segment, bool) else str(segment)
