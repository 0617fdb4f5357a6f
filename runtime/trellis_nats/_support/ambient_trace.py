"""The OpenTelemetry span in which the program runs. The runtime does not import OpenTelemetry for a program that does not."""

from __future__ import annotations

import sys
from typing import Final, NamedTuple

__all__ = ["AmbientTrace", "ambient_trace", "is_api_loaded"]

_API: Final = "opentelemetry.trace"


class AmbientTrace(NamedTuple):
    """The ids of a span."""

    trace_id: str
    traceparent: str
    """As in W3C Trace Context."""
    tracestate: str | None


def is_api_loaded() -> bool:
    """Return whether the program has imported the tracing API. Without it, there is neither a span nor a provider."""
    return sys.modules.get(_API) is not None


def ambient_trace() -> AmbientTrace | None:
    """Return the ids of the current span; None outside a span."""
    if not is_api_loaded():
        return None
    from opentelemetry import trace  # noqa: PLC0415 - only for a program that has imported it

    span = trace.get_current_span().get_span_context()
    if not span.is_valid:
        return None
    trace_id = trace.format_trace_id(span.trace_id)
    traceparent = f"00-{trace_id}-{trace.format_span_id(span.span_id)}-{span.trace_flags:02x}"
    return AmbientTrace(trace_id, traceparent, span.trace_state.to_header() or None)
