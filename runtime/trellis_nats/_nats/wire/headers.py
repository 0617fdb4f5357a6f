"""Message headers: encoding and parsing. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

__all__ = ["ParsedHeaders", "encode_headers", "encode_lines", "parse_headers", "require_line"]

_VERSION: Final = "NATS/1.0"
_SPACE: Final = " \t\r\n\v\f"
"""ASCII white space; other kinds are part of a value."""
_LINES_MAX: Final = 256
_STATUS: Final = re.compile(r"[0-9]{1,3}")
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

ParsedHeaders = tuple[int, str, dict[str, str]]
"""Status (0 when there is none), its description, and the headers."""


def encode_headers(headers: Mapping[str, str] | bytes) -> bytes:
    """Encode headers, or their encoded lines, in the form of the protocol: after the version, before an empty line.

    Raises:
        ValueError: as `encode_lines`.
    """
    lines = headers if isinstance(headers, bytes) else encode_lines(headers)
    return b"NATS/1.0\r\n%b\r\n" % lines


def encode_lines(headers: Mapping[str, str]) -> bytes:
    """Encode headers, a line each.

    Raises:
        ValueError: a name is not an HTTP token, or a value contains a line break, which would forge a second header.
    """
    lines = ""
    for name, value in headers.items():
        _check_name(name)
        lines += f"{name}: {require_line(value)}\r\n"
    return lines.encode()


def require_line(value: str) -> str:
    """Return the value of a header if it is one line.

    Raises:
        ValueError: it contains a line break, which would forge a second header.
    """
    if "\n" in value or "\r" in value:
        raise ValueError(f"the header value {value[:80]!r} contains a line break")
    return value


@lru_cache(maxsize=256)  # names are few and the same in every message
def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise ValueError(f'"{name}" is not a valid header name')


def parse_headers(block: bytes) -> ParsedHeaders:
    """Parse a header block.

    The status is read from the first line only, so that no sender can forge one with a header called `Status`. Bytes
    that are not UTF-8 become U+FFFD; the last of several headers with one name wins. Only the
    last 256 lines are read: a megabyte of lines would take thirty in memory. A server adds its own at the end.
    """
    first, _, rest = block.decode("utf-8", "replace").partition("\r\n")
    headers: dict[str, str] = {}
    for line in rest.rsplit("\r\n", _LINES_MAX)[-_LINES_MAX:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip(_SPACE)] = value.strip(_SPACE)
    if len(first) == len(_VERSION):
        return 0, "", headers
    code, _, description = first[len(_VERSION) :].strip(_SPACE).partition(" ")
    return (int(code) if _STATUS.fullmatch(code) else 0), description, headers
