"""The context that an RPC handler receives with the request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Self

from trellis_nats._calls.context import CallContext
from trellis_nats._calls.incoming import IncomingCall

__all__ = ["RpcContext"]


@dataclass(frozen=True, kw_only=True, slots=True)
class RpcContext(CallContext):
    """The call that a handler answers. Jobs and events that the handler makes inherit its request and trace."""

    deadline: datetime | None = None
    """When the caller stops waiting; the handler is cancelled then. None: the call does not give a time limit."""

    @classmethod
    def of_call(cls, call: IncomingCall) -> Self:
        """Return the context of a call."""
        carried = call.carried
        return cls(
            request_id=carried.request_id,
            trace_id=carried.trace_id,
            traceparent=carried.traceparent,
            tracestate=carried.tracestate,
            headers=call.headers,
            caller=call.caller,
            deadline=call.deadline,
        )
