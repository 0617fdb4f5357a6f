"""Texts of a kind: which it takes, which its model writes, and texts at its edges."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time
from functools import lru_cache
from typing import Final

from pydantic_core import SchemaValidator, core_schema

from trellis_codegen.breaking.proof.kinds import Text
from trellis_codegen.breaking.proof.pattern_texts import sample_pattern

__all__ = ["FORMAT_LENGTHS", "list_texts", "matches_format", "matches_pattern", "takes_text", "writes_text"]

FORMAT_LENGTHS: Final = {"date": (10, 10), "date-time": (20, 32), "time": (9, 21), "uuid": (36, 36)}
"""How long the texts are that models write for an enforced format."""

_TIME: Final = (
    r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)(?:\.[0-9]+)?"
    r"(?:Z|(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3]):(?P<minutes>[0-5][0-9]))"
)
_READ: Final = {
    "date": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "date-time": re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{_TIME}", re.IGNORECASE | re.ASCII),
    "time": re.compile(_TIME, re.IGNORECASE | re.ASCII),
    "uuid": re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"),
}
_CLOCK: Final = r"[0-9]{2}:[0-9]{2}:[0-5][0-9](?:\.[0-9]{6})?(?:Z|[+-](?!00:00)[0-9]{2}:[0-9]{2})"
_WRITTEN: Final = {
    "date": re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "date-time": re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T{_CLOCK}"),
    "time": re.compile(_CLOCK),
    "uuid": re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"),
}
"""The form of what models write, of the texts that they read."""
_SAMPLES: Final = {
    "date": ("2026-11-23", "1999-12-31"),
    "date-time": ("2026-11-23T08:30:00Z", "2026-11-23T08:30:00.250000+01:00"),
    "time": ("08:30:00Z", "08:30:00.250000+01:00"),
    "uuid": ("2a1b2c3d-0000-4000-8000-000000000000", "00000000-0000-4000-8000-00000000000f"),
}
_LAST_MINUTE: Final = 24 * 60 - 1
_LONGEST_SAMPLE: Final = 4096


def takes_text(kind: Text, text: str) -> bool:
    """Return whether the model reads a text."""
    if kind.format is not None:
        return matches_format(kind.format, text)
    if len(text) < kind.shortest or (kind.longest is not None and len(text) > kind.longest):
        return False
    return kind.pattern is None or matches_pattern(kind.pattern, text)


def writes_text(kind: Text, text: str) -> bool:
    """Return whether the model writes a text: of an enforced format it writes one form of several."""
    return takes_text(kind, text) and (
        kind.format is None or _WRITTEN[kind.format].fullmatch(text) is not None
    )


def matches_pattern(pattern: str, text: str) -> bool:
    """Return whether a pattern in the syntax of Rust matches somewhere in a text."""
    return _compile(pattern).isinstance_python(text)


def matches_format(name: str, text: str) -> bool:
    """Return whether a text has an enforced format, as the runtime reads it. A test compares the two."""
    found = _READ[name].fullmatch(text)
    if found is None:
        return False
    upper = text.upper()
    if "second" in found.re.groupindex and found["second"] == "60":
        if _find_utc_minute(found) != _LAST_MINUTE:
            return False
        upper = f"{upper[: found.start('second')]}59{upper[found.end('second') :]}"
    try:
        match name:
            case "date":
                date.fromisoformat(upper)
            case "date-time":
                datetime.fromisoformat(upper)
            case "time":
                time.fromisoformat(upper)
            case _:
                pass
    except ValueError:
        return False
    return True


def list_texts(kind: Text, hints: Iterable[str] = (), lengths: Iterable[int] = ()) -> Iterator[str]:
    """Yield texts of a kind that its model writes: short ones, those at its edges, and the hints among them."""
    tried = [""]
    if kind.format is not None:
        tried = [*_SAMPLES[kind.format], *hints]
    else:
        edges = [kind.shortest, kind.shortest + 1, *([] if kind.longest is None else [kind.longest])]
        counts = [count for count in (*edges, *lengths) if 0 <= count <= _LONGEST_SAMPLE]
        if kind.pattern is not None:
            tried += sample_pattern(kind.pattern, counts)
        tried += [*hints, "a", *("a" * count for count in counts), *("7-é" * count for count in counts[:2])]
    for text in dict.fromkeys(tried):
        if writes_text(kind, text):
            yield text


@lru_cache(maxsize=4096)
def _compile(pattern: str) -> SchemaValidator:
    return SchemaValidator(core_schema.str_schema(pattern=pattern))


def _find_utc_minute(found: re.Match[str]) -> int:
    minute = int(found["hour"]) * 60 + int(found["minute"])
    if found["sign"] is None:
        return minute
    offset = int(found["hours"]) * 60 + int(found["minutes"])
    return (minute + offset if found["sign"] == "-" else minute - offset) % (_LAST_MINUTE + 1)
