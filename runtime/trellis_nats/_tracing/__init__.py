"""Spans of OpenTelemetry for programs that configure it. What a span is called and says is pure; `otel` has the effects."""
