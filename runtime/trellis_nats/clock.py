"""Converts instants and durations between Python and the wire, and the clock by which jobs wait."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import ClassVar, Final

__all__ = [
    "Clock",
    "describe_duration",
    "from_milliseconds",
    "from_unix_nanoseconds",
    "later",
    "now",
    "parse_timestamp",
    "timestamp",
    "to_milliseconds",
    "to_nanoseconds",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, 23, 59, 59, 999000, tzinfo=UTC)
"""The last instant that a timestamp can express."""

_MILLISECONDS: Final = 0.0995
"""Seconds up to which a duration is in milliseconds."""
_TWO_DIGITS: Final = 0.995
"""Seconds up to which a duration has two digits after the point."""
_ONE_DIGIT: Final = 9.95
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


class Clock:
    """The clock by which jobs and retries wait and expire: the one of this machine, and of the server.

    A `Runtime` takes another one, which may run ahead. What processes agree on does not depend on it: ack waits, leases of
    keys, maintenance, and the timeouts of calls and handlers.
    """

    waits_here: ClassVar[bool] = False
    """Whether what waits is held in this process, by `wait`. Otherwise the server holds it."""

    @property
    def ahead(self) -> timedelta:
        """How far it is ahead of the machine's clock now."""
        return timedelta(0)

    def now(self) -> datetime:
        """Return what the clock shows, aware, in UTC, cut to milliseconds as on the wire."""
        return now()

    def at(self, instant: datetime) -> datetime:
        """Return what the clock showed at an instant of the machine's clock, or of the server's, that has passed."""
        return instant

    async def wait(self, stopping: asyncio.Event, delay: timedelta, *, what: str) -> None:
        """Wait for a delay, or until `stopping` is set.

        Args:
            stopping: ends the wait early.
            delay: how long to wait, by this clock.
            what: what waits: the id of a job, for example.
        """
        del what
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), delay.total_seconds())


def now() -> datetime:
    """Return the current instant, aware, in UTC, cut to milliseconds as on the wire."""
    return _instant(time.time_ns() // 1_000_000)


@lru_cache(maxsize=16)  # a busy process asks several times in a millisecond
def _instant(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def timestamp(instant: datetime) -> str:
    """Return an aware instant as on the wire: UTC, exactly three fractional digits, `Z`.

    Other runtimes compare leases as text, which needs a fixed width.
    """
    # Only in UTC are equal instants the same: elsewhere, two an hour apart may be equal when clocks go back (PEP 495).
    return _format(instant if instant.tzinfo is UTC else instant.astimezone(UTC))


@lru_cache(maxsize=64)  # likewise
def _format(instant: datetime) -> str:
    # `isoformat` cuts to milliseconds; "+00:00" becomes "Z".
    return instant.isoformat("T", "milliseconds")[:-6] + "Z"


def parse_timestamp(text: str) -> datetime:
    """Read an RFC 3339 instant with any offset and any number of fractional digits.

    Raises:
        ValueError: the text is not an instant, or has no offset.
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


def later(instant: datetime, duration: timedelta) -> datetime:
    """Return the instant a duration later; the end of the year 9999 where that is beyond it."""
    return _LAST if duration >= _LAST - instant else instant + duration


def from_unix_nanoseconds(nanoseconds: int) -> datetime:
    """Return the instant of a number of nanoseconds since 1970, as in an ack subject."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def to_milliseconds(duration: timedelta) -> int:
    """Return a duration in whole milliseconds, as on the wire."""
    return duration // timedelta(milliseconds=1)


def to_nanoseconds(duration: timedelta) -> int:
    """Return a duration in nanoseconds, as in the JetStream API."""
    return duration // timedelta(microseconds=1) * 1000


def from_milliseconds(milliseconds: int) -> timedelta:
    """Return the duration of a number of milliseconds."""
    return timedelta(milliseconds=milliseconds)


def describe_duration(span: timedelta) -> str:
    """Return how long something took or takes: `12 ms`, `0.21 s`, `8.1 s`, `41 s`, `8 m 02 s`, `3 h 12 m`, `9 d`."""
    seconds = max(span.total_seconds(), 0.0)
    if seconds < _MILLISECONDS:
        milliseconds = round(1000 * seconds)
        return f"{milliseconds} ms" if milliseconds else "<1 ms" if seconds else "0 s"
    if seconds < _TWO_DIGITS:
        return f"{seconds:.2f} s"
    if seconds < _ONE_DIGIT:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} m {whole % _MINUTE:02} s"
    if whole < _DAY:
        return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE:02} m"
    return f"{whole // _DAY} d"
