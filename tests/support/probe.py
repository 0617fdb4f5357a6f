"""Probes a health listener as an orchestrator does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import cast

from pydantic_core import from_json

__all__ = ["Answer", "exchange", "is_ready", "probe"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of the listener."""

    status: int
    headers: dict[str, str]
    body: bytes

    def errors(self) -> dict[str, str]:
        """Return the texts of the failed checks of a report."""
        checks = cast("list[dict[str, str]]", from_json(self.body)["checks"])
        return {check["name"]: check["error"] for check in checks if check["status"] == "failed"}


async def exchange(address: str, request: bytes) -> bytes:
    """Send bytes, and return all that comes back before the listener closes."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def probe(address: str, path: str, *, method: str = "GET") -> Answer:
    """Send one probe."""
    raw = await exchange(address, f"{method} {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
    return Answer(int(line.split(" ")[1]), headers, body)


async def is_ready(address: str) -> bool:
    """Return whether the service is ready."""
    return (await probe(address, "/readyz")).status == 200
