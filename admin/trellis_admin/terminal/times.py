"""Times for people: how long ago, how long, and when. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

__all__ = ["show_age", "show_instant", "show_length", "show_past"]

_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def show_length(length: timedelta) -> str:
    """Return a length of time with two units at most: `0.82 s`, `30.0 s`, `6 m 06 s`, `2 d 4 h`."""
    seconds = length.total_seconds()
    if seconds < 10:  # noqa: PLR2004 - what is short has two decimals
        return f"{seconds:.2f} s"
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    left = round(seconds)
    for (unit, size), (smaller, smaller_size) in pairwise(_UNITS):
        if left >= size:
            whole, rest = divmod(left, size)
            return f"{whole} {unit} {rest // smaller_size:02} {smaller}"
    return f"{left} s"


def show_age(instant: datetime | None, now: datetime) -> str:
    """Return how long ago an instant was, or in how long it is; a dash for none."""
    if instant is None:
        return "-"
    length = _rough(abs(now - instant))
    return f"{length} ago" if instant <= now else f"in {length}"


def show_past(instant: datetime, now: datetime) -> str:
    """Return how long ago something happened. By another machine's clock it may lie ahead of this one's: it cannot be later."""
    if instant <= now:
        return show_age(instant, now)
    return f"just now, by a clock that is {_rough(instant - now)} ahead"


def _rough(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "0 s"


def show_instant(instant: datetime | None) -> str:
    """Return an instant in UTC to the millisecond; a dash for none."""
    if instant is None:
        return "-"
    return instant.strftime("%Y-%m-%d %H:%M:%S.") + f"{instant.microsecond // 1000:03}"
