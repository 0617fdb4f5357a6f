"""Numbers, durations and times as the pages print them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from trellis_nats._support.plural import plural
from trellis_nats.clock import describe_duration as duration

__all__ = [
    "clock",
    "day",
    "duration",
    "instant",
    "integer",
    "plural",
    "rough_duration",
    "short_count",
    "size",
    "split_holes",
    "typed_number",
]

_KIBI: Final = 1024
_ROUND: Final = 100
"""A size from which no digit stands after the point."""
_MILLION: Final = 1_000_000
_DIGITS: Final = re.compile("[0-9]{1,18}")
_MINUTE: Final = 60
_HOUR: Final = 3600
_FULL_COUNT_MAX: Final = 99_999
"""A longer count does not fit a chip."""
_HOLE: Final = re.compile("<(number|id|hex|text|time|query)>")
"""A placeholder in the pattern of an error."""


def integer(number: int) -> str:
    """Return a number with commas: `48,211,906`."""
    return f"{number:,}"


def short_count(number: int) -> str:
    """Return a count for a narrow place: `61,206`, `150 k`, `2.1 M`."""
    if number <= _FULL_COUNT_MAX:
        return f"{number:,}"
    if number < _MILLION:
        return f"{number // 1000} k"
    return f"{number / 1_000_000:.1f} M"


def typed_number(text: str) -> int | None:
    """Return the count that a person typed, with or without commas; None for anything else."""
    digits = text.strip().replace(",", "")
    return int(digits) if _DIGITS.fullmatch(digits) else None


def rough_duration(span: timedelta) -> str:
    """Return an age for a list: `41 s`, `26 min`, `3 h 12 m`, `9 d`."""
    seconds = int(max(span.total_seconds(), 0.0))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    return duration(timedelta(seconds=seconds))


def clock(when: datetime, *, milliseconds: bool = False) -> str:
    """Return the time of day in UTC: `14:20:02`, `14:20:02.012`."""
    text = when.astimezone(UTC).strftime("%H:%M:%S.%f")
    return text[:-3] if milliseconds else text[:8]


def day(when: datetime, now: datetime) -> str:
    """Return the day in UTC, for the heading of a group: `Today, 29 November`."""
    date, today = when.astimezone(UTC).date(), now.astimezone(UTC).date()
    name = f"{date.day} {date:%B}"
    if date == today:
        return f"Today, {name}"
    if date == today - timedelta(days=1):
        return f"Yesterday, {name}"
    return name if date.year == today.year else f"{name} {date.year}"


def instant(when: datetime) -> str:
    """Return the full instant: `2026-11-29 14:20:02.012 UTC`."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"


def size(count: int) -> str:
    """Return a number of bytes: `412 bytes`, `18.2 KiB`, `412 MiB`."""
    if count < _KIBI:
        return plural(count, "byte")
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= _KIBI
        if value < _KIBI or unit == "GiB":
            break
    return f"{value:.0f} {unit}" if value >= _ROUND else f"{value:.1f} {unit}"


def split_holes(pattern: str) -> list[tuple[str, bool]]:
    """Return the pieces of an error's pattern, with whether each is a placeholder."""
    pieces = _HOLE.split(pattern)
    return [(piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece]
