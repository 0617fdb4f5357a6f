"""Checks messages that follow an admitted call, such as the chunks of a transfer: they come from its caller, each once."""

from __future__ import annotations

import time
from collections.abc import Mapping

from trellis_nats.auth.replays import ReplayCache
from trellis_nats.auth.request_proof import SKEW, read_proof
from trellis_nats.errors import AuthError

__all__ = ["SessionProofs"]


class SessionProofs:
    """Checks the messages of one session on one subject."""

    def __init__(self, session_key: str, subject: str) -> None:
        """Accept only what the holder of the key has signed for the subject."""
        self._session_key = session_key
        self._subject = subject
        self._replays = ReplayCache()

    def is_proven(self, headers: Mapping[str, str], data: bytes) -> bool:
        """Return whether a message has a valid proof of the session, which no earlier one had."""
        try:
            proof = read_proof(headers, self._subject, data)
        except AuthError:
            return False
        at = time.time()
        return (
            proof.session_key == self._session_key
            and abs(at - proof.iat) <= SKEW
            and proof.is_valid()
            and self._replays.is_new(proof.session_key, proof.request_id, at=at, until=proof.iat + SKEW + 1)
        )
