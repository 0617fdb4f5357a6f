"""A man in the middle that removes TLS from the greeting, and records all that a client sends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.support.listening import listening

__all__ = ["CERTIFICATES", "TLS", "Stripper", "stripping"]

CERTIFICATES: Final = Path(__file__).parent / "tls"
TLS: Final = (
    f'tls {{ cert_file: "{CERTIFICATES / "server.pem"}", key_file: "{CERTIFICATES / "server.key"}" }}'
)
"""The configuration of a server that insists on TLS."""

_GREETING: Final[Mapping[str, object]] = {
    "server_id": "X",
    "version": "2.15.1",
    "proto": 1,
    "max_payload": 1048576,
    "headers": True,
    "nonce": "bm90aGluZw",
    "auth_required": True,
}


class Stripper:
    """A server whose greeting does not offer TLS; `greeting` adds to it."""

    def __init__(self, greeting: Mapping[str, object]) -> None:
        self.received = bytearray()
        """Everything that clients have sent."""
        self.clients = 0
        self._greeting = {**_GREETING, **greeting}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Greet a client, and record what it sends until it disconnects."""
        self.clients += 1
        writer.write(b"INFO " + json.dumps(self._greeting).encode() + b"\r\n")
        while chunk := await reader.read(4096):
            self.received += chunk


@asynccontextmanager
async def stripping(
    greeting: Mapping[str, object] | None = None, *, port: int = 0
) -> AsyncGenerator[tuple[Stripper, int]]:
    """Run one on loopback that adds this to its greeting, for the length of an `async with` block; gives its port too."""
    stripper = Stripper(greeting or {})
    async with listening(stripper.serve, port=port) as bound:
        yield stripper, bound
