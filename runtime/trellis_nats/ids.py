"""New identifiers, and which names are valid in a subject."""

from __future__ import annotations

import re
from typing import Final

from ulid import ULID

from trellis_nats.errors import ConfigurationError

__all__ = ["is_token", "new_id", "require_token"]

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def new_id() -> str:
    """Return a new ULID: 26 characters that sort by time."""
    return str(ULID())


def is_token(text: str) -> bool:
    """Return whether the text is valid as one token of a NATS subject.

    A server would store `*`, `>` and `.` literally, and they would turn later reads into wildcards.
    """
    return _TOKEN.fullmatch(text) is not None


def require_token(what: str, text: str) -> str:
    """Return the text if it is valid as one token of a subject. `what` names it in the error.

    Raises:
        ConfigurationError: it is not.
    """
    if not is_token(text):
        raise ConfigurationError(f'{what} "{text}" must be 1 to 64 characters of A-Z a-z 0-9 _ -')
    return text
