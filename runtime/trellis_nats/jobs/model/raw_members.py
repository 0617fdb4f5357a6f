"""Reads members of a stored JSON object as their bytes, so that a copy has every digit and every order. Pure.

Parsed and written again, a payload changes: a number like 1e400 becomes an infinity, 1.10 becomes 1.1, and text with a lone
surrogate, which JavaScript writes, cannot be written at all.
"""

from __future__ import annotations

import json
import re
from typing import Final

__all__ = ["raw_members"]

_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_SCALAR: Final = re.compile(rb"[^ \t\r\n,}\]]+")
_INSIDE: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)
"""What matters inside an array or an object: its strings, which may contain brackets, and its brackets."""
_BOM: Final = b"\xef\xbb\xbf"


def raw_members(data: bytes) -> dict[str, bytes]:
    """Return the members of a JSON object, each as the bytes of its value.

    Of two members with one name, the last one counts, as for every parser of this runtime.

    Args:
        data: the object. It has been parsed before: only its form is read here, and only as far as that is needed.

    Raises:
        ValueError: it is not a JSON object in UTF-8.
    """
    members: dict[str, bytes] = {}
    at = _skip_space(data, len(_BOM) if data.startswith(_BOM) else 0)
    closing = _expect(data, at, b"{")
    while data[_skip_space(data, closing) : _skip_space(data, closing) + 1] != b"}":
        if members:
            closing = _expect(data, _skip_space(data, closing), b",")
        name = _STRING.match(data, _skip_space(data, closing))
        if name is None:
            raise ValueError(f"no member begins at byte {closing}")
        start = _skip_space(data, _expect(data, _skip_space(data, name.end()), b":"))
        closing = _end_of_value(data, start)
        members[json.loads(name[0])] = data[start:closing]
    return members


def _end_of_value(data: bytes, start: int) -> int:
    first = data[start : start + 1]
    if first not in (b"{", b"["):
        found = (_STRING if first == b'"' else _SCALAR).match(data, start)
        if found is None:
            raise ValueError(f"no value begins at byte {start}")
        return found.end()
    depth = 0
    for token in _INSIDE.finditer(data, start):
        if token[0] in (b"{", b"["):
            depth += 1
        elif token[0] in (b"}", b"]"):
            depth -= 1
            if not depth:
                return token.end()
    raise ValueError(f"the value at byte {start} does not end")


def _skip_space(data: bytes, at: int) -> int:
    found = _SPACE.match(data, at)
    return at if found is None else found.end()


def _expect(data: bytes, at: int, character: bytes) -> int:
    if data[at : at + 1] != character:
        raise ValueError(f"{character.decode()} is missing at byte {at}")
    return at + 1
