"""Computes the key of a job from literals and JSON pointers into its payload (reference, 10.1 to 10.4). Pure."""

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
"""Beyond it, JavaScript writes different digits and would compute a different hash (reference, 10.3)."""
_ARRAY_STEP: Final = re.compile(r"0|[1-9][0-9]*")
_DISPLAY_MAX: Final = 256
"""The length of a key in logs and errors. The hash identifies a key, not the text."""

Segment = str | int | bool


class JobKey(NamedTuple):
    """One key of one queue."""

    text: str
    """Its segments, joined by `:`, as in records and events. Two different keys may have the same text."""
    hash: str
    """64 lowercase hexadecimal digits, the same in every runtime."""

    @property
    def display(self) -> str:
        """The text for logs and errors, truncated after 256 characters."""
        return self.text if len(self.text) <= _DISPLAY_MAX else self.text[:_DISPLAY_MAX] + "…"


def resolve(template: Sequence[str], payload: JsonValue, *, what: str) -> JobKey:
    """Return the key of a payload. Errors name the payload as `what`.

    Raises:
        InvalidPayload: a pointer finds no value, or a value that is not a string, boolean or safe integer; all of them.
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
    return JobKey(":".join(map(_text_of, segments)), hashed)


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
            return _Problem("the concurrency key needs this value, but the payload does not contain it")
    if isinstance(value, str) and value.isascii():
        return value
    match value:
        case str() if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return _Problem(
                "the concurrency key needs valid Unicode text, but this string contains a lone surrogate"
            )
        case str() | bool():
            return value
        case int() if abs(value) <= _SAFE_INTEGER_MAX:
            return value
        case int() | float():
            return _Problem(
                "the concurrency key accepts only integers from -(2^53-1) to 2^53-1, because other numbers are written "
                "differently by other runtimes; use a string"
            )
        case _:
            kind = "null" if value is None else "an array" if isinstance(value, list) else "an object"
            return _Problem(f"the concurrency key needs a string, a boolean or an integer, got {kind}")


@lru_cache(maxsize=1024)  # contracts have few pointers, and every job uses them twice
def _steps(pointer: str) -> tuple[str, ...]:
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def _text_of(segment: Segment) -> str:
    return str(segment).lower() if isinstance(segment, bool) else str(segment)
