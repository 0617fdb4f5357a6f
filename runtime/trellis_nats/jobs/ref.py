"""A handle on one job, wherever it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import timedelta
from typing import Final, Generic

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
from trellis_nats.jobs.model.snapshot import SNAPSHOT_EVENTS, JobSnapshot, snapshot_of
from trellis_nats.jobs.model.states import TERMINAL_EVENTS, TERMINAL_STATES, EventType, JobState
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.queue_context import QueueContext
from trellis_nats.jobs.store.event_log import WriteConflict
from trellis_nats.jobs.store.event_stream import JobEvent, history_of, job_event
from trellis_nats.jobs.store.live_updates import UpdateInbox

__all__ = ["JobRef"]

_log = logging.getLogger(__name__)

_LOOK_AGAIN: Final = timedelta(seconds=15)
"""How long a waiter trusts that it was told of every event. A message may be dropped; a stored event is not."""
_STORED_WITHIN: Final = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5)
"""Seconds between looks after an event was heard: it is heard before it is stored, on replicas well before."""


class JobRef(Generic[PayloadT, ResultT, UpdateT]):
    """A handle on one job. It holds no resources, and may be made again from the id alone."""

    def __init__(self, access: QueueContext[PayloadT, ResultT, UpdateT], job_id: str) -> None:
        self._access = access
        self._id = job_id

    def __repr__(self) -> str:
        return f"<JobRef {self._access.queue} {self._id}>"

    @property
    def id(self) -> str:
        """The job's id, a ULID."""
        return self._id

    @property
    def queue(self) -> str:
        """The queue's name in the contract."""
        return self._access.queue

    async def get(self) -> JobSnapshot[PayloadT, ResultT]:
        """Read the job as it stands now.

        Raises:
            JobNotFound: no such job is stored.
            InvalidPayload: what is stored does not match its schema.
            TransportError: NATS did not answer.
        """
        await self._newest()
        events = await self._access.event_log.latest_by_type(self._id, SNAPSHOT_EVENTS)
        snapshot = snapshot_of(events, payload=self._access.payload, result=self._access.result)
        if snapshot is None:
            raise self._not_found()
        return snapshot

    async def wait(self, *, timeout: timedelta | None = None) -> JobSnapshot[PayloadT, ResultT]:
        """Wait until the job ends, in whatever way, and return how it stands then.

        With no timeout, wait for as long as it takes, through reconnects. Giving up does not cancel the job.

        Raises:
            JobNotFound: no such job is stored.
            TimeoutError: `timeout` passed first; the job goes on.
        """
        async with asyncio.timeout(None if timeout is None else timeout.total_seconds()):
            return await self._until_terminal()

    async def result(self, *, timeout: timedelta | None = None) -> ResultT:
        """Wait until the job ends and return its result.

        With no timeout, wait for as long as the job takes. Waiting does not keep the job alive, and giving up does
        not cancel it.

        Raises:
            JobFailed: the handler gave up, or every try was used.
            JobCancelled: someone cancelled the job.
            JobExpired: its deadline passed first.
            JobSkipped: a newer job of its key took its place.
            JobStale: the lease of its key ran out, and it lost its slot.
            JobNotFound: no such job is stored.
            TimeoutError: `timeout` passed first; the job goes on.
        """
        snapshot = await self.wait(timeout=timeout)
        if snapshot.state is JobState.COMPLETED:
            return snapshot.result  # type: ignore[return-value]  # None only where ResultT is None
        raise _failure(snapshot.state, snapshot.last_error or f"job {self._id} is {snapshot.state}")

    async def events(self) -> AsyncGenerator[JobEvent, None]:
        """Give the job's events, from its creation on, and end with the job.

        They come from the stream, in order, through reconnects, and late subscribers get the whole history. Events
        that are not legal where they stand are left out.

        Raises:
            PermissionDenied: the account may not make a consumer on stream JOBS. A worker's account need not.
            JobNotFound: no such job is stored.
        """
        await self._newest()
        life: JobLife | None = None
        async with aclosing(
            history_of(self._access.connection, self._access.subjects.job(self._id))
        ) as event_log:
            async for event in event_log:
                before, life = life, apply(life, event)
                if life is before or life is None:
                    continue
                yield job_event(event)
                if life.state in TERMINAL_STATES:
                    return

    async def updates(self) -> AsyncGenerator[UpdateT, None]:
        """Give the updates that the job's handler sends from now on, and end with the job.

        They are live: what was sent before, or while there was no connection, is gone. After a failed try the next
        one's updates follow. Of a thousand that wait for a slow reader, the oldest are dropped.

        Raises:
            ConfigurationError: the queue declares no `update`.
            JobNotFound: no such job is stored.
        """
        updates, inbox = self._access.updates, UpdateInbox(self._id)
        subscription = self._access.connection.subscribe(updates.subject(self._id), inbox.hear)
        ended = asyncio.create_task(self.wait())
        try:
            await self._access.connection.flush()
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
        """Cancel the job, unless it has ended, and return how it stands now.

        A job that waits never starts; a running handler sees `job.is_cancelled`, and what it returns no longer
        matters. Cancelling twice is harmless.

        Raises:
            JobNotFound: no such job is stored.
            TransportError: NATS did not answer.
        """
        event_log = self._access.event_log
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
                await event_log.append(cancelled, after=newest.sequence)
            except WriteConflict as overtaken:
                newest = overtaken.newest
            else:
                if event.effective_state is not JobState.ACTIVE:
                    await self._leave_key()
                break
        return await self.get()

    async def release_key(self) -> bool:
        """Take the job out of the record of its concurrency key; return whether it was there.

        For operators: under `stalePolicy: block`, a key whose worker died is held until its job runs again or somebody
        says this. A handler that still runs loses its slot at the next renewal and is stopped; its job is tried again
        when the key has room.

        Raises:
            ConfigurationError: the queue has no concurrency key.
            JobNotFound: no such job is stored.
            InvalidPayload: the payload that is stored has no key; such a job is in no record.
            TransportError: NATS did not take it.
        """
        keys = self._access.keys
        if keys is None:
            raise ConfigurationError(f'queue "{self._access.queue}" has no concurrency key')
        with suppress(MalformedJobEvent):  # the key is in the event that created it
            await self._newest()
        return await keys.remove(self._id)

    async def _leave_key(self) -> None:
        """Free the place of a job that will never begin. Else whoever needs it finds that the job has ended."""
        keys = self._access.keys
        try:
            if keys is not None:
                await keys.withdraw(self._id)
        except (TransportError, InvalidPayload) as error:
            _log.warning("job %s is cancelled, and still in the record of its key: %s", self._id, error)

    async def _until_terminal(self) -> JobSnapshot[PayloadT, ResultT]:
        async with self._heard() as heard:
            while True:
                if await self._has_ended():
                    return await self.get()
                try:
                    await asyncio.wait_for(heard.wait(), _LOOK_AGAIN.total_seconds())
                except TimeoutError:
                    continue
                heard.clear()
                for pause in _STORED_WITHIN:
                    await asyncio.sleep(pause)
                    if await self._has_ended():
                        return await self.get()

    async def _has_ended(self) -> bool:
        try:
            return (await self._newest()).event.is_terminal
        except TransportError:
            await self._access.connection.wait_connected()
            return False

    async def _newest(self) -> StoredEvent:
        """Read the newest event. In a cluster, a replica may know a fresh job a moment later than its creator."""
        for pause in _STORED_WITHIN if self._access.connection.server_count > 1 else (0.0,):
            await asyncio.sleep(pause)
            newest = await self._access.event_log.newest(self._id)
            if newest is not None:
                return newest
        raise self._not_found()

    def _not_found(self) -> JobNotFound:
        return JobNotFound(f'no job "{self._id}" is stored in queue "{self._access.queue}"')

    @asynccontextmanager
    async def _heard(self) -> AsyncGenerator[asyncio.Event]:
        """Give an event that is set when something may have ended the job.

        What is heard is only a reason to read: a subscriber also hears an event that the stream then refused.
        """
        connection, subjects = self._access.connection, self._access.subjects
        heard = asyncio.Event()
        endings = {subjects.event(self._id, ending) for ending in TERMINAL_EVENTS}
        subscription = connection.subscribe(
            subjects.event(self._id, "*"),
            lambda message: heard.set() if message.subject in endings else None,
        )
        forget = connection.on_reconnect(heard.set)
        try:
            await connection.flush()
            yield heard
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
