"""The context that an RPC handler receives with the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from trellis_nats._calls.incoming import IncomingCall

__all__ = ["RpcContext"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RpcContext:
    """The call that a handler answers. Jobs and events that the handler makes inherit its request and trace."""

    request_id: str
    """The caller's id of this call."""
    trace_id: str
    """32 lower-case hexadecimal digits."""
    traceparent: str
    """As in W3C Trace Context."""
    tracestate: str | None = None
    deadline: datetime | None = None
    """When the caller stops waiting; the handler is cancelled then. None: the call does not give a time limit."""
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
            deadline=call.deadline,
            headers=call.headers,
        )
