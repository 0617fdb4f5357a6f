"""The spans of a test: a tracer provider with an exporter in memory, for the length of a `with` block."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from unittest.mock import patch

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from typing_extensions import override

__all__ = ["Spans", "attributes_of", "id_of", "is_child", "links_of", "record_spans", "trace_of"]


class Spans(SpanProcessor):
    """What was exported, and what has started and not ended."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self.open: Final[list[str]] = []
        self.provider: Final = TracerProvider(sampler=sampler)
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(self)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def finished(self) -> list[ReadableSpan]:
        """Every span that has ended, in the order of their ends."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Those with a name, in the order of their starts."""
        found = [span for span in self.finished if span.name == name]
        return sorted(found, key=lambda span: span.start_time or 0)

    def one(self, name: str, kind: trace.SpanKind | None = None) -> ReadableSpan:
        """The only one with a name, and with a kind if one is given."""
        (span,) = [span for span in self.named(name) if kind in {None, span.kind}]
        return span

    @override
    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.open.append(span.name)

    @override
    def on_end(self, span: ReadableSpan) -> None:
        self.open.remove(span.name)


@contextmanager
def record_spans(sampler: Sampler | None = None) -> Generator[Spans]:
    """Configure a provider as a program does, and remove it after the block, which OpenTelemetry does not offer."""
    spans = Spans(sampler)
    with patch.object(trace, "_TRACER_PROVIDER", spans.provider):
        yield spans


def id_of(span: ReadableSpan) -> int:
    """Return the id of a span."""
    context = span.get_span_context()
    assert context is not None
    return context.span_id


def trace_of(span: ReadableSpan) -> str:
    """Return the id of its trace, as messages carry it."""
    context = span.get_span_context()
    assert context is not None
    return trace.format_trace_id(context.trace_id)


def attributes_of(span: ReadableSpan) -> dict[str, object]:
    """Return its attributes."""
    return dict(span.attributes or {})


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    """Return whether a span is directly below another one, in the same trace."""
    return (
        span.parent is not None
        and span.parent.span_id == id_of(parent)
        and trace_of(span) == trace_of(parent)
    )


def links_of(span: ReadableSpan) -> dict[object, int]:
    """Return the ids of the spans that a span links to, by what the link says it is."""
    return {dict(link.attributes or {}).get("trellis.link"): link.context.span_id for link in span.links}
