"""A call as it arrived. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from trellis_nats._nats.wire.message import Message
from trellis_nats.context import Context
from trellis_nats.rpc.context import RpcContext
from trellis_nats.rpc.headers import read_timeout

__all__ = ["IncomingCall", "read_call"]


@dataclass(frozen=True, kw_only=True, slots=True)
class IncomingCall:
    """A call that is not answered yet."""

    data: bytes
    reply_subject: str
    carried: Context
    """What the jobs, calls and events that the handler makes inherit."""
    timeout: timedelta | None
    """How long the caller waits after the call arrived. None: the call does not give a time limit."""
    context: RpcContext
    """What the handler gets."""


def read_call(message: Message, *, at: datetime) -> IncomingCall:
    """Read a call that arrived at an instant."""
    carried = Context.of_headers(message.headers)
    timeout = read_timeout(message.headers)
    return IncomingCall(
        data=message.data,
        reply_subject=message.reply,
        carried=carried,
        timeout=timeout,
        context=RpcContext(
            request_id=carried.request_id,
            trace_id=carried.trace_id,
            traceparent=carried.traceparent,
            tracestate=carried.tracestate,
            deadline=None if timeout is None else at + timeout,
            headers=message.headers,
        ),
    )
