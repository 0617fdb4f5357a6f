"""Calls a handler and returns how it ended; stops it when its job is lost or the grace period is over.

A thread cannot be stopped, and a coroutine may ignore its cancellation. When the worker stops, the job of such a handler is
released last: until then no other worker gets it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from datetime import timedelta
from typing import Final

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._support.log_exception import log_exception
from trellis_nats._tracing.span import Span
from trellis_nats.clock import describe_duration
from trellis_nats.codec import Codec
from trellis_nats.context import enter
from trellis_nats.errors import InvalidPayload
from trellis_nats.jobs.model.lineage import Origin, work_on
from trellis_nats.jobs.model.outcome import (
    Completed,
    Ending,
    Failed,
    Raised,
    Released,
    SlotLost,
    Superseded,
)
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.work.active_job import ActiveJob
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.failure_detail import describe_failure
from trellis_nats.jobs.work.handler import HandlerRegistration, task_name
from trellis_nats.jobs.work.raised import is_deliberate, raised_ending
from trellis_nats.jobs.work.shutdown import Shutdown

__all__ = ["in_time", "invoke_handler"]

_log = logging.getLogger(__name__)

_UNWIND: Final = timedelta(seconds=5)
"""How long a cancelled handler may take to clean up."""
_PROCESS_ENDS: Final = timedelta(seconds=1)
"""The delay of a job whose handler outlasted the stop: the handler ends with its process, usually within this time."""


async def invoke_handler(
    registration: HandlerRegistration[PayloadT, ResultT, UpdateT],
    job: ActiveJob[PayloadT, ResultT, UpdateT],
    attempt: Attempt,
    shutdown: Shutdown,
    *,
    origin: Origin,
    result: Codec[ResultT] | None,
    span: Span,
) -> Ending:
    """Run a handler until it ends, or until its attempt is interrupted."""
    if attempt.interrupted and not attempt.superseded and not attempt.slot_lost:
        return Released()  # the grace period ended before the handler began
    running = asyncio.create_task(_call(registration, job, origin, result, span), name=task_name(job))
    attempt.handler = running
    try:
        await attempt.watch(running)
        if running.done():
            # A handler may cancel itself, by a scope of its own that leaks: that is an outcome like any other.
            return Raised("the handler cancelled itself") if running.cancelled() else running.result()
        if not attempt.superseded and not attempt.slot_lost:
            ending = await _stop(running, job, attempt, shutdown, is_thread=registration.is_thread)
            if ending is not None:
                return ending
        running.cancel()
        await asyncio.wait((running,), timeout=_UNWIND.total_seconds())
        if not running.done():
            fields = _fields(LogEvent.HANDLER_STUCK, job)
            _log.error(
                "%s: the handler did not end within %s of its cancellation",
                _name(job),
                describe_duration(_UNWIND),
                extra=fields,
            )
        return Superseded() if attempt.superseded else SlotLost()
    finally:
        attempt.handler = None
        running.cancel()


async def _stop(
    running: asyncio.Task[Ending],
    job: ActiveJob[PayloadT, ResultT, UpdateT],
    attempt: Attempt,
    shutdown: Shutdown,
    *,
    is_thread: bool,
) -> Ending | None:
    """Stop a handler because its worker stops. Return how it ended; None when its job was lost meanwhile.

    A handler that continues keeps its job, with its heartbeat and its lease, until the worker interrupts a second time.
    """
    interruption = attempt.watch_again(running)
    if not is_thread:
        running.cancel()
        await asyncio.wait((interruption,), timeout=_UNWIND.total_seconds())
    if not running.done():
        _log.log(
            logging.WARNING if is_thread else logging.ERROR,
            '%s: the handler still runs in %s "%s" after the grace period; its job is released when the service has '
            "stopped",
            _name(job),
            "thread" if is_thread else "task",
            running.get_name(),
            extra=_fields(LogEvent.HANDLER_STUCK, job),
        )
        attempt.is_outlasting = True
        shutdown.changed.set()
        await interruption
    if attempt.superseded or attempt.slot_lost:
        return None
    if not running.done():
        shutdown.outlasting.append(f"{job.queue} {job.id}")
        return Released(_PROCESS_ENDS)
    ending = Released() if running.cancelled() else running.result()
    # What a cancelled handler raises comes from its cancellation; what it returns, it has finished.
    return ending if is_thread or isinstance(ending, Completed) else Released()


async def _call(
    registration: HandlerRegistration[PayloadT, ResultT, UpdateT],
    job: ActiveJob[PayloadT, ResultT, UpdateT],
    origin: Origin,
    result: Codec[ResultT] | None,
    span: Span,
) -> Ending:
    try:
        enter(span.join(job.context))
        work_on(origin)
        span.activate()
        calling = registration.call(job)
        value = await (calling if registration.timeout is None else in_time(calling, registration.timeout))
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever user code raises is an outcome
        return _interpret(error, job, span)
    if result is None:
        return Completed() if value is None else Failed(_undeclared(job, value))
    try:
        return Completed(result.encode(value))
    except InvalidPayload as error:
        return Failed(str(error), describe_failure(error))


def _interpret(error: BaseException, job: ActiveJob[PayloadT, ResultT, UpdateT], span: Span) -> Ending:
    """Return what an error means for the attempt. Its class is the program's, and may fail in whatever is asked of it."""
    try:
        if not is_deliberate(error):
            fields = _fields(LogEvent.HANDLER_RAISED, job)
            log_exception(
                _log, logging.WARNING, "%s: the handler raised", _name(job), error=error, extra=fields
            )
            span.record(error)
        return raised_ending(error)
    except Exception as failure:  # noqa: BLE001 - likewise
        return Raised(f"the handler raised an error that cannot be read: {type(failure).__name__}")


def _undeclared(job: ActiveJob[PayloadT, ResultT, UpdateT], value: object) -> str:
    return (
        f'queue "{job.queue}" declares no `result` in its contract, but its handler returned a value of type '
        f"{type(value).__name__}"
    )


def _name(job: ActiveJob[PayloadT, ResultT, UpdateT]) -> str:
    return f"job {job.id} of queue {job.queue}, attempt {job.tries} of {job.max_tries}"


def _fields(event: LogEvent, job: ActiveJob[PayloadT, ResultT, UpdateT]) -> dict[str, object]:
    return log_fields(
        event,
        queue=job.queue,
        job_id=job.id,
        key=job.key,
        attempt=job.tries,
        trace_id=job.context.trace_id,
    )


async def in_time(calling: Awaitable[ResultT], limit: timedelta) -> ResultT:
    """Await a handler. A TimeoutError that the handler raises itself passes through unchanged.

    Raises:
        TimeoutError: it ran longer than the limit, and was cancelled.
    """
    clock = asyncio.timeout(limit.total_seconds())
    try:
        async with clock:
            return await calling
    except TimeoutError as error:
        if clock.expired():
            raise TimeoutError(
                f"the handler ran longer than its timeout of {describe_duration(limit)}"
            ) from error
        raise
