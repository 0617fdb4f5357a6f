"""Decides from the newest event of an open job whether the job may be lost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum, auto

from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.outcome import backoff_delay
from trellis_nats.jobs.model.states import JobState

__all__ = ["LostJobDecision", "decide"]


class LostJobDecision(Enum):
    """What the newest event says about an open job."""

    ENDED = auto()
    YOUNG = auto()
    """Its work message may still be on its way to a worker, or may not be due for redelivery yet."""
    LOST_WITHOUT_MESSAGE = auto()
    """It should have a work message. Without one, it is lost."""
    LOST_WITHOUT_WORKER = auto()
    """It should have a work message, but it is active: without one, it is lost only if no worker runs it."""


def decide(
    newest: LifecycleEvent,
    *,
    age: timedelta,
    ack_wait: timedelta,
    backoff: Sequence[timedelta],
    lost_after: timedelta,
) -> LostJobDecision:
    """Decide by the newest event of a job and by how long ago the server stored it.

    A job that waits for its delay or a retry is not lost before it is due: its event says when that is. An event of
    another runtime does not; there the queue's backoff counts.
    """
    if newest.is_terminal:
        return LostJobDecision.ENDED
    match newest.effective_state:
        case JobState.ACTIVE:
            delay, decision = ack_wait, LostJobDecision.LOST_WITHOUT_WORKER
        case JobState.RETRY:
            delay = newest.wait or backoff_delay(backoff, max(1, newest.tries))
            decision = LostJobDecision.LOST_WITHOUT_MESSAGE
        case _:
            delay, decision = newest.wait, LostJobDecision.LOST_WITHOUT_MESSAGE
    return decision if age >= delay + lost_after else LostJobDecision.YOUNG
