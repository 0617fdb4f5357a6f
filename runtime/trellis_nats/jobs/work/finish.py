"""Writes what became of a try, until it is stored or somebody else was faster, and answers its message."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from trellis_nats._nats.jetstream.pull import Delivery
from trellis_nats.clock import now
from trellis_nats.errors import PayloadTooLarge, TransportError
from trellis_nats.jobs.model.event_factory import NOT_KEYED
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
from trellis_nats.jobs.work.redelivery import RedeliveryPolicy

__all__ = ["acknowledge", "without_history", "write_ending"]

_log = logging.getLogger(__name__)

_WRITE_AGAIN: Final = timedelta(seconds=1)
"""The pause between writes of an outcome while NATS cannot take it."""
_NOT_STORED_YET: Final = timedelta(seconds=1)
"""How long a message rests whose job no replica knows yet."""
_DELIVERIES_UNKNOWN_MAX: Final = 5
"""After so many deliveries a job without a history is no job: its history was purged, or the message is forged."""


async def write_ending(
    ending: Ending,
    attempt: Attempt,
    *,
    max_tries: int,
    backoff: Sequence[timedelta],
    grace_over: asyncio.Event,
    keyed: Mapping[str, JsonValue],
) -> Settlement:
    """Write the end of a try. What ran must not run again because NATS was away for a moment.

    `keyed` is what the event says when the job lost its slot of its key.

    Raises:
        TransportError: NATS is away, and the host's grace is over.
    """
    while True:
        ending = _overruled(ending, attempt)
        settlement = settle(ending, tries=attempt.tries, max_deliver=max_tries, backoff=backoff)
        if settlement.event is None:
            _tell(settlement, ending, attempt, max_tries)
            return settlement
        result = ending.result if isinstance(ending, Completed) else None
        try:
            await attempt.end(
                attempt.identity.settled(
                    settlement,
                    settlement.event,
                    result=result,
                    has_result=isinstance(ending, Completed) and ending.has_result,
                    at=now(),
                    keyed=keyed if isinstance(ending, SlotLost) else NOT_KEYED,
                )
            )
        except WriteConflict:
            continue
        except PayloadTooLarge as error:
            if isinstance(ending, Failed):
                raise
            ending = Failed(str(error))  # of the event, result and all: another try would be as large
        except TransportError as error:
            if grace_over.is_set():
                raise
            _log.warning("job %s: %s is not stored yet: %s", attempt.identity.job_id, settlement.event, error)
            await asyncio.sleep(_WRITE_AGAIN.total_seconds())
        else:
            if not isinstance(ending, Completed):
                _tell(settlement, ending, attempt, max_tries)
            return settlement


def _tell(settlement: Settlement, ending: Ending, attempt: Attempt, max_tries: int) -> None:
    """Log how a job ended that was not completed, or why it is tried again."""
    job = f"job {attempt.identity.job_id} of queue {attempt.identity.queue}"
    match ending:
        case Completed() | Superseded() | SlotLost():
            return  # the first is no news, and of the others somebody else has told
        case Cancelled() | Withdrawn():
            _log.info("%s was cancelled while it ran", job)
        case Released():
            _log.info("%s is released: this worker stops", job)
        case Raised() if settlement.event is EventType.RETRY:
            tries = attempt.tries
            _log.info("%s is tried again in %s, after try %d of %d", job, settlement.delay, tries, max_tries)
        case Raised(error) | Failed(error):
            _log.warning("%s is %s: %s", job, settlement.event, error)


def _overruled(ending: Ending, attempt: Attempt) -> Ending:
    """Return what counts instead of how the handler ended, when somebody else was faster."""
    if attempt.superseded:
        return Superseded()
    return Cancelled() if attempt.is_cancelled else ending


async def acknowledge(
    message: Delivery, settlement: Settlement, delivery: RedeliveryPolicy, *, what: str
) -> None:
    """Tell the server about a work message what the settlement of its try says."""
    match settlement.acknowledgement:
        case Acknowledgement.CONFIRMED:
            await message.ack_confirmed()
        case Acknowledgement.AGAIN:
            await message.nak(delivery.nak_delay(settlement.delay, delivered=message.delivered))
        case Acknowledgement.LEAVE:
            _log.warning("%s: another worker has it now", what)


async def without_history(message: Delivery, *, what: str) -> None:
    """Let a message rest whose job has no history, and remove it when it comes again and again. `what` names the job."""
    if message.delivered < _DELIVERIES_UNKNOWN_MAX:
        await message.nak(_NOT_STORED_YET)
        return
    _log.error("%s has no history and was removed", what)
    await message.term("the job has no history")
