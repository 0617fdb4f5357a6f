"""Signs the requests of a program."""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from trellis_nats.auth.request_proof import proof_digest
from trellis_nats.auth.session_key import SessionKey

__all__ = ["Signer"]


class Signer:
    """Writes the headers that prove requests."""

    def __init__(self, key: SessionKey, clock: Callable[[], float] = time.time) -> None:
        """Prepare; `clock` returns the time of signatures, in seconds since 1970."""
        self.key: Final = key
        self._clock = clock

    def headers(self, subject: str, data: bytes, request_id: str) -> dict[str, str]:
        """Return the headers that prove a request, without its `request-id`, which the context of the call writes.

        A service accepts each request id once, and a proof for 30 s.
        """
        iat = str(int(self._clock()))
        digest = proof_digest(self.key.public, subject, sha256(data).digest(), iat, request_id)
        return {"session-key": self.key.public, "proof": self.key.sign(digest), "iat": iat}

    def header_lines(self, subject: str, data: bytes, request_id: str) -> bytes:
        """Return the same headers as they are encoded, a line each."""
        lines = (f"{name}: {text}\r\n" for name, text in self.headers(subject, data, request_id).items())
        return "".join(lines).encode()
