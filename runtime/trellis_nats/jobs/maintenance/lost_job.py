"""What may have become of an open job, by its newest event. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum, auto

from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.outcome import backoff_delay
from trellis_nats.jobs.model.states import JobState

__all__ = ["LostJobVerdict", "judge"]


class LostJobVerdict(Enum):
    """What is known of an open job."""

    ENDED = auto()
    YOUNG = auto()
    """It had no time yet to come to a worker, or to come again."""
    LOST_WITHOUT_MESSAGE = auto()
    """It should have a work message. If it has none, it is lost."""
    LOST_WITHOUT_WORKER = auto()
    """Likewise, but it is active: its worker may live, so its process must be asked as well."""


def judge(
    newest: LifecycleEvent,
    *,
    age: timedelta,
    ack_wait: timedelta,
    backoff: Sequence[timedelta],
    lost_after: timedelta,
) -> LostJobVerdict:
    """Judge a job by its newest event and by how long ago the server stored it.

    A job that waits for its next try has a message that rests in the work stream. Only the queue's own backoff is
    known here; a longer wait that a handler asked for is cut short if the message was lost.
    """
    if newest.is_terminal:
        return LostJobVerdict.ENDED
    match newest.effective_state:
        case JobState.ACTIVE:
            rest, verdict = ack_wait, LostJobVerdict.LOST_WITHOUT_WORKER
        case JobState.RETRY:
            rest, verdict = backoff_delay(backoff, max(1, newest.tries)), LostJobVerdict.LOST_WITHOUT_MESSAGE
        case _:
            rest, verdict = timedelta(0), LostJobVerdict.LOST_WITHOUT_MESSAGE
    return verdict if age >= rest + lost_after else LostJobVerdict.YOUNG
