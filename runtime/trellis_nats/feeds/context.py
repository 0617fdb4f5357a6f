"""The context that a feed's handler receives with the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from trellis_nats._calls.incoming import IncomingCall

__all__ = ["FeedContext"]


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedContext:
    """The call that opened a feed. Jobs and events that the handler makes inherit its request and trace."""

    request_id: str
    """The caller's id of this call."""
    trace_id: str
    """32 lower-case hexadecimal digits."""
    traceparent: str
    """As in W3C Trace Context."""
    tracestate: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """As the caller sent them. In open mode they are not verified."""

    @classmethod
    def of_call(cls, call: IncomingCall) -> Self:
        """Return the context of a call."""
        return cls(
            request_id=call.request_id,
            trace_id=call.carried.trace_id,
            traceparent=call.carried.traceparent,
            tracestate=call.carried.tracestate,
            headers=call.headers,
        )
