"""The texts of dates, times and UUIDs, exactly as RFC 3339 and RFC 9562 write them.

pydantic accepts more: offsets without a colon, spaces, seconds since 1970 as digits, UUIDs in braces or without dashes.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time
from typing import Final
from uuid import UUID

__all__ = ["parse_date", "parse_date_time", "parse_time", "parse_uuid"]

_DATE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME: Final = (
    r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9]|60)(?:\.[0-9]+)?"
    r"(?:Z|(?P<sign>[+-])(?P<hours>[01][0-9]|2[0-3]):(?P<minutes>[0-5][0-9]))"
)
_DATES: Final = re.compile(_DATE)
_TIMES: Final = re.compile(_TIME, re.IGNORECASE | re.ASCII)
_DATE_TIMES: Final = re.compile(f"{_DATE}T{_TIME}", re.IGNORECASE | re.ASCII)
_UUIDS: Final = re.compile("[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_DAY_MINUTES: Final = 24 * 60


def parse_date_time(text: str) -> datetime:
    """Return a date-time of RFC 3339. A leap second becomes the second before it, because Python has none.

    Raises:
        ValueError: the text is not a date-time.
    """
    return datetime.fromisoformat(_without_leap_second(_match(_DATE_TIMES, text)))


def parse_time(text: str) -> time:
    """Return a `full-time` of RFC 3339: a time with its offset. A leap second becomes the second before it.

    Raises:
        ValueError: the text is not a time with an offset.
    """
    return time.fromisoformat(_without_leap_second(_match(_TIMES, text)))


def parse_date(text: str) -> date:
    """Return a `full-date` of RFC 3339.

    Raises:
        ValueError: the text is not a date.
    """
    return date.fromisoformat(_match(_DATES, text)[0])


def parse_uuid(text: str) -> UUID:
    """Return a UUID of RFC 9562.

    Raises:
        ValueError: the text is not a UUID.
    """
    return UUID(_match(_UUIDS, text)[0])


def _match(texts: re.Pattern[str], text: str) -> re.Match[str]:
    found = texts.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return found


def _without_leap_second(found: re.Match[str]) -> str:
    """Return a time as `fromisoformat` reads it."""
    text = found.string.upper()
    if found["second"] != "60":
        return text
    if _utc_minute(found) != _DAY_MINUTES - 1:
        # Leap seconds are the last second of a UTC day.
        raise ValueError(text)
    return f"{text[: found.start('second')]}59{text[found.end('second') :]}"


def _utc_minute(time_of_day: re.Match[str]) -> int:
    """Return the minute of the UTC day."""
    minute = int(time_of_day["hour"]) * 60 + int(time_of_day["minute"])
    if time_of_day["sign"] is None:
        return minute
    offset = int(time_of_day["hours"]) * 60 + int(time_of_day["minutes"])
    return (minute + offset if time_of_day["sign"] == "-" else minute - offset) % _DAY_MINUTES
