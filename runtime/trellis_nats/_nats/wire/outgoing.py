"""Outgoing protocol commands: checks and encoding. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from trellis_nats._nats.wire.headers import encode_headers
from trellis_nats.errors import PayloadTooLarge

__all__ = ["encode_publish", "encode_subscribe", "encode_unsubscribe", "is_subject", "require_subject"]

_SUBJECT_MAX: Final = 1024
"""A server ends the connection over a control line of more than 4096 bytes; 1 KiB leaves room for the rest of it."""
_MARGIN_BYTES: Final = 512
"""Kept free below the server's limit, which includes headers, also those that it adds to store and source messages."""


def is_subject(subject: str) -> bool:
    """Return whether the protocol can carry a subject: 1 to 1024 characters, no white space, no control character."""
    return 0 < len(subject) <= _SUBJECT_MAX and subject.isprintable() and " " not in subject


def require_subject(subject: str) -> str:
    """Return the subject if the protocol can carry it.

    Raises:
        ValueError: it is empty, longer than 1024 characters, or contains white space or a control character.
    """
    if not is_subject(subject):
        raise ValueError(f"{subject[:80]!r} is not a valid subject")
    return subject


def encode_publish(
    subject: str, data: bytes, headers: Mapping[str, str] | bytes | None, reply: str, max_payload_bytes: int
) -> bytes:
    """Encode a PUB, or an HPUB if there are headers; headers in bytes are encoded lines.

    Raises:
        PayloadTooLarge: data and headers exceed the server's limit.
        ValueError: the subject or a header is malformed.
    """
    require_subject(subject)
    block = encode_headers(headers) if headers else b""
    size_bytes = len(block) + len(data)
    # Acknowledgements fit whatever the limit is: without them, a job that runs would be given to a second worker.
    limit_bytes = max(max_payload_bytes - _MARGIN_BYTES, max_payload_bytes // 2)
    if size_bytes > limit_bytes:
        raise PayloadTooLarge(subject, size_bytes=size_bytes, limit_bytes=limit_bytes)
    if block:
        return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (
            subject.encode(),
            reply.encode(),
            len(block),
            size_bytes,
            block,
            data,
        )
    return b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), reply.encode(), size_bytes, data)


def encode_subscribe(subject: str, queue: str, number: int) -> bytes:
    """Encode a SUB."""
    return f"SUB {subject} {queue} {number}\r\n".encode()


def encode_unsubscribe(number: int) -> bytes:
    """Encode an UNSUB."""
    return f"UNSUB {number}\r\n".encode()
