"""Session keys of tests, and an authority that knows some of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from trellis_nats import AuthError
from trellis_nats.auth import Admitted, Caller, RequestProof, SessionKey

__all__ = ["OTHER", "SHOP", "KnownKeys"]

SHOP: Final = SessionKey.from_seed("IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI")
OTHER: Final = SessionKey.from_seed("MzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzMzM")


@dataclass
class KnownKeys:
    """An authority that knows some keys."""

    capabilities: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])
    """Public key → what it may do."""

    @classmethod
    def of(cls, *keys: SessionKey, capabilities: tuple[str, ...] = ()) -> KnownKeys:
        """Know some keys, which all hold the same."""
        return cls({key.public: frozenset(capabilities) for key in keys})

    async def judge(self, proof: RequestProof, capabilities: tuple[str, ...]) -> Admitted:
        """Judge a request."""
        held = self.capabilities.get(proof.session_key)
        if held is None:
            raise AuthError("session_not_found")
        caller = Caller(session_key=proof.session_key, name="shop", capabilities=held)
        return Admitted(caller, held.issuperset(capabilities), f"_INBOX.{proof.session_key[:16]}")
