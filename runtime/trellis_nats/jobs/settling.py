"""Writes what became of a try, until it is stored or somebody else was faster."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from pydantic import JsonValue

from trellis_nats.clock import now
from trellis_nats.errors import TransportError
from trellis_nats.jobs.attempt import Attempt
from trellis_nats.jobs.history import Overtaken
from trellis_nats.jobs.outcome import Cancelled, Completed, Ending, Settlement, SlotLost, Superseded, settle
from trellis_nats.jobs.record import NOT_KEYED

__all__ = ["write_ending"]

_log = logging.getLogger(__name__)

_WRITE_AGAIN: Final = timedelta(seconds=1)
"""The pause between writes of an outcome while NATS cannot take it."""


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
        if attempt.superseded:
            ending = Superseded()
        elif attempt.cancelled.is_set():
            ending = Cancelled()
        settlement = settle(ending, tries=attempt.tries, max_deliver=max_tries, backoff=backoff)
        if settlement.event is None:
            return settlement
        result = ending.result if isinstance(ending, Completed) else None
        try:
            await attempt.append(
                attempt.identity.settled(
                    settlement,
                    settlement.event,
                    result=result,
                    has_result=isinstance(ending, Completed) and ending.has_result,
                    at=now(),
                    keyed=keyed if isinstance(ending, SlotLost) else NOT_KEYED,
                )
            )
        except Overtaken:
            continue
        except TransportError as error:
            if grace_over.is_set():
                raise
            _log.warning("job %s: %s is not stored yet: %s", attempt.identity.job_id, settlement.event, error)
            await asyncio.sleep(_WRITE_AGAIN.total_seconds())
        else:
            return settlement
