"""Starts spans, if the program has configured a tracer provider. Otherwise it costs one look into a dictionary."""

from __future__ import annotations

from collections.abc import Mapping

from trellis_nats._support.ambient_trace import is_api_loaded
from trellis_nats._tracing.descriptions import SpanDescription
from trellis_nats._tracing.span import UNTRACED, Span
from trellis_nats.context import Context

__all__ = ["carries_trace", "start_incoming", "start_outgoing", "start_received"]


def start_outgoing(description: SpanDescription) -> Span:
    """Start the span of a call, or of what makes a message.

    Its parent is the current span. In a handler that is the handler's span, or one that the handler started.
    """
    if not is_api_loaded():
        return UNTRACED
    from trellis_nats._tracing import otel  # noqa: PLC0415 - it imports OpenTelemetry

    return otel.start_outgoing(description)


def start_incoming(
    description: SpanDescription,
    carried: Context,
    *,
    is_received: bool = True,
    previous: Context | None = None,
) -> Span:
    """Start the span of what works on a message.

    Args:
        description: what it is called.
        carried: the context of the message. The span that made the message is the parent, and there is a link to it.
        is_received: whether the message carried its trace. If not, the span begins a new trace.
        previous: the context of the previous attempt, which gets a link.
    """
    if not is_api_loaded():
        return UNTRACED
    from trellis_nats._tracing import otel  # noqa: PLC0415 - likewise

    return otel.start_incoming(description, carried, is_received=is_received, previous=previous)


def start_received(description: SpanDescription, carried: Context, *, is_received: bool) -> Span:
    """Start the span of a reader that takes a message: below the reader's own span, if it runs in one.

    Else it is as `start_incoming`.
    """
    if not is_api_loaded():
        return UNTRACED
    from trellis_nats._tracing import otel  # noqa: PLC0415 - likewise

    return otel.start_received(description, carried, is_received=is_received)


def carries_trace(headers: Mapping[str, str], context: Context) -> bool:
    """Return whether the trace of a context was read from these headers, and not generated."""
    return headers.get("traceparent") == context.traceparent
