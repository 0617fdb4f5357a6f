"""Calls a handler and says how it ended; stops it when the job was lost or the host's grace is over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from datetime import timedelta
from typing import Final

from trellis_nats.codec import Codec
from trellis_nats.context import enter
from trellis_nats.errors import InvalidPayload, JobCancelled, JobFailed, JobRetry
from trellis_nats.jobs.model.lineage import Origin, work_on
from trellis_nats.jobs.model.outcome import (
    Completed,
    Ending,
    Failed,
    Raised,
    Released,
    SlotLost,
    Superseded,
    Withdrawn,
)
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.work.active_job import ActiveJob
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.handler import HandlerRegistration

__all__ = ["invoke_handler"]


_log = logging.getLogger(__name__)

_UNWIND: Final = timedelta(seconds=5)
"""How long a cancelled handler may take to clean up."""


async def invoke_handler(
    registration: HandlerRegistration[PayloadT, ResultT, UpdateT],
    job: ActiveJob[PayloadT, ResultT, UpdateT],
    attempt: Attempt,
    *,
    origin: Origin,
    result: Codec[ResultT] | None,
) -> Ending:
    """Run a handler to its end, or until the try is interrupted: the job is lost, or the host's grace is over."""
    running = asyncio.create_task(_call(registration, job, origin, result), name=f"job {job.queue} {job.id}")
    try:
        await attempt.over(running)
        if running.done():
            # A handler may cancel itself, by a scope of its own that leaks: an outcome like any other.
            return (
                Raised("the handler was cancelled from within") if running.cancelled() else running.result()
            )
        running.cancel()
        await asyncio.wait((running,), timeout=_UNWIND.total_seconds())
        if not running.done():
            _log.error("%r did not end within %s of being cancelled", job, _UNWIND)
        if attempt.superseded:
            return Superseded()
        return SlotLost() if attempt.slot_lost else Released()
    finally:
        running.cancel()


async def _call(
    registration: HandlerRegistration[PayloadT, ResultT, UpdateT],
    job: ActiveJob[PayloadT, ResultT, UpdateT],
    origin: Origin,
    result: Codec[ResultT] | None,
) -> Ending:
    try:
        enter(job.context)
        work_on(origin)
        calling = registration.call(job)
        value = await (calling if registration.timeout is None else _in_time(calling, registration.timeout))
    except JobCancelled as error:
        return Withdrawn(_words(error) or "cancelled")
    except JobFailed as error:
        return Failed(_words(error) or "failed")
    except JobRetry as error:
        return Raised(_words(error), after=error.after)
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is an outcome
        _log.warning("%r raised", job, exc_info=True)
        return Raised(f"{type(error).__name__}: {_words(error)}")
    if result is None:
        return Completed(None, has_result=False)
    try:
        return Completed(result.to_json(value), has_result=True)
    except InvalidPayload as error:
        return Failed(str(error))


def _words(error: BaseException) -> str:
    """Return an error's text. It may be of a class whose text cannot be had."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - likewise
        return "its text cannot be had"


async def _in_time(calling: Awaitable[ResultT], limit: timedelta) -> ResultT:
    """Await a handler. Only the runtime's own timeout is called one: a handler may raise TimeoutError itself."""
    clock = asyncio.timeout(limit.total_seconds())
    try:
        async with clock:
            return await calling
    except TimeoutError as error:
        if clock.expired():
            raise TimeoutError(f"the handler ran longer than its timeout of {limit}") from error
        raise
