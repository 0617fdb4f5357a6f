"""A handle on one job, wherever it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import timedelta
from typing import Final, Generic

from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats.clock import now
from trellis_nats.errors import (
    ConfigurationError,
    InvalidPayload,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobNotFound,
    JobSkipped,
    JobStale,
    MalformedJobEvent,
    TransportError,
)
from trellis_nats.jobs.model.event import StoredEvent
from trellis_nats.jobs.model.event_factory import JobIdentity
from trellis_nats.jobs.model.lifecycle import JobLife, apply
from trellis_nats.jobs.model.snapshot import SNAPSHOT_EVENTS, JobSnapshot, snapshot_of, types_to_read
from trellis_nats.jobs.model.states import TERMINAL_EVENTS, TERMINAL_STATES, EventType, JobState
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.store.event_log import WriteConflict
from trellis_nats.jobs.store.event_stream import JobEvent, history_of, job_event
from trellis_nats.jobs.store.live_updates import UpdateInbox
from trellis_nats.jobs.work.queue_context import QueueContext

__all__ = ["JobRef"]

_log = logging.getLogger(__name__)

_READ_AGAIN: Final = timedelta(seconds=15)
"""How often a waiter reads without being notified: a message may be dropped; a stored event is not."""
_STORED_WITHIN: Final = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5)
"""Seconds between reads after a notification: it arrives before the event is stored, on replicas well before."""


class JobRef(Generic[PayloadT, ResultT, UpdateT]):
    """A handle on one job. It holds no resources; `queue.ref(job_id)` returns one for any job of the queue."""

    def __init__(self, queue: QueueContext[PayloadT, ResultT, UpdateT], job_id: str) -> None:
        self._queue = queue
        self._event_log = queue.event_log
        self._id = job_id

    def __repr__(self) -> str:
        return f"<JobRef {self.queue} {self._id}>"

    @property
    def id(self) -> str:
        """The job's id, a ULID."""
        return self._id

    @property
    def queue(self) -> str:
        """The queue's name in the contract."""
        return self._queue.queue

    async def get(self) -> JobSnapshot[PayloadT, ResultT]:
        """Read the job as it stands now.

        Raises:
            JobNotFound: no job with this id is stored.
            InvalidPayload: the stored payload or result does not match its schema.
            TransportError: NATS did not answer.
        """
        self._queue.connection.require_own_loop()
        return await self._snapshot(await self._newest())

    async def wait(self, *, timeout: timedelta | None = None) -> JobSnapshot[PayloadT, ResultT]:
        """Wait until the job ends, in whatever way, and return it as it stands then.

        Args:
            timeout: how long to wait. The default is to wait as long as it takes, through reconnects.

        Raises:
            JobNotFound: no job with this id is stored.
            TimeoutError: `timeout` passed first; the job continues.
        """
        self._queue.connection.require_own_loop()
        async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
            return await self._until_terminal()

    async def result(self, *, timeout: timedelta | None = None) -> ResultT:
        """Wait until the job ends and return its result.

        Args:
            timeout: how long to wait. The default is to wait as long as the job takes.

        Raises:
            JobFailed: the handler raised `JobFailed`, or every attempt failed.
            JobCancelled: the job was cancelled.
            JobExpired: its deadline passed first.
            JobSkipped: a newer job of its key replaced it.
            JobStale: the lease of its key expired, and it lost its slot.
            JobNotFound: no job with this id is stored.
            TimeoutError: `timeout` passed first; the job continues.
        """
        snapshot = await self.wait(timeout=timeout)
        if snapshot.state is JobState.COMPLETED:
            return snapshot.result  # type: ignore[return-value]  # None only where ResultT is None
        raise _failure(snapshot.state, snapshot.last_error or f"job {self._id} is {snapshot.state}")

    async def events(self) -> AsyncGenerator[JobEvent, None]:
        """Iterate over the job's events, from its creation on; the iteration ends with the job.

        They come from the stream, in order and through reconnects. However late the iteration begins, it yields every
        event since the job's creation, except those that are not legal in the job's state.

        Raises:
            PermissionDenied: the account may not create a consumer on stream JOBS. Workers do not need that.
            JobNotFound: no job with this id is stored.
        """
        self._queue.connection.require_own_loop()
        await self._newest()
        life: JobLife | None = None
        async with aclosing(
            history_of(self._queue.connection, self._queue.subjects.job(self._id))
        ) as event_log:
            async for event in event_log:
                before, life = life, apply(life, event)
                if life is before or life is None:
                    continue
                yield job_event(event)
                if life.state in TERMINAL_STATES:
                    return

    async def updates(self) -> AsyncGenerator[UpdateT, None]:
        """Iterate over the updates that the job's handler sends from now on; the iteration ends with the job.

        Updates are not stored: those sent before, or while there was no connection, are not received. After a failed
        attempt, the updates of the next one follow. At most a thousand wait for a slow reader; then the oldest are
        dropped.

        Raises:
            ConfigurationError: the queue declares no `update` in its contract.
            JobNotFound: no job with this id is stored.
        """
        self._queue.connection.require_own_loop()
        updates, inbox = self._queue.updates, UpdateInbox(self._id)
        subscription = self._queue.connection.subscribe(updates.subject(self._id), inbox.receive)
        ended = asyncio.create_task(self.wait())
        try:
            await self._queue.connection.flush()
            inbox.begin((await self._newest()).event.tries)
            while not ended.done() or inbox.arrived.is_set():
                arrived = asyncio.create_task(inbox.arrived.wait())
                await asyncio.wait((arrived, ended), return_when=asyncio.FIRST_COMPLETED)
                arrived.cancel()
                for frame in inbox.take():
                    value = updates.decode(frame)
                    if value is not None:
                        yield value
            await ended
        finally:
            ended.cancel()
            await subscription.unsubscribe()

    async def cancel(self, reason: str = "cancelled") -> JobSnapshot[PayloadT, ResultT]:
        """Cancel the job, unless it has ended, and return it as it stands now.

        A job that waits never starts. A running handler sees `job.is_cancelled`, and what it returns no longer matters.
        Cancelling twice is harmless.

        Args:
            reason: stored as the job's last error.

        Raises:
            JobNotFound: no job with this id is stored.
            InvalidPayload: the stored payload or result does not match its schema.
            TransportError: NATS did not answer.
        """
        self._queue.connection.require_own_loop()
        newest: StoredEvent | None = await self._newest()
        while newest is not None and not newest.event.is_terminal:
            event = newest.event
            identity = JobIdentity(
                job_id=self._id, service=event.service, queue=event.job_type, context=event.job_context()
            )
            cancelled = identity.ended(
                EventType.CANCELLED,
                previous=event.effective_state,
                tries=event.tries,
                error=reason,
                at=now(),
            )
            try:
                sequence = await self._event_log.append(cancelled, after=newest.sequence)
            except WriteConflict as conflict:
                newest = conflict.newest
            else:
                if event.effective_state is not JobState.ACTIVE:
                    await self._leave_key()
                return await self._snapshot(newest, StoredEvent(cancelled.read(), sequence, None))
        return await self.get() if newest is None else await self._snapshot(newest)

    async def release_key(self) -> bool:
        """Remove the job from the record of its concurrency key, and return whether it was there.

        For operators: under `stalePolicy: block`, a slot whose worker died stays occupied until its job runs again or
        this is called. A handler that still runs loses its slot at the next renewal and is stopped; its job runs again
        when the key has room.

        Raises:
            ConfigurationError: the queue has no concurrency key.
            JobNotFound: no job with this id is stored.
            InvalidPayload: the stored payload has no key; no record has such a job.
            TransportError: NATS did not store the change.
        """
        self._queue.connection.require_own_loop()
        keys = self._queue.keys
        if keys is None:
            raise ConfigurationError(f'queue "{self._queue.queue}" has no concurrency key')
        with suppress(MalformedJobEvent):  # the key is in the event that created it
            await self._newest()
        return await keys.remove(self._id)

    async def _leave_key(self) -> None:
        """Remove a job that will never begin from its key's record. If that fails, the next job that needs room does."""
        keys = self._queue.keys
        try:
            if keys is not None:
                await keys.withdraw(self._id)
        except (TransportError, InvalidPayload) as error:
            _log.warning(
                "job %s is cancelled, but still in the record of its key: %s",
                self._id,
                error,
                extra=log_fields(LogEvent.KEY_NOT_RELEASED, queue=self.queue, job_id=self._id),
            )

    async def _snapshot(self, newest: StoredEvent, *written: StoredEvent) -> JobSnapshot[PayloadT, ResultT]:
        """Build a snapshot from the newest event, those that were `written` after it, and as few reads as possible."""
        types = types_to_read(newest.event)
        events = await self._event_log.latest_by_type(self._id, types) if types else []
        own = (newest,) if newest.event.event_type in SNAPSHOT_EVENTS else ()
        snapshot = snapshot_of(
            sorted((*events, *own, *written), key=lambda event: event.sequence),
            payload=self._queue.payload,
            result=self._queue.result,
        )
        if snapshot is None:
            raise self._not_found()
        return snapshot

    async def _until_terminal(self) -> JobSnapshot[PayloadT, ResultT]:
        async with self._watch_endings() as ended:
            while True:
                if (newest := await self._ending()) is not None:
                    return await self._snapshot(newest)
                try:
                    await asyncio.wait_for(ended.wait(), _READ_AGAIN.total_seconds())
                except TimeoutError:
                    continue
                ended.clear()
                for pause in _STORED_WITHIN:
                    await asyncio.sleep(pause)
                    if (newest := await self._ending()) is not None:
                        return await self._snapshot(newest)

    async def _ending(self) -> StoredEvent | None:
        """Read the newest event. Return it if it ends the job."""
        try:
            newest = await self._newest()
        except TransportError:
            await self._queue.connection.wait_connected()
            return None
        return newest if newest.event.is_terminal else None

    async def _newest(self) -> StoredEvent:
        """Read the newest event. In a cluster, a replica may receive a new job a moment after it was created."""
        for pause in _STORED_WITHIN if self._queue.connection.server_count > 1 else (0.0,):
            await asyncio.sleep(pause)
            newest = await self._event_log.newest(self._id)
            if newest is not None:
                return newest
        raise self._not_found()

    def _not_found(self) -> JobNotFound:
        return JobNotFound(f'no job "{self._id}" is stored in queue "{self._queue.queue}"')

    @asynccontextmanager
    async def _watch_endings(self) -> AsyncGenerator[asyncio.Event]:
        """Yield an event that is set when the job may have ended.

        A message is only a reason to read: subscribers also receive events that the stream then refuses.
        """
        connection, subjects = self._queue.connection, self._queue.subjects
        ended = asyncio.Event()
        endings = {subjects.event(self._id, ending) for ending in TERMINAL_EVENTS}
        subscription = connection.subscribe(
            subjects.event(self._id, "*"),
            lambda message: ended.set() if message.subject in endings else None,
        )
        forget = connection.on_reconnect(ended.set)
        try:
            await connection.flush()
            yield ended
        finally:
            forget()
            await subscription.unsubscribe()


def _failure(state: JobState, message: str) -> JobError:
    match state:
        case JobState.CANCELLED:
            return JobCancelled(message)
        case JobState.EXPIRED:
            return JobExpired(message)
        case JobState.SKIPPED:
            return JobSkipped(message)
        case JobState.STALE:
            return JobStale(message)
        case _:
            return JobFailed(message)
