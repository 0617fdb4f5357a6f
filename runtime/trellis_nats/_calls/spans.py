"""The spans of calls: one of the caller, one of the service."""

from __future__ import annotations

from trellis_nats._calls.incoming import IncomingCall
from trellis_nats._support.ambient_trace import is_api_loaded
from trellis_nats._tracing.descriptions import REQUEST_ID, STATUS_CODE, SpanDescription
from trellis_nats._tracing.span import UNTRACED, Span
from trellis_nats._tracing.tracer import carries_trace, start_incoming
from trellis_nats.errors import DeclaredError, RemoteError, RpcError

__all__ = ["name_error", "set_status", "trace_call"]


def trace_call(call: IncomingCall, description: SpanDescription) -> IncomingCall:
    """Start the span of a call, in the task that serves it. It is the current span of that task from then on.

        call = trace_call(call, self._description)
        with call.span:
            …

    What the handler makes belongs to the span. A caller that sends no trace gets a new one.
    """
    if not is_api_loaded():
        return call
    is_received = carries_trace(call.headers, call.carried)
    span = start_incoming(description, call.carried, is_received=is_received)
    if span is UNTRACED:
        return call
    span.activate()
    span.set(REQUEST_ID, call.request_id)
    return call._replace(span=span, carried=span.join(call.carried))


def set_status(span: Span, error: RpcError) -> None:
    """Set the type of the error with which a call is answered."""
    span.set(STATUS_CODE, name_error(error))


def name_error(error: RpcError) -> str:
    """Return the type of an error on the wire."""
    if isinstance(error, DeclaredError):
        return error.error_type
    return str(error.error.get("type")) if isinstance(error, RemoteError) else type(error).__name__
