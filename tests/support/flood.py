"""Sends refused requests at a rate, in a process of its own: unsigned, of unknown keys, forged, and replayed."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Final

from trellis_nats.auth import SessionKey, Signer
from trellis_nats.ids import new_id

from tests.support.raw_publisher import RawPublisher

__all__ = ["KINDS"]

_TICK: Final = 0.01
_CONNECT: Final = b'CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true}\r\n'


def _headers(lines: dict[str, str]) -> bytes:
    return (
        b"NATS/1.0\r\n" + b"".join(f"{name}: {text}\r\n".encode() for name, text in lines.items()) + b"\r\n"
    )


class Flood:
    """Writes the headers of bad requests to one subject, with one body."""

    def __init__(self, subject: str, body: bytes, known: SessionKey) -> None:
        self._subject, self._body = subject, body
        self._known, self._unknown = Signer(known), Signer(SessionKey.generate())
        self._replayed = self.sign(self._known)
        self._forged = self.sign(self._known)

    def sign(self, signer: Signer) -> bytes:
        """Return headers with a valid proof."""
        request_id = new_id()
        return _headers({"request-id": request_id, **signer.headers(self._subject, self._body, request_id)})

    def unsigned(self) -> bytes:
        """Return headers without a proof."""
        return _headers({"request-id": new_id()})

    def unknown(self) -> bytes:
        """Return the headers of a key that the service does not know, with a valid proof."""
        return self.sign(self._unknown)

    def forged(self) -> bytes:
        """Return the headers of a known key with a proof of another request."""
        return self._forged.replace(b"request-id: 0", b"request-id: 1")

    def replayed(self) -> bytes:
        """Return headers that are valid, and always the same."""
        return self._replayed


KINDS: Final[dict[str, Callable[[Flood], bytes]]] = {
    "unsigned": Flood.unsigned,
    "unknown": Flood.unknown,
    "forged": Flood.forged,
    "replayed": Flood.replayed,
}


async def main(port: int, subject: str, body: str, seed: str, rate: int, seconds: float) -> None:
    """Send `rate` requests each second, a quarter of each kind; print how many were sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_CONNECT)
    raw = RawPublisher(reader, writer)
    known = SessionKey.from_seed(seed)
    flood = Flood(subject, body.encode(), known)
    reply = f"{known.inbox_prefix}.flood".encode()
    began, sent = time.monotonic(), 0
    makers = list(KINDS.values())
    while (elapsed := time.monotonic() - began) < seconds:
        for _ in range(sent, int(elapsed * rate)):
            raw.publish(
                subject.encode(), body.encode(), reply=reply, headers=makers[sent % len(makers)](flood)
            )
            sent += 1
        await raw.flush()
        await asyncio.sleep(_TICK)
    writer.close()
    print(sent)  # noqa: T201 - how the test learns it


if __name__ == "__main__":
    asyncio.run(
        main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), float(sys.argv[6]))
    )
