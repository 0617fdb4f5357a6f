"""Base64url without padding, as keys and signatures are written on the wire. Pure."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

__all__ = ["decode_base64url", "encode_base64url"]

_TEXT: Final = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


def encode_base64url(data: bytes) -> str:
    """Write bytes as text."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_base64url(text: str, *, size: int) -> bytes:
    """Read the text of a number of bytes. There is one text for each value: no padding, no unused bits.

    Raises:
        ValueError: it is not such a text.
    """
    if len(text) != -(-size * 8 // 6) or _TEXT.fullmatch(text) is None:
        raise ValueError(f"{size} bytes of base64url without padding are expected")
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode_base64url(data) != text:
        raise ValueError("the last character has unused bits")
    return data
