"""Checks that NATS allows a key. Pure."""

from __future__ import annotations

import re
from typing import Final

from trellis_nats.errors import InvalidKey

__all__ = ["is_key", "require_key", "require_pattern"]

_KEY: Final = re.compile(r"[-/_=.A-Za-z0-9]{1,512}")
"""512 leaves room for the bucket's name: a server takes subjects of about 1,000 characters."""


def is_key(text: str) -> bool:
    """Return whether the text is a valid key: 1 to 512 of `A-Z a-z 0-9 - / _ = .`, without an empty part between dots."""
    return _KEY.fullmatch(text) is not None and "" not in text.split(".")


def require_key(bucket: str, key: str) -> str:
    """Return the key if NATS allows it.

    Raises:
        InvalidKey: it does not.
    """
    if not is_key(key):
        raise InvalidKey(
            "a key must be 1 to 512 of A-Z a-z 0-9 - / _ = . without a dot at either end or two dots in a row",
            bucket=bucket,
            key=key,
        )
    return key


def require_pattern(bucket: str, pattern: str) -> str:
    """Return a pattern of keys: a key in which `*` may stand for one part between dots, and `>` for all parts at the end.

    Raises:
        InvalidKey: it is not one.
    """
    *parts, last = pattern.split(".")
    if not all(part == "*" or is_key(part) for part in parts) or not (last in {"*", ">"} or is_key(last)):
        raise InvalidKey(
            "a pattern must be a key, with * for a part between dots, or > for all parts at its end",
            bucket=bucket,
            key=pattern,
        )
    return pattern
