"""A call as it arrived. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple, TypedDict

from trellis_nats._calls.headers import read_timeout
from trellis_nats._nats.wire.message import Message
from trellis_nats._tracing.span import UNTRACED, Span
from trellis_nats.auth import Caller
from trellis_nats.context import Context

__all__ = ["ContextMembers", "IncomingCall", "read_call"]


class ContextMembers(TypedDict):
    """The arguments of a `CallContext`."""

    request_id: str
    trace_id: str
    traceparent: str
    tracestate: str | None
    headers: Mapping[str, str]
    caller: Caller | None


class IncomingCall(NamedTuple):
    """A call that is not answered yet. A tuple, as `Message`."""

    data: bytes
    headers: Mapping[str, str]
    reply_subject: str
    carried: Context
    """What the jobs, calls and events that the handler makes inherit."""
    timeout: timedelta | None
    """How long the caller waits after the call arrived. None: the call does not give a time limit."""
    deadline: datetime | None
    """When the caller stops waiting. None: the call does not give a time limit."""
    span: Span = UNTRACED
    """The span in which it is served."""
    operation_id: str | None = None
    """The operation that it started."""
    caller: Caller | None = None
    """The caller, once it was checked. None in open mode."""

    @property
    def request_id(self) -> str:
        """The caller's id of the call."""
        return self.carried.request_id

    def context_members(self) -> ContextMembers:
        """Return what every handler learns about its call."""
        return ContextMembers(
            request_id=self.request_id,
            trace_id=self.carried.trace_id,
            traceparent=self.carried.traceparent,
            tracestate=self.carried.tracestate,
            headers=self.headers,
            caller=self.caller,
        )


def read_call(message: Message, *, at: datetime) -> IncomingCall:
    """Read a call that arrived at an instant."""
    headers = message.headers
    timeout = read_timeout(headers)
    deadline = None if timeout is None else at + timeout
    return IncomingCall(message.data, headers, message.reply, Context.of_headers(headers), timeout, deadline)
