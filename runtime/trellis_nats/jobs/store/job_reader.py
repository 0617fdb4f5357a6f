"""Reads jobs as every reader sees them, and waits for their ends through outages."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.outages import through_outages
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.errors import JobNotFound, MalformedJobEvent, PermissionDenied
from trellis_nats.jobs.model.event import StoredEvent
from trellis_nats.jobs.model.lifecycle import endings_of
from trellis_nats.jobs.model.snapshot import SNAPSHOT_EVENTS, types_to_read
from trellis_nats.jobs.model.states import TERMINAL_EVENTS, EventType
from trellis_nats.jobs.model.subjects import STREAM, JobSubjects
from trellis_nats.jobs.store.event_log import EventLog
from trellis_nats.jobs.store.nested_waits import NestedWaits

__all__ = ["JobReader"]

_log = logging.getLogger(__name__)

T = TypeVar("T")

_READ_AGAIN: Final = timedelta(seconds=15)
"""How often a waiter reads without being notified: a message may be dropped; a stored event is not."""
_STORED_WITHIN: Final = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5)
"""Seconds between reads. A notification arrives before its event is stored, on replicas well before. Likewise, another
runtime may pass on the id of a job before the server has stored it."""
_EXISTS_AGAIN: Final = timedelta(minutes=10)
"""How often a waiter checks that the job was not purged. The check may bring the payload, so it is rare."""
_STUCK_AFTER: Final = timedelta(seconds=1)
"""How long a handler waits for a job of its own queue before the other handlers are looked at."""
_REREADS_PER_SECOND: Final = 2_000
"""After a reconnect, the waiters of a queue read again at this rate, each eight small answers."""
_ENDINGS: Final = tuple(sorted(TERMINAL_EVENTS))
_KNOWN: Final = frozenset(map(str, EventType))
_OPENED_AGAIN: Final = (EventType.FAILED, EventType.DEAD)
"""The endings after which an operator's `retried` counts."""


