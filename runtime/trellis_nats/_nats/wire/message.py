"""What arrives on a subscription, or as an answer."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from trellis_nats._nats.wire.headers import parse_headers

__all__ = ["NO_RESPONDERS", "Message", "read_message"]

NO_RESPONDERS: Final = 503
"""The status with which a server answers a request that nobody listens to."""

_NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Message(NamedTuple):
    """One message of core NATS. A tuple, because it is made for every message and a frozen class takes twice as long."""

    subject: str
    data: bytes
    headers: Mapping[str, str]
    """The last of several values under one name."""
    reply: str = ""
    """Where an answer is awaited; empty when nowhere."""
    status: int = 0
    """Set by a server (404, 408, 409, 503 …), never by a sender; 0 when there is none."""
    description: str = ""
    """The server's words for the status. They differ between versions: decide by the status."""


def read_message(subject: bytes, reply: bytes, data: bytes, header_block: bytes | None) -> Message:
    """Build a message of what the parser found."""
    if not header_block:
        return Message(subject.decode(), data, _NO_HEADERS, reply.decode())
    status, description, headers = parse_headers(header_block)
    return Message(subject.decode(), data, headers, reply.decode(), status, description)
