"""The headers of calls and replies. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from trellis_nats._nats.wire.outgoing import is_subject
from trellis_nats.clock import from_milliseconds, to_milliseconds

__all__ = ["ERROR_HEADERS", "is_error", "is_reply_subject", "read_timeout", "timeout_line"]

ERROR_HEADERS: Final[Mapping[str, str]] = MappingProxyType({"status": "error"})
"""Of every error reply. A successful reply of another runtime has no headers."""

_TIMEOUT: Final = "trellis-timeout-ms"
_DIGITS_MAX: Final = 10
_MILLISECONDS: Final = re.compile(r"[0-9]+", re.ASCII)
_WILDCARD: Final = re.compile(r"(?:^|\.)[*>](?:\.|$)")
_NOT_UTF8: Final = "\ufffd"
"""Stands for the bytes of a subject that are not UTF-8."""
_NEVER_REPLY_SUBJECTS: Final = ("$", "events.", "feeds.", "operations.", "rpc.", "transfer.", "trellis.")
"""A caller that names one of these would have the service publish there with the service's own permissions."""


def is_error(headers: Mapping[str, str]) -> bool:
    """Return whether a reply is an error."""
    return headers.get("status") == "error"


def is_reply_subject(subject: str) -> bool:
    """Return whether a reply may, and can, be sent to the subject that a caller names."""
    return (
        is_subject(subject)
        and not subject.startswith(_NEVER_REPLY_SUBJECTS)
        and _NOT_UTF8 not in subject
        and not (("*" in subject or ">" in subject) and _WILDCARD.search(subject))
    )


@lru_cache(maxsize=64)  # the calls of a process have few timeouts
def timeout_line(timeout: timedelta) -> bytes:
    """Return the line of the header that says how long the caller waits."""
    return b"%b: %d\r\n" % (_TIMEOUT.encode(), max(1, to_milliseconds(timeout)))


def read_timeout(headers: Mapping[str, str]) -> timedelta | None:
    """Read how long the caller waits; None when the header is missing or malformed."""
    text = headers.get(_TIMEOUT)
    return None if text is None or len(text) > _DIGITS_MAX else _parse_timeout(text)


@lru_cache(maxsize=64)  # likewise
def _parse_timeout(text: str) -> timedelta | None:
    return from_milliseconds(int(text)) if _MILLISECONDS.fullmatch(text) else None
