"""Identifiers: new ones, and what may become part of a subject."""

from __future__ import annotations

import re
from typing import Final

from ulid import ULID

from trellis_nats.errors import ConfigurationError

__all__ = ["checked_token", "is_token", "new_id"]

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def new_id() -> str:
    """Return a fresh ULID: 26 characters that sort by time."""
    return str(ULID())


def is_token(text: str) -> bool:
    """Say whether the text may stand as one token of a NATS subject.

    `*`, `>` and `.` would be stored literally by a server and turn later reads into wildcards.
    """
    return _TOKEN.fullmatch(text) is not None


def checked_token(what: str, text: str) -> str:
    """Return the text when it may stand in a subject.

    Raises:
        ConfigurationError: it may not; the message names what it is.
    """
    if not is_token(text):
        raise ConfigurationError(f'{what} "{text}" must be 1 to 64 of A-Z a-z 0-9 _ -')
    return text
