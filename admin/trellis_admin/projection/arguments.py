"""The blind index of payloads: hashes of their scalars, so that jobs are found by an argument without storing any. Pure.

A scalar is named by the members that lead to it, with dots between them: `customer.id`. Items of arrays have no name of
their own: `lines.sku` is that of every line. Numbers are compared as they are written: `7.0` is not `7`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final, cast

__all__ = ["hash_argument", "list_arguments"]

_ARGUMENTS_MAX: Final = 16
"""Scalars of a payload that are indexed: those nearest to its root come first."""
_VISITED_MAX: Final = 500
"""Values of a payload that are looked at."""
_TEXT_MAX: Final = 1_000
"""Longer strings are not indexed."""


def hash_argument(salt: bytes, name: str, value: str) -> int:
    """Return the hash of a scalar, as a signed number of 64 bits.

    Args:
        salt: that of the file, so that equal arguments have other hashes elsewhere.
        name: the members that lead to the scalar; a JSON pointer is understood too.
        value: a string as it is; a number, `true`, `false` or `null` as JSON writes it.
    """
    path = name.removeprefix("/").replace("/", ".") if name.startswith("/") else name
    digest = hashlib.blake2b(
        f"{path}\0{value}".encode(errors="surrogatepass"), digest_size=8, key=salt
    ).digest()
    return int.from_bytes(digest, "big", signed=True)


def list_arguments(payload: object, salt: bytes) -> list[int]:
    """Return the hashes of the scalars of a payload whose numbers are kept as text: see `read_members`."""
    found: dict[int, None] = {}
    for name, value in _scalars(payload):
        if len(found) == _ARGUMENTS_MAX:
            break
        if len(value) <= _TEXT_MAX:
            found[hash_argument(salt, name, value)] = None
    return list(found)


def _scalars(payload: object) -> Iterator[tuple[str, str]]:
    """Yield names and scalars, level by level."""
    level: list[tuple[str, object]] = [("", payload)]
    visited = 0
    while level:
        deeper: list[tuple[str, object]] = []
        for name, value in level:
            visited += 1
            if visited > _VISITED_MAX:
                return
            if isinstance(value, dict):
                members = cast("dict[str, object]", value)
                deeper += [
                    (f"{name}.{member}" if name else member, inner) for member, inner in members.items()
                ]
            elif isinstance(value, list):
                items = cast("list[object]", value)
                deeper += [(name, item) for item in items[:_VISITED_MAX]]
            elif name:
                yield name, _write(value)
        level = deeper


def _write(value: object) -> str:
    if isinstance(value, str):
        return value
    return "null" if value is None else str(value).lower()
