"""Message headers: text to bytes and back; no network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["ParsedHeaders", "encode_headers", "parse_headers"]

_VERSION: Final = b"NATS/1.0"
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_LINE_END: Final = re.compile(r"[\r\n]")

ParsedHeaders = tuple[int, str, dict[str, str]]
"""Status (0 when there is none), its description, and the headers proper."""


def encode_headers(headers: Mapping[str, str]) -> bytes:
    """Write headers as the protocol has them, with the empty line that ends them.

    Raises:
        ValueError: a name is no HTTP token, or a value holds a line end, which would forge a second header.
    """
    lines = [_VERSION]
    for name, value in headers.items():
        if _NAME.fullmatch(name) is None:
            raise ValueError(f'"{name}" cannot be the name of a header')
        if _LINE_END.search(value) is not None:
            raise ValueError(f'the value of header "{name}" holds a line end')
        lines.append(f"{name}: {value}".encode())
    return b"\r\n".join(lines) + b"\r\n\r\n"


def parse_headers(block: bytes) -> ParsedHeaders:
    """Read a header block.

    The status is taken from the first line only, so that no sender can forge one by a header called `Status`. Bytes
    that are no UTF-8 become U+FFFD; the last of several headers with one name wins.
    """
    first, *lines = block.split(b"\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.strip().decode("utf-8", "replace")] = value.strip().decode("utf-8", "replace")
    code, _, description = first[len(_VERSION) :].strip().partition(b" ")
    return (int(code) if code.isdigit() else 0), description.decode("utf-8", "replace"), headers
