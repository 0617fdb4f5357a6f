"""The span of an attempt: what it says, and the previous attempts that it links to. It is counted at the same time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from trellis_nats._tracing.descriptions import (
    ATTEMPT,
    MAX_ATTEMPTS,
    MESSAGE_ID,
    OUTCOME,
    describe_attempt,
)
from trellis_nats._tracing.span import Span
from trellis_nats._tracing.tracer import start_incoming
from trellis_nats.context import Context
from trellis_nats.jobs.model.outcome import RELEASED, Acknowledgement, Settlement
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.work.attempt_counts import AttemptCounts
from trellis_nats.jobs.work.work_item import WorkItem

__all__ = ["AttemptSpans", "describe_outcome"]

_REMEMBERED_MAX: Final = 4096
"""Of how many jobs the previous attempt in this process is known, about 600 bytes each."""
_FAILURES: Final = frozenset({"failed", "dead", "retry", "slot_lost", "superseded"})


class AttemptSpans:
    """Starts and completes the spans of one queue's attempts, and counts them."""

    def __init__(self, queue: str, counts: AttemptCounts) -> None:
        self._counts = counts
        self._description = describe_attempt(queue)
        self._previous: OrderedDict[str, Context] = OrderedDict()

    def start(self, item: WorkItem, tries: int) -> Span:
        """Start the span of an attempt that has begun. If the previous attempt ran in this process, it links to it."""
        item.began_at = self._counts.begin(item.event, item.message.stored_nanoseconds, tries)
        previous = self._previous.pop(item.job_id, None)
        span = start_incoming(self._description, item.identity.context, previous=previous)
        span.set(MESSAGE_ID, item.job_id)
        span.set(ATTEMPT, tries)
        span.set(MAX_ATTEMPTS, item.max_attempts)
        return span

    def settle(self, span: Span, item: WorkItem, settlement: Settlement) -> None:
        """Write how the attempt ended into its span."""
        outcome = describe_outcome(settlement)
        self._counts.settle(outcome, item.began_at)
        if not span.is_recorded:
            return
        span.set(OUTCOME, outcome)
        if outcome in _FAILURES:
            span.fail(outcome)
        if settlement.acknowledgement is Acknowledgement.AGAIN:
            self._previous[item.job_id] = span.context
            while len(self._previous) > _REMEMBERED_MAX:
                self._previous.popitem(last=False)


def describe_outcome(settlement: Settlement) -> str:
    """Return how an attempt ended: its event, or why it has none. Pure."""
    if settlement.event is None:
        is_lost = settlement.acknowledgement is Acknowledgement.LEAVE
        return "superseded" if is_lost else "cancelled"
    if settlement.event is EventType.STALE_COMPLETION_IGNORED:
        return "slot_lost"
    return "released" if settlement.error == RELEASED else settlement.event.value
