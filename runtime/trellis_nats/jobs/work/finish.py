"""Writes the outcome of an attempt until it is stored or another writer was first, and answers the message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from trellis_nats._nats.jetstream.pull import Delivery
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_throttle import LogThrottle
from trellis_nats.clock import describe_duration
from trellis_nats.errors import PayloadTooLarge, TransportError
from trellis_nats.jobs.model.event_factory import NOT_KEYED, shorten
from trellis_nats.jobs.model.outcome import (
    Acknowledgement,
    Cancelled,
    Completed,
    Ending,
    Failed,
    Raised,
    Released,
    Settlement,
    SlotLost,
    Superseded,
    Withdrawn,
    settle,
)
from trellis_nats.jobs.model.states import EventType
from trellis_nats.jobs.store.event_log import WriteConflict
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.work_item import WorkItem

__all__ = ["acknowledge", "reject_unknown", "write_ending"]

_log = logging.getLogger(__name__)
_log_throttle: Final = LogThrottle(_log)

_WRITE_AGAIN: Final = timedelta(seconds=1)
"""The pause between writes of an outcome while NATS cannot take it."""
_NOT_STORED_YET: Final = timedelta(seconds=1)
"""The redelivery delay of a message whose job no replica has yet."""
_DELIVERIES_UNKNOWN_MAX: Final = 5
"""If a job has no events at this many deliveries, it was purged or its message is forged."""
_HISTORY_LOST: Final = "stream JOBS has no event of it any longer that can be read, as after a purge, so its outcome is not stored"


async def write_ending(
    ending: Ending,
    attempt: Attempt,
    item: WorkItem,
    *,
    draw_backoff: Callable[[], Sequence[timedelta]],
    grace_over: asyncio.Event,
) -> Settlement:
    """Write the outcome of an attempt. A handler that ran must not run again because NATS was away for a moment.

    `draw_backoff` returns the waits between attempts, which vary at random.

    Raises:
        TransportError: NATS is away, and the worker's grace period is over.
    """
    while True:
        ending = _overrule(ending, attempt)
        backoff = draw_backoff() if isinstance(ending, Raised) else ()
        settlement = settle(ending, tries=attempt.tries, max_attempts=item.max_attempts, backoff=backoff)
        if settlement.event is None:
            _log_ending(settlement, ending, attempt, item)
            return settlement
        try:
            await attempt.end(
                attempt.identity.settled(
                    settlement,
                    settlement.event,
                    result=ending.result if isinstance(ending, Completed) else None,
                    at=attempt.clock.now(),
                    keyed=item.key_fields if isinstance(ending, SlotLost) else NOT_KEYED,
                )
            )
        except WriteConflict:
            continue
        except PayloadTooLarge as error:
            ending = _make_smaller(ending, error)
        except TransportError as error:
            if grace_over.is_set():
                raise
            _log.warning(
                "job %s of queue %s: %s is not stored yet: %s",
                item.job_id,
                item.queue,
                settlement.event,
                error,
                extra=_fields(LogEvent.OUTCOME_NOT_STORED, item, attempt),
            )
            await asyncio.sleep(_WRITE_AGAIN.total_seconds())
        else:
            if not isinstance(ending, Completed):
                _log_ending(settlement, ending, attempt, item)
            return settlement


def _make_smaller(ending: Ending, error: PayloadTooLarge) -> Ending:
    """Return a smaller outcome instead of one that is too large for the server.

    Raises:
        PayloadTooLarge: the server does not accept an event that has only an error.
    """
    if isinstance(ending, Failed | Raised) and ending.detail is not None:
        return replace(ending, detail=None)
    if isinstance(ending, Failed):
        raise error
    return Failed(str(error))  # the result is too large, and another attempt's would be


def _log_ending(settlement: Settlement, ending: Ending, attempt: Attempt, item: WorkItem) -> None:
    """Log how a job ended that was not completed, or why it runs again."""
    job = f"job {item.job_id} of queue {item.queue}"
    match ending:
        case Completed() | Superseded() | SlotLost():
            return  # a completed job is not logged; the others are logged where they are noticed
        case Cancelled() | Withdrawn():
            fields = _fields(LogEvent.JOB_CANCELLED, item, attempt)
            _log.info("%s was cancelled while its handler ran", job, extra=fields)
        case Released():
            fields = _fields(LogEvent.JOB_RELEASED, item, attempt)
            _log.info("%s goes back to the queue: this worker stops", job, extra=fields)
        case Raised() if settlement.event is EventType.RETRY:
            _log.info(
                "%s runs again in %s: attempt %d of %d failed",
                job,
                describe_duration(settlement.delay),
                attempt.tries,
                item.max_attempts,
                extra=_fields(LogEvent.JOB_RETRIED, item, attempt),
            )
        case Raised(error) | Failed(error):
            fields = _fields(LogEvent.JOB_FAILED, item, attempt)
            _log.warning("%s is %s: %s", job, settlement.event, shorten(error), extra=fields)


def _overrule(ending: Ending, attempt: Attempt) -> Ending:
    """Return what counts instead of how the handler ended, when another writer was first."""
    if attempt.superseded:
        return Superseded()
    return Cancelled() if attempt.is_cancelled else ending


async def acknowledge(item: WorkItem, settlement: Settlement, attempt: Attempt) -> None:
    """Answer a work message as the settlement of its attempt asks."""
    match settlement.acknowledgement:
        case Acknowledgement.CONFIRMED:
            await item.message.ack_confirmed()
        case Acknowledgement.AGAIN:
            await item.retry_after(settlement.delay)
        case Acknowledgement.LEAVE:
            _log.warning(
                "job %s of queue %s: %s; this attempt is dropped",
                item.job_id,
                item.queue,
                _HISTORY_LOST if attempt.lost_history else "another worker runs it now, or it has ended",
                extra=log_fields(LogEvent.JOB_SUPERSEDED, queue=item.queue, job_id=item.job_id),
            )


async def reject_unknown(message: Delivery, queue: str, job_id: str) -> None:
    """Postpone a message whose job has no events; remove it once it has been delivered several times.

    A read that finds nothing does not prove that the history is gone. A replica may have answered it, or a mirror with
    `mirror_direct`, which get an event a moment after the work stream has its copy. Nor does an answer of the leader prove
    it: during an election two servers may answer as leaders. It would need the leader's last sequence in the same answer,
    to compare with the `source_sequence` of the message. `STREAM.INFO` with a `subjects_filter` has both, but workers have
    no permission for it.
    """
    if message.delivered < _DELIVERIES_UNKNOWN_MAX:
        await message.nak(_NOT_STORED_YET)
        return
    fields = log_fields(LogEvent.WORK_MESSAGE_REMOVED, queue=queue, job_id=job_id)
    text = "job %s of queue %s has no events; removed its work message"
    _log_throttle.write(logging.ERROR, queue, text, job_id, queue, extra=fields)
    await message.term("the job has no history")


def _fields(event: LogEvent, item: WorkItem, attempt: Attempt) -> dict[str, object]:
    return log_fields(
        event,
        queue=item.queue,
        job_id=item.job_id,
        attempt=attempt.tries,
        trace_id=item.identity.context.trace_id,
    )
