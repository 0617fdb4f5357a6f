"""The version of the contract that wrote an event, as a header says it. Pure. Other runtimes ignore the header."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from trellis_nats.jobs.model.event import StoredEvent

__all__ = ["DIGEST_HEADER", "digest_line", "digest_of", "is_digest", "payload_writer"]

DIGEST_HEADER: Final = "trellis-contract-digest"
_DIGEST: Final = re.compile(r"[A-Za-z0-9_-]{43}")


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


def payload_writer(opened: StoredEvent, created: StoredEvent) -> str:
    """Return the digest of the contract that wrote the payload of a job; empty where that is not known.

    An operator of another runtime who retries a job repeats its payload in an event without a digest.

    Args:
        opened: the `created` or `retried` event with the payload.
        created: the event that created the job.
    """
    is_repeated = not opened.digest and opened.event.payload == created.event.payload
    return created.digest if is_repeated else opened.digest
