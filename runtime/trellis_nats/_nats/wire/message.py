"""A message that arrives on a subscription, or as a reply."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

__all__ = ["NO_HEADERS", "NO_RESPONDERS", "Message", "memory_of"]

NO_RESPONDERS: Final = 503
"""The status with which a server answers a request to a subject without subscribers."""

_HEADER_BYTES: Final = 150
"""What a header takes in memory in addition to its characters."""
NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


class Message(NamedTuple):
    """One message of core NATS. A tuple: creating a frozen dataclass for each message takes twice as long."""

    subject: str
    data: bytes
    headers: Mapping[str, str]
    """The last one where several have the same name."""
    reply: str = ""
    """The reply subject; empty when the sender expects no reply."""
    status: int = 0
    """Set by servers only (404, 408, 409, 503 …); 0 when there is none."""
    description: str = ""
    """The server's text for the status. It differs between versions: decide by the status."""


def memory_of(data: bytes, headers: Mapping[str, str]) -> int:
    """Return about how many bytes of memory a message takes: its sender may put all of it into headers."""
    texts = sum(map(len, headers)) + sum(map(len, headers.values()))
    return len(data) + texts + _HEADER_BYTES * len(headers)
