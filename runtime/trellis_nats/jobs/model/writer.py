"""The version of the contract that wrote an event, as a header says it. Pure. Other runtimes ignore the header."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["DIGEST_HEADER", "digest_line", "digest_of"]

DIGEST_HEADER: Final = "trellis-contract-digest"
_DIGEST: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def digest_line(digest: str) -> bytes:
    """Return the header as it is encoded; nothing for an unknown digest, which is empty."""
    return f"{DIGEST_HEADER}: {digest}\r\n".encode() if digest else b""


def digest_of(headers: Mapping[str, str]) -> str:
    """Return the digest of the contract that wrote a message; empty where the message does not say."""
    digest = headers.get(DIGEST_HEADER, "")
    return digest if _DIGEST.fullmatch(digest) else ""
