"""Which version of a contract wrote a message, and how long one waits that this version cannot read. Pure.

Jobs, calls, events, feeds and operations carry the digest of the contract by which they were written, as a header. Other
runtimes neither send nor read it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from trellis_nats.errors import InvalidPayload

__all__ = [
    "DIGEST_HEADER",
    "ContractVersion",
    "digest_line",
    "digest_of",
    "is_digest",
    "version_delay",
    "waited_for",
]

DIGEST_HEADER: Final = "trellis-contract-digest"
_DIGEST: Final = re.compile(r"[A-Za-z0-9_-]{43}")

_STEP: Final = timedelta(seconds=1)
_QUICK: Final = 10
"""Deliveries that are delayed by one step only: where half of the processes can read it, one of them has it by then."""
_LONGEST: Final = 30
"""Steps. Where no process can read them, 10,000 messages cost 333 redeliveries a second."""


class ContractVersion:
    """The version of the contract by which this process reads and writes."""

    def __init__(self, digest: str) -> None:
        """Prepare; a `digest` that is empty is not known, and then nothing is another version."""
        self.digest: Final = digest
        self.header_line: Final = digest_line(digest)
        """The header as it is encoded; empty for an unknown digest."""
        self.headers: Final[Mapping[str, str]] = {DIGEST_HEADER: digest} if digest else {}

    def is_other(self, digest: str) -> bool:
        """Return whether a digest is that of another version; an unknown one, which is empty, is not."""
        return bool(digest and self.digest) and digest != self.digest

    def mark(self, headers: Mapping[str, str] | None) -> Mapping[str, str] | bytes:
        """Return the headers of a message that this version writes, this one included."""
        return {**headers, **self.headers} if headers else self.header_line

    def find_other(self, headers: Mapping[str, str]) -> str | None:
        """Return the digest of the version that wrote a message, if it is another one."""
        digest = digest_of(headers)
        return digest if self.is_other(digest) else None

    def explain(self, error: InvalidPayload, headers: Mapping[str, str]) -> InvalidPayload:
        """Return the error for a message that could not be read; it names both versions if another one wrote the message."""
        other = self.find_other(headers)
        return error if other is None else error.written_by(other, reader_digest=self.digest)


def digest_line(digest: str) -> bytes:
    """Return the header as it is encoded; nothing for an unknown digest, which is empty."""
    return f"{DIGEST_HEADER}: {digest}\r\n".encode() if digest else b""


def digest_of(headers: Mapping[str, str]) -> str:
    """Return the digest of the contract that wrote a message; empty where the message does not say."""
    digest = headers.get(DIGEST_HEADER, "")
    return digest if is_digest(digest) else ""


def is_digest(text: str) -> bool:
    """Return whether a text has the form of a digest: 43 characters of base64url."""
    return _DIGEST.fullmatch(text) is not None


def version_delay(delivered: int) -> timedelta:
    """Return the delay before the next delivery of a message that this version cannot read."""
    return _STEP * min(max(delivered - _QUICK + 1, 1), _LONGEST)


def waited_for(delivered: int) -> timedelta:
    """Return how long a message has waited that had this delay at each delivery before this one."""
    before = delivered - 1
    growing = min(max(before - _QUICK, 0), _LONGEST - 1)
    steady = max(before - _QUICK - growing, 0)
    return _STEP * (min(before, _QUICK) + growing * (growing + 3) // 2 + steady * _LONGEST)
