"""The request and trace that a job, a call or an event belongs to."""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

from pydantic import JsonValue

from trellis_nats._support.ambient_trace import ambient_trace
from trellis_nats.ids import new_id, new_trace_digits

__all__ = ["Context", "current_context", "enter", "new_call_context", "new_context", "within"]

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_HEADER_MAX: Final = 512
"""Of a value, in characters: a tracestate is not longer (W3C Trace Context, 3.3.1.5)."""


class Context(NamedTuple):
    """The request and the trace that a job, a call or an event belongs to. Immutable; it travels in message headers."""

    request_id: str
    trace_id: str
    """32 lower-case hexadecimal digits."""
    traceparent: str
    """As in W3C Trace Context."""
    tracestate: str | None = None

    def headers(self) -> dict[str, str]:
        """Return the context as message headers; a value that is not valid in a header is left out."""
        texts = (
            ("request-id", self.request_id),
            ("traceparent", self.traceparent),
            ("tracestate", self.tracestate),
        )
        return {name: text for name, text in texts if text is not None and _is_header_text(text)}

    def header_lines(self) -> bytes:
        """Return the headers as they are encoded, a line each."""
        request_id, _, traceparent, state = self
        lines = f"request-id: {request_id}\r\n" if _is_header_text(request_id) else ""
        if _is_header_text(traceparent):
            lines += f"traceparent: {traceparent}\r\n"
        if state is not None and _is_header_text(state):
            lines += f"tracestate: {state}\r\n"
        return lines.encode()

    def members(self) -> dict[str, JsonValue]:
        """Return the context as the members of a JSON object."""
        members: dict[str, JsonValue] = {
            "requestId": self.request_id,
            "traceId": self.trace_id,
            "traceparent": self.traceparent,
        }
        if self.tracestate is not None:
            members["tracestate"] = self.tracestate
        return members

    @classmethod
    def of_headers(cls, headers: Mapping[str, str]) -> Context:
        """Read the context of a message; missing or malformed parts are generated."""
        return _context(headers.get("request-id"), headers.get("traceparent"), headers.get("tracestate"))


_current: ContextVar[Context | None] = ContextVar("trellis_context", default=None)


def current_context() -> Context | None:
    """Return the context of the running handler; None outside one."""
    return _current.get()


def enter(context: Context) -> None:
    """Set the current context of this task."""
    _current.set(context)


@contextmanager
def within(context: Context) -> Generator[None]:
    """Set the current context for the length of a `with` block."""
    token = _current.set(context)
    try:
        yield
    finally:
        _current.reset(token)


def new_context() -> Context:
    """Return the context for a new job, call or event.

    Inside a handler it is the handler's context; if the handler's current OpenTelemetry span is of the same trace, with
    that span as the parent. Outside, it joins the caller's span, or starts a new trace where there is none.
    """
    inherited, ambient = _current.get(), ambient_trace()
    if inherited is not None:
        if ambient is None or ambient.trace_id != inherited.trace_id:
            return inherited
        return inherited._replace(traceparent=ambient.traceparent, tracestate=ambient.tracestate)
    if ambient is None:
        return _context(None, None, None)
    return _context(None, ambient.traceparent, ambient.tracestate)


def new_call_context() -> Context:
    """Return the context for a new call: as `new_context`, but each call has a request id of its own on the wire."""
    return new_context() if _current.get() is None else new_context()._replace(request_id=new_id())


def _context(request_id: str | None, traceparent: str | None, tracestate: str | None) -> Context:
    if request_id is None or not _is_header_text(request_id):
        request_id = new_id()
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent is not None else None
    if match is None:
        digits = new_trace_digits()
        trace_id = digits[:32]
        return Context(request_id, trace_id, f"00-{trace_id}-{digits[32:]}-01")
    if tracestate is not None and not _is_header_text(tracestate):
        tracestate = None
    return Context(request_id, match[1], match[0], tracestate)


def _is_header_text(text: str) -> bool:
    """Return whether a text is valid as the value of a header: printable ASCII."""
    return 0 < len(text) <= _HEADER_MAX and text.isascii() and text.isprintable()
