"""A span as the surfaces use it, and the one that does nothing."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from trellis_nats._tracing.descriptions import AttributeValue
from trellis_nats.context import Context, new_call_context, new_context

__all__ = ["UNTRACED", "Span"]


class Span:
    """The span of a program that does not trace: it does nothing. A class of `otel` records.

    As a `with` block it ends with the block, and fails with what the block raises.
    """

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None, /
    ) -> None:
        del kind, error, where

    @property
    def is_recorded(self) -> bool:
        """Whether what is set here is exported."""
        return False

    @property
    def context(self) -> Context:
        """The context that a message made within this span carries."""
        return new_context()

    @property
    def call_context(self) -> Context:
        """The context that a call made within this span carries: its request id is its own."""
        return new_call_context()

    def join(self, context: Context) -> Context:
        """Return the context of a handler that works on a message within the span: what it makes belongs to the span."""
        return context

    def activate(self) -> None:
        """Make it the current span of this task. It remains that until the task ends, so the task must have no other use."""

    def set(self, name: str, value: AttributeValue) -> None:
        """Set an attribute."""

    def fail(self, reason: BaseException | str) -> None:
        """Mark the operation as failed, with the class of an error or another low-cardinality reason. The first one counts."""

    def record(self, error: BaseException) -> None:
        """Mark the operation as failed, and record where the error was raised. Its text is left out: it may be a secret."""

    def end(self) -> None:
        """End it. What follows is ignored."""


UNTRACED: Final = Span()
"""The only one that is needed."""
