"""The context that a feed's handler receives with the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from trellis_nats._calls.context import CallContext
from trellis_nats._calls.incoming import IncomingCall

__all__ = ["FeedContext"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedContext(CallContext):
    """The call that opened a feed. Jobs and events that the handler makes inherit its request and trace."""

    @classmethod
    def of_call(cls, call: IncomingCall) -> Self:
        """Return the context of a call."""
        return cls(**call.context_members())
