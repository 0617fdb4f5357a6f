"""Instants and durations, as Python has them and as the wire writes them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

__all__ = ["from_milliseconds", "now", "parse_timestamp", "timestamp", "to_milliseconds", "to_nanoseconds"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def now() -> datetime:
    """Return the current instant, aware, in UTC, cut to milliseconds as the wire is."""
    return _instant(time.time_ns() // 1_000_000)


@lru_cache(maxsize=16)  # a busy process asks several times in a millisecond
def _instant(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def timestamp(instant: datetime) -> str:
    """Write an aware instant as the wire has it: UTC, exactly three fractional digits, `Z`.

    Other runtimes compare leases as text, which only a fixed width survives.
    """
    # Only in UTC are equal instants the same: elsewhere, two an hour apart may be equal when clocks go back (PEP 495).
    return _written(instant if instant.tzinfo is UTC else instant.astimezone(UTC))


@lru_cache(maxsize=64)  # likewise
def _written(instant: datetime) -> str:
    # It cuts, as the wire does; "+00:00" becomes "Z".
    return instant.isoformat("T", "milliseconds")[:-6] + "Z"


def parse_timestamp(text: str) -> datetime:
    """Read an RFC 3339 instant with any offset and any number of fractional digits.

    Raises:
        ValueError: the text is no instant, or has no offset.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is UTC:
        return instant
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
