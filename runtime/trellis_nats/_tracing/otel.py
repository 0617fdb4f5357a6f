"""Spans of OpenTelemetry. Only this module imports it, and only `tracer` imports this module."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Sequence
from importlib.metadata import version
from types import TracebackType
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from typing_extensions import override

from trellis_nats._tracing.descriptions import (
    ERROR_TYPE,
    EXCEPTION_STACKTRACE,
    EXCEPTION_TYPE,
    LINK,
    AttributeValue,
    SpanDescription,
    SpanKind,
)
from trellis_nats._tracing.span import UNTRACED, Span
from trellis_nats.context import Context, current_context
from trellis_nats.ids import new_id

__all__ = ["start_incoming", "start_outgoing", "start_received"]

_KINDS: Final = {
    SpanKind.CLIENT: trace.SpanKind.CLIENT,
    SpanKind.SERVER: trace.SpanKind.SERVER,
    SpanKind.PRODUCER: trace.SpanKind.PRODUCER,
    SpanKind.CONSUMER: trace.SpanKind.CONSUMER,
}
_FRAMES_MAX: Final = 30
"""How many frames of a stack are recorded, the innermost ones."""
_NOWHERE: Final = otel_context.Context()
"""A context without a span: the parent of a root."""


class _RecordedSpan(Span):
    """A span that the program's tracer provider made. It may be one that its sampler drops."""

    __slots__ = ("_description", "_has_failed", "_span")

    def __init__(self, span: trace.Span, description: SpanDescription) -> None:
        self._span = span
        self._description = description
        self._has_failed = False

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None, /
    ) -> None:
        is_cancellation = isinstance(error, asyncio.CancelledError | GeneratorExit)
        if error is not None and (self._description.is_failed_by_cancellation or not is_cancellation):
            self.fail(error)
        self.end()

    @property
    @override
    def is_recorded(self) -> bool:
        return self._span.is_recording()

    @property
    @override
    def context(self) -> Context:
        inherited = current_context()
        return self._identify(new_id() if inherited is None else inherited.request_id)

    @property
    @override
    def call_context(self) -> Context:
        return self._identify(new_id())

    @override
    def join(self, context: Context) -> Context:
        return self._identify(context.request_id)

    def _identify(self, request_id: str) -> Context:
        span = self._span.get_span_context()
        trace_id = trace.format_trace_id(span.trace_id)
        return Context(
            request_id=request_id,
            trace_id=trace_id,
            traceparent=f"00-{trace_id}-{trace.format_span_id(span.span_id)}-{span.trace_flags:02x}",
            tracestate=span.trace_state.to_header() or None,
        )

    @override
    def activate(self) -> None:
        otel_context.attach(trace.set_span_in_context(self._span))

    @override
    def set(self, name: str, value: AttributeValue) -> None:
        if self._span.is_recording():  # an ended span would log a warning
            self._span.set_attribute(name, value)

    @override
    def fail(self, reason: BaseException | str) -> None:
        if self._has_failed or not self._span.is_recording():
            return
        self._has_failed = True
        self._span.set_attribute(ERROR_TYPE, reason if isinstance(reason, str) else _class_name(reason))
        self._span.set_status(trace.StatusCode.ERROR)

    @override
    def record(self, error: BaseException) -> None:
        if not self._span.is_recording():
            return
        frames = traceback.format_tb(error.__traceback__, limit=-_FRAMES_MAX)
        details = {EXCEPTION_TYPE: _class_name(error), EXCEPTION_STACKTRACE: "".join(frames)}
        self._span.add_event("exception", details)
        self.fail(error)

    @override
    def end(self) -> None:
        if self._span.is_recording():
            self._span.end()


class _Tracers:
    """The tracer of the program's provider. Programs set one provider; tests may exchange it."""

    def __init__(self) -> None:
        self._provider: trace.TracerProvider | None = None
        self._tracer: trace.Tracer | None = None

    def find(self) -> trace.Tracer | None:
        """Return the tracer; None while the program has configured no provider."""
        provider = trace.get_tracer_provider()
        if provider is not self._provider:
            self._provider = provider
            is_real = not isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider)
            self._tracer = provider.get_tracer("trellis_nats", version("trellis-nats")) if is_real else None
        return self._tracer


_tracers: Final = _Tracers()


def start_outgoing(description: SpanDescription) -> Span:
    """Start a span below the current one, or below the span of the message that the running handler works on."""
    tracer = _tracers.find()
    if tracer is None:
        return UNTRACED
    inherited, parent = current_context(), None
    if inherited is not None:
        ambient = trace.get_current_span().get_span_context()
        if trace.format_trace_id(ambient.trace_id) != inherited.trace_id:
            made_by = _span_context(inherited)
            parent = _NOWHERE if made_by is None else _remote(made_by)
    return _start(tracer, description, parent, ())


def start_incoming(
    description: SpanDescription, carried: Context, *, is_received: bool, previous: Context | None = None
) -> Span:
    """Start the span that works on a message: below the span that made the message, with a link to it."""
    tracer = _tracers.find()
    if tracer is None:
        return UNTRACED
    if not is_received:
        return _start(tracer, description, _NOWHERE, ())
    maker = _span_context(carried)
    if maker is None:
        return _start(tracer, description, _NOWHERE, ())
    links = [trace.Link(maker, {LINK: "creation"})]
    earlier = None if previous is None else _span_context(previous)
    if earlier is not None:
        links.append(trace.Link(earlier, {LINK: "previous_attempt"}))
    return _start(tracer, description, _remote(maker), links)


def start_received(description: SpanDescription, carried: Context, *, is_received: bool) -> Span:
    """Start the span of a reader that takes a message: below the reader's own span if it has one."""
    tracer = _tracers.find()
    if tracer is None:
        return UNTRACED
    maker = _span_context(carried) if is_received else None
    if maker is None or not trace.get_current_span().get_span_context().is_valid:
        return start_incoming(description, carried, is_received=is_received)
    return _start(tracer, description, None, (trace.Link(maker, {LINK: "creation"}),))


def _start(
    tracer: trace.Tracer,
    description: SpanDescription,
    parent: otel_context.Context | None,
    links: Sequence[trace.Link],
) -> Span:
    span = tracer.start_span(
        description.name,
        context=parent,
        kind=_KINDS[description.kind],
        attributes=description.attributes,
        links=links,
    )
    is_identified = span.get_span_context().is_valid  # not where OTEL_SDK_DISABLED is set
    return _RecordedSpan(span, description) if is_identified else UNTRACED


def _span_context(context: Context) -> trace.SpanContext | None:
    """Return the span that made a message; None where another runtime wrote something else."""
    try:
        _, trace_id, span_id, flags = context.traceparent.split("-")
        span = _read(trace_id, span_id, flags, context.tracestate)
    except ValueError:
        return None
    return span if span.is_valid else None


def _read(trace_id: str, span_id: str, flags: str, tracestate: str | None) -> trace.SpanContext:
    return trace.SpanContext(
        trace_id=int(trace_id, 16),
        span_id=int(span_id, 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(int(flags, 16)),
        trace_state=trace.TraceState.from_header([tracestate] if tracestate else []),
    )


def _remote(span: trace.SpanContext) -> otel_context.Context:
    return trace.set_span_in_context(trace.NonRecordingSpan(span), _NOWHERE)


def _class_name(error: BaseException) -> str:
    """Return the full name of a class; one of this package by the name under which users import it."""
    kind = type(error)
    module = "trellis_nats" if kind.__module__.startswith("trellis_nats.") else kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
