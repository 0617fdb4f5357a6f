"""Instants and durations, as Python has them and as the wire writes them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

__all__ = [
    "from_milliseconds",
    "now",
    "now_written",
    "parse_timestamp",
    "span_written",
    "timestamp",
    "to_milliseconds",
    "to_nanoseconds",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """Return the current instant, aware, in UTC."""
    return datetime.now(UTC)


def timestamp(instant: datetime) -> str:
    """Write an aware instant as the wire has it: UTC, exactly three fractional digits, `Z`.

    Other runtimes compare leases as text, which only a fixed width survives.
    """
    # It cuts, as the wire does; "+00:00" becomes "Z".
    there = instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    return there.isoformat("T", "milliseconds")[:-6] + "Z"


def now_written() -> str:
    """Return the current instant as `timestamp` writes it. A busy process asks several times in a millisecond."""
    return _written(time.time_ns() // 1_000_000)


def span_written(length: timedelta) -> tuple[str, str]:
    """Return the current instant and the one that comes so long after it, cut to milliseconds, as `timestamp` does."""
    milliseconds = time.time_ns() // 1_000_000
    return _written(milliseconds), _written(milliseconds + to_milliseconds(length))


@lru_cache(maxsize=64)
def _written(milliseconds: int) -> str:
    return timestamp(_EPOCH + timedelta(milliseconds=milliseconds))


def parse_timestamp(text: str) -> datetime:
    """Read an RFC 3339 instant with any offset and any number of fractional digits.

    Raises:
        ValueError: the text is no instant, or has no offset.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f'"{text}" has no offset from UTC')
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError(f'"{text}" is outside of the years 1 to 9999 in UTC') from None


def to_milliseconds(duration: timedelta) -> int:
    """Write a duration as the wire has it, in whole milliseconds."""
    return duration // timedelta(milliseconds=1)


def to_nanoseconds(duration: timedelta) -> int:
    """Write a duration as JetStream's API has it, in nanoseconds."""
    return duration // timedelta(microseconds=1) * 1000


def from_milliseconds(milliseconds: int) -> timedelta:
    """Read a duration of the wire."""
    return timedelta(milliseconds=milliseconds)
