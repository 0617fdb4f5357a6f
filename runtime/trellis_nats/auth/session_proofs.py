"""Checks messages that follow an admitted call, such as the chunks of a transfer: they come from its caller, each once."""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic

from trellis_nats.auth.replays import ReplayCache
from trellis_nats.auth.request_proof import SKEW, read_proof
from trellis_nats.errors import AuthError

__all__ = ["SessionProofs"]


class SessionProofs:
    """Checks the messages of one session on one subject, which nothing else uses before or after it."""

    def __init__(self, session_key: str, subject: str) -> None:
        """Accept only what the holder of the key has signed for the subject."""
        self._session_key = session_key
        self._subject = subject
        self._replays = ReplayCache()
        self._offset: float | None = None
        """Of the caller's clock, by the first message: that may differ from the clock here by more than a proof is valid."""

    def is_proven(self, headers: Mapping[str, str], data: bytes) -> bool:
        """Return whether a message has a valid proof of the session, which no earlier one had."""
        try:
            proof = read_proof(headers, self._subject, data)
        except AuthError:
            return False
        if proof.session_key != self._session_key or not proof.is_valid():
            return False
        if self._offset is None:
            self._offset = proof.iat - monotonic()
        at = monotonic() + self._offset
        return abs(at - proof.iat) <= SKEW and self._replays.is_new(
            proof.session_key, proof.request_id, at=at, until=proof.iat + SKEW + 1
        )
