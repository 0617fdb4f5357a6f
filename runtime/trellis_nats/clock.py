"""Instants and durations, as Python has them and as the wire writes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

__all__ = ["from_milliseconds", "now", "parse_timestamp", "timestamp", "to_milliseconds", "to_nanoseconds"]


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