class JobReader:
    """Reads the jobs of one queue."""

    def __init__(
        self, connection: Connection, subjects: JobSubjects, event_log: EventLog, *, queue: str
    ) -> None:
        self.nested_waits = NestedWaits()
        self._connection = connection
        self._subjects = subjects
        self._event_log = event_log
        self._queue = queue
        self._waiter_count = 0

    async def newest(self, job_id: str) -> StoredEvent:
        """Read the newest event of a job, and look again for a moment when there is none.

        Raises:
            JobNotFound: there is none.
            MalformedJobEvent: it cannot be read.
            TransportError: NATS did not answer.
        """
        for pause in _STORED_WITHIN:
            await asyncio.sleep(pause)
            newest = await self._newest_known(job_id)
            if newest is not None:
                return newest
        raise self.not_found(job_id)

    async def _newest_known(self, job_id: str) -> StoredEvent | None:
        """Read the newest event of a type that this version knows: in the middle of a history, others do not count either."""
        try:
            newest = await self._event_log.newest(job_id)
        except MalformedJobEvent as error:
            if error.subject.rpartition(".")[2] in _KNOWN:
                raise
            known = await self._event_log.latest_by_type(job_id, tuple(EventType))
            newest = known[-1] if known else None
        if newest is not None and newest.event.job_id != job_id:
            subject = self._subjects.event(job_id, newest.event.event_type)
            raise MalformedJobEvent(subject, stream=STREAM, sequence=newest.sequence)
        return newest

    async def snapshot_events(self, newest: StoredEvent) -> list[StoredEvent]:
        """Return the events that a snapshot needs, the newest one included, oldest first, with as few reads as possible.

        Raises:
            TransportError: NATS did not answer.
        """
        types = types_to_read(newest.event)
        events = await self._event_log.latest_by_type(newest.event.job_id, types) if types else []
        return sorted((*events, newest), key=_sequence)

    async def ended_snapshot_events(self, job_id: str, endings: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Return the events that a snapshot of an ended job needs, given those that `wait_ended` returned.

        Raises:
            NotConnected: the connection was closed.
        """
        types = tuple(event for event in SNAPSHOT_EVENTS if event not in TERMINAL_EVENTS)
        read = partial(self._event_log.latest_by_type, job_id, types)
        others = await self._through_outages(read, job_id)
        return sorted((*others, *endings), key=_sequence)

    async def wait_ended(self, job_id: str, *, is_stored: bool, after: int = 0) -> list[StoredEvent]:
        """Wait until a job has ended, through outages. Return its endings; the last one counts.

        Neither the payload nor the reports of the job are read, except once to find out that it exists; not if it
        `is_stored`, as far as the caller knows. Endings up to the sequence `after` do not count.

        Raises:
            JobNotFound: no job with this id is stored.
            MalformedJobEvent: the event that ended the job cannot be read.
            PermissionDenied: the account may not read the job.
            ApiError: the server refused to read it.
            NotConnected: the connection was closed.
        """
        loop = self._connection.loop
        check_at = loop.time() + (_EXISTS_AGAIN if is_stored else timedelta(0)).total_seconds()
        with self.nested_waits.waiting() as is_nested:
            within, may_be_stuck = _STUCK_AFTER if is_nested else _READ_AGAIN, is_nested
            async with self._watch(job_id) as notice:
                read = partial(self._read_endings, job_id, after)
                endings = await self._through_outages(read, job_id, through_denials=False)
                while not endings:
                    if loop.time() >= check_at:
                        check = partial(self._any_event, job_id)
                        await self._through_outages(check, job_id)
                        check_at = loop.time() + _EXISTS_AGAIN.total_seconds()
                    else:
                        await notice.wait(within)
                        within = _READ_AGAIN
                        if may_be_stuck and not notice.arrived.is_set():
                            may_be_stuck = not await self._report_stuck(job_id)
                    for pause in _STORED_WITHIN if notice.take() else (0.0,):
                        await asyncio.sleep(pause)
                        if endings := await self._through_outages(read, job_id):
                            break
                return endings

    async def _any_event(self, job_id: str) -> StoredEvent:
        """Read an event of a job: without its payload, if it has begun. Raises as `newest`."""
        started = await self._event_log.newest_of(job_id, EventType.STARTED)
        return await self.newest(job_id) if started is None else started

    # --- the end ---------------------------------------------------------------------------------------------------

    async def _read_endings(self, job_id: str, after: int) -> list[StoredEvent]:
        """Return the endings of a job, if it has ended."""
        events = await self._event_log.latest_by_type(job_id, _ENDINGS)
        if any(stored.event.event_type in _OPENED_AGAIN for stored in events):
            events += await self._event_log.latest_by_type(job_id, (EventType.RETRIED,))
        return endings_of(sorted((stored for stored in events if stored.sequence > after), key=_sequence))

    async def _report_stuck(self, job_id: str) -> bool:
        """Log if no handler is left in this process to begin the job. Return whether it was logged."""
        if not self.nested_waits.are_all_waiting:
            return False
        started = partial(self._event_log.newest_of, job_id, EventType.STARTED)
        if await self._through_outages(started, job_id) is not None:
            return False
        _log.warning(
            'queue "%s": every handler in this process (concurrency %d) waits for another job of the queue, and job %s '
            "has not begun: unless another process works the queue, none of them ends. Create it in another queue, let it "
            "run after this job has ended, or raise the concurrency",
            self._queue,
            self.nested_waits.concurrency,
            job_id,
            extra=log_fields(LogEvent.HANDLERS_WAIT, queue=self._queue, job_id=job_id),
        )
        return True

    @asynccontextmanager
    async def _watch(self, job_id: str) -> AsyncGenerator[_Notice]:
        """Yield what tells when the job may have ended.

        A message is only a reason to read: subscribers also receive events that the stream then refuses. An account that
        may not subscribe reads without being notified.
        """
        connection, subjects, notice = self._connection, self._subjects, _Notice()
        endings = {subjects.event(job_id, ending) for ending in TERMINAL_EVENTS}
        subscription = connection.subscribe(
            subjects.event(job_id, "*"),
            lambda message: notice.end() if message.subject in endings else None,
        )
        forget = connection.on_reconnect(lambda: self._read_again(notice))
        forget_close = connection.on_close(lambda _: notice.arrived.set())
        self._waiter_count += 1
        try:
            with suppress(PermissionDenied):
                await self._through_outages(connection.flush, job_id, through_denials=False)
            yield notice
        finally:
            self._waiter_count -= 1
            forget()
            forget_close()
            await subscription.unsubscribe()

    def _read_again(self, notice: _Notice) -> None:
        """After a reconnect, let the waiters read again one after the other: each may have missed the end of its job."""
        spread = self._waiter_count / _REREADS_PER_SECOND
        self._connection.loop.call_later(random.uniform(0, spread), notice.arrived.set)  # noqa: S311 - need not be secret

    async def _through_outages(
        self, operation: Callable[[], Awaitable[T]], job_id: str, *, through_denials: bool = True
    ) -> T:
        what = f"reading job {job_id} of queue {self._queue}"
        return await through_outages(self._connection, operation, what=what, through_denials=through_denials)

    def not_found(self, job_id: str) -> JobNotFound:
        """Return the error for a job that is not stored."""
        return JobNotFound(f'no job "{job_id}" is stored in queue "{self._queue}"')


class _Notice:
    """Tells a waiter that its job may have ended."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self._has_ended = False

    def end(self) -> None:
        """Note that an event arrived that ends the job."""
        self._has_ended = True
        self.arrived.set()

    async def wait(self, within: timedelta) -> None:
        """Wait for the notice, about as long as `within` at most."""
        jitter = random.uniform(0.9, 1.1)  # noqa: S311 - it need not be secret
        # `wait_for` of Python 3.11 loses a cancellation that arrives in the same turn as the event.
        with suppress(TimeoutError):
            async with asyncio.timeout(within.total_seconds() * jitter):
                await self.arrived.wait()

    def take(self) -> bool:
        """Forget the notice. Return whether an event arrived that ends the job, so that it is stored within a moment."""
        taken, self._has_ended = self._has_ended, False
        self.arrived.clear()
        return taken


def _sequence(stored: StoredEvent) -> int:
    return stored.sequence
