"""The texts that models read for a format with a Python type of its own, in the forms of RFC 3339 and RFC 9562.

`trellis_nats` has the same rules for the values of models. A test compares both.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Final

__all__ = ["fits_format"]

_DATE: Final = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME: Final = (
    r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
_TEXTS: Final = {
    "date": re.compile(_DATE),
    "date-time": re.compile(f"{_DATE}T{_TIME}", re.IGNORECASE | re.ASCII),
    "time": re.compile(_TIME, re.IGNORECASE | re.ASCII),
    "uuid": re.compile("[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}"),
}
_ANY_DAY: Final = "2000-01-02T"
_LAST_MINUTE: Final = (23, 59)
"""Leap seconds are the last second of a UTC day."""


def fits_format(text: str, name: str) -> bool:
    """Return whether a text has an enforced format; True for every other format."""
    texts = _TEXTS.get(name)
    if texts is None:
        return True
    if not texts.fullmatch(text):
        return False
    try:
        match name:
            case "date":
                date.fromisoformat(text)
            case "date-time":
                return _is_instant(text.upper())
            case "time":
                return _is_instant(f"{_ANY_DAY}{text.upper()}")
            case _:
                pass
    except ValueError:
        return False
    return True


def _is_instant(text: str) -> bool:
    is_leap = text[17:19] == "60"
    instant = datetime.fromisoformat(f"{text[:17]}59{text[19:]}" if is_leap else text)
    if not is_leap:
        return True
    in_utc = instant.replace(year=2000).astimezone(UTC)
    return (in_utc.hour, in_utc.minute) == _LAST_MINUTE
