"""The span of an attempt to run an operation."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from trellis_nats._tracing.descriptions import ATTEMPT, MESSAGE_ID, OUTCOME, SpanDescription
from trellis_nats._tracing.tracer import start_incoming
from trellis_nats.context import enter
from trellis_nats.errors import OperationCancelled
from trellis_nats.operations.execution import ExecutionLost, OperationExecution

__all__ = ["trace_attempt"]

_SUPERSEDED: Final = "superseded"


@contextmanager
def trace_attempt(execution: OperationExecution, description: SpanDescription) -> Generator[None]:
    """Make the span of an attempt, in the task that runs the operation. It is the current span of that task."""
    span = start_incoming(description, execution.context, previous=execution.previous)
    span.set(MESSAGE_ID, execution.record.id)
    span.set(ATTEMPT, execution.attempt + 1)
    span.activate()
    execution.trace(span)
    enter(execution.context)
    try:
        yield
    except (ExecutionLost, OperationCancelled, asyncio.CancelledError):
        raise  # the operation ended, or goes on elsewhere: the outcome says which
    except BaseException as error:
        span.fail(error)
        raise
    finally:
        outcome = _describe_outcome(execution)
        span.set(OUTCOME, outcome)
        if outcome == _SUPERSEDED:
            span.fail(outcome)
        span.end()


def _describe_outcome(execution: OperationExecution) -> str:
    """Return how an attempt ended."""
    record = execution.record
    if execution.is_lost:
        return _SUPERSEDED
    if record.has_ended:
        return record.state.value
    if record.execution is not None and record.execution.is_deferred:
        return "deferred"
    if record.execution is not None and record.execution.job is not None:
        return "attached"
    return "released"
