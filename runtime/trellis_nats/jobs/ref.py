"""A handle on one job, wherever it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from trellis_nats._nats.outages import through_outages
from trellis_nats.clock import describe_duration
from trellis_nats.errors import (
    ActionRefused,
    ConfigurationError,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobSkipped,
    JobStale,
    MalformedJobEvent,
)
from trellis_nats.errors.configuration import require_text, require_timedelta
from trellis_nats.ids import new_id
from trellis_nats.jobs.actions.replacement import EditedPayload
from trellis_nats.jobs.model.admin_action import AdminAction
from trellis_nats.jobs.model.event import StoredEvent
from trellis_nats.jobs.model.lifecycle import JobLife, begins_history
from trellis_nats.jobs.model.snapshot import JobSnapshot, snapshot_of
from trellis_nats.jobs.model.states import JobState
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.queue_actions import actions_of, from_service, replacements_of
from trellis_nats.jobs.store.event_stream import JobEvent, history_of, job_event
from trellis_nats.jobs.store.live_updates import UpdateInbox
from trellis_nats.jobs.work.queue_context import QueueContext

__all__ = ["JobRef"]

T = TypeVar("T")


class JobRef(Generic[PayloadT, ResultT, UpdateT]):
    """A handle on one job. It holds no resources; `queue.ref(job_id)` returns one for any job of the queue."""

    def __init__(
        self, queue: QueueContext[PayloadT, ResultT, UpdateT], job_id: str, *, is_stored: bool = False
    ) -> None:
        """Created by the queue; `is_stored` when this process knows that the job is stored."""
        self._queue = queue
        self._event_log = queue.event_log
        self._reader = queue.reader
        self._id = job_id
        self._is_stored = is_stored

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
        """Read the job as it stands now. Its payload and result are decoded when they are asked for.

        Raises:
            JobNotFound: no job with this id is stored, nor has been within the next second.
            MalformedJobEvent: the job's newest event cannot be read.
            TransportError: NATS did not answer.
        """
        self._queue.connection.require_own_loop()
        newest = await self._reader.newest(self._id)
        return self._snapshot(await self._reader.snapshot_events(newest))

    async def wait(self, *, timeout: timedelta | None = None) -> JobSnapshot[PayloadT, ResultT]:
        """Wait until the job ends, in whatever way, and return it as it stands then.

        Outages do not end the wait, however long they are; what ends it is the job, or `timeout`.

        Args:
            timeout: how long to wait. The default is to wait as long as it takes, through reconnects.

        Raises:
            JobNotFound: no job with this id is stored.
            TimeoutError: `timeout` passed first; the job continues.
            MalformedJobEvent: the event that ended the job cannot be read.
            PermissionDenied: the account may not read the job.
            ApiError: the server refused to read it.
            NotConnected: the service or client was stopped.
        """
        self._queue.connection.require_own_loop()
        async with self._limit(timeout):
            after = 0
            while True:
                endings = await self._reader.wait_ended(self._id, is_stored=self._is_stored, after=after)
                events = await self._reader.ended_snapshot_events(self._id, endings)
                snapshot = self._snapshot(events)
                if snapshot.is_terminal:
                    return snapshot
                after = endings[-1].sequence  # the job was opened again meanwhile

    async def result(self, *, timeout: timedelta | None = None) -> ResultT:
        """Wait until the job ends and return its result. Like `wait`, it goes through outages.

        Args:
            timeout: how long to wait. The default is to wait as long as the job takes.

        Raises:
            JobFailed: the handler raised `JobFailed`, or every attempt failed.
            JobCancelled: the job was cancelled.
            JobExpired: its deadline passed first.
            JobSkipped: a newer job of its key replaced it.
            JobStale: the lease of its key expired, and it lost its slot.
            InvalidPayload: the job is completed, and its stored result does not match the schema.
            JobNotFound: no job with this id is stored.
            TimeoutError: `timeout` passed first; the job continues.
            MalformedJobEvent: the event that ended the job cannot be read.
            PermissionDenied: the account may not read the job.
            ApiError: the server refused to read it.
            NotConnected: the service or client was stopped.
        """
        self._queue.connection.require_own_loop()
        async with self._limit(timeout):
            endings = await self._reader.wait_ended(self._id, is_stored=self._is_stored)
        ended = endings[-1].event
        if ended.effective_state is not JobState.COMPLETED:
            state = ended.effective_state
            raise _failure(state, ended.error or f"job {self._id} is {state}")
        codec = self._queue.result
        # None only where ResultT is None.
        return None if codec is None else codec.from_json(ended.result)  # type: ignore[return-value]

    async def events(self) -> AsyncGenerator[JobEvent, None]:
        """Iterate over the job's events, from its creation on; the iteration ends with the job.

        They come from the stream, in order, through reconnects and outages. However late the iteration begins, it yields
        every event since the job's creation, except those that another runtime stored behind the end. A job that an
        operator has sent again is followed to its newest end.

        Raises:
            PermissionDenied: the account may not create a consumer on stream JOBS. Workers do not need that.
            JobNotFound: no job with this id is stored.
            MalformedJobEvent: the job's newest event cannot be read.
            ApiError: JetStream refused the consumer.
            NotConnected: the service or client was stopped.
        """
        self._queue.connection.require_own_loop()
        newest = await self._through_outages(lambda: self._reader.newest(self._id))
        life: JobLife | None = None
        async with aclosing(
            history_of(self._queue.connection, self._queue.subjects.job(self._id))
        ) as event_log:
            async for sequence, stored in event_log:
                event = None if stored is None else stored.event
                if event is not None and event.job_id == self._id:
                    if life is None and begins_history(event):
                        life = JobLife()
                    if life is not None and life.take(event):
                        yield job_event(event)
                if sequence >= newest.sequence:
                    if life is None:
                        raise self._reader.not_found(self._id)
                    if life.has_ended:
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
        wait_ended = self._reader.wait_ended(self._id, is_stored=self._is_stored)
        ended = asyncio.create_task(wait_ended)
        try:
            await self._through_outages(self._queue.connection.flush)
            newest = await self._through_outages(lambda: self._reader.newest(self._id))
            inbox.begin(newest.event.tries)
            while not ended.done() or inbox.arrived.is_set():
                arrived = asyncio.create_task(inbox.arrived.wait())
                try:
                    await asyncio.wait((arrived, ended), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    arrived.cancel()
                for value in updates.decode(inbox.take()):
                    yield value
            await ended
        finally:
            ended.cancel()
            await subscription.unsubscribe()

    async def cancel(
        self, reason: str = "cancelled", *, actor: str | None = None
    ) -> JobSnapshot[PayloadT, ResultT]:
        """Cancel the job, unless it has ended, and return it as it stands now.

        A job that waits never starts. A running handler sees `job.is_cancelled`, and what it returns no longer matters.
        Cancelling twice is harmless.

        Args:
            reason: stored as the job's last error.
            actor: the person or program that acts, where that is not the service itself.

        Raises:
            ConfigurationError: the reason or the actor is not a text.
            JobNotFound: no job with this id is stored.
            MalformedJobEvent: the job's newest event cannot be read.
            WriteUnknown: no answer came; the cancellation may be stored.
            TransportError: NATS did not answer or refused; nothing was stored.
        """
        self._queue.connection.require_own_loop()
        require_text("reason", reason)
        by = AdminAction() if actor is None else from_service(actor=actor, reason=reason)
        try:
            done = await actions_of(self._queue).cancel(self._id, by, error=reason)
        except ActionRefused:  # it has ended
            return await self.get()
        return self._snapshot(done.events)

    async def retry(
        self,
        *,
        reason: str | None = None,
        actor: str | None = None,
        deadline: timedelta | datetime | None = None,
    ) -> JobSnapshot[PayloadT, ResultT]:
        """Let the job begin again, if it failed or is dead, and return it as it stands now.

        It keeps its id, its payload and its idempotency key, and has all its attempts. In a queue with a concurrency key it
        waits for a slot of its key, before new jobs.

        Args:
            reason: why, for the job's history.
            actor: the person or program that acts.
            deadline: a new deadline: an instant, or a time from now. The default is the job's own.

        Raises:
            ActionRefused: the job has neither failed nor died; its deadline has passed; or its payload is not stored any
                longer. The text says what happened to the job, and when.
            ConfigurationError: the reason or the actor is not a text, or the new deadline has passed.
            JobNotFound: no job with this id is stored.
            MalformedJobEvent: the job's newest event cannot be read.
            WriteUnknown: no answer came; the job may begin again.
            PermissionDenied: the account may not store `retried` events: the roles `worker` and `operator` may.
            TransportError: NATS did not answer or refused; nothing was stored.
        """
        self._queue.connection.require_own_loop()
        by = from_service(actor=actor, reason=reason)
        done = await actions_of(self._queue).retry_or_replay(self._id, by, deadline=deadline)
        return self._snapshot(done.events)

    async def dismiss(
        self, *, reason: str | None = None, actor: str | None = None
    ) -> JobSnapshot[PayloadT, ResultT]:
        """Put the job aside, if it is dead, and return it as it stands now. It cannot be replayed any longer.

        Args:
            reason: why; it becomes the job's last error.
            actor: the person or program that acts.

        Raises:
            ActionRefused: the job is not dead.
            ConfigurationError: the reason or the actor is not a text.
            JobNotFound: no job with this id is stored.
            MalformedJobEvent: the job's newest event cannot be read.
            WriteUnknown: no answer came; the dismissal may be stored.
            PermissionDenied: the account may not store `dismissed` events: the roles `worker` and `operator` may.
            TransportError: NATS did not answer or refused; nothing was stored.
        """
        self._queue.connection.require_own_loop()
        done = await actions_of(self._queue).dismiss(self._id, from_service(actor=actor, reason=reason))
        return self._snapshot(done.events)

    async def replay_edited(
        self,
        payload: PayloadT,
        *,
        reason: str | None = None,
        actor: str | None = None,
        request_id: str | None = None,
        deadline: timedelta | datetime | None = None,
    ) -> JobRef[PayloadT, ResultT, UpdateT]:
        """Create a job with another payload instead of this one, if it is dead, and dismiss this one. Return the new one.

        There is at most one new job, also when this call is repeated or two processes make it.

        Args:
            payload: of the new job.
            reason: why, for the history of both.
            actor: the person or program that acts.
            request_id: names this request. If the call fails on the way, a call with the same one continues.
            deadline: of the new job: an instant, or a time from now. The default is that of this job.

        Raises:
            InvalidPayload: the payload does not match its schema, or has no concurrency key; nothing was sent.
            ActionRefused: the job is not dead, was replaced by another request, or its deadline has passed.
            JobNotEnqueued: the concurrency key of the new payload has no room; nothing was stored.
            ConfigurationError: an argument is not a text, or the new deadline has passed.
            JobNotFound: no job with this id is stored.
            WriteUnknown: no answer came; the new job may be stored.
            PermissionDenied: the account may not store `dismissed` events: the roles `worker` and `operator` may.
            TransportError: NATS did not answer or refused.
        """
        queue, digest = self._queue, self._queue.payloads.digest
        queue.connection.require_own_loop()
        created = await replacements_of(queue).replay(
            self._id,
            EditedPayload(queue.payload.write(payload), digest),
            from_service(actor=actor, reason=reason),
            request_id=new_id() if request_id is None else request_id,
            deadline=deadline,
        )
        return JobRef(queue, created.event.job_id, is_stored=True)

    async def recreate(
        self,
        *,
        reason: str | None = None,
        actor: str | None = None,
        request_id: str | None = None,
        deadline: timedelta | datetime | None = None,
    ) -> JobRef[PayloadT, ResultT, UpdateT]:
        """Create a job with the payload of this one, if it is stale, and return the new one. It names this one in its trigger.

        There is at most one new job, also when this call is repeated or two processes make it. The arguments are those of
        `replay_edited`.

        Raises:
            ActionRefused: the job is not stale, was created again by another request, or its deadline has passed; or its
                payload is not stored any longer.
            JobNotEnqueued: the concurrency key has no room; nothing was stored.
            InvalidPayload: the stored payload has no concurrency key; nothing was stored.
            ConfigurationError: an argument is not a text, or the new deadline has passed.
            JobNotFound: no job with this id is stored.
            WriteUnknown: no answer came; the new job may be stored.
            TransportError: NATS did not answer or refused.
        """
        queue = self._queue
        queue.connection.require_own_loop()
        created = await replacements_of(queue).recreate(
            self._id,
            from_service(actor=actor, reason=reason),
            request_id=new_id() if request_id is None else request_id,
            deadline=deadline,
        )
        return JobRef(queue, created.event.job_id, is_stored=True)

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
            await self._reader.newest(self._id)
        return await keys.remove(self._id)

    def _snapshot(self, events: Sequence[StoredEvent]) -> JobSnapshot[PayloadT, ResultT]:
        snapshot = snapshot_of(events, payloads=self._queue.payloads, result=self._queue.result)
        if snapshot is None:
            raise self._reader.not_found(self._id)
        return snapshot

    async def _through_outages(self, operation: Callable[[], Awaitable[T]]) -> T:
        what = f"reading job {self._id} of queue {self.queue}"
        return await through_outages(self._queue.connection, operation, what=what)

    @asynccontextmanager
    async def _limit(self, timeout: timedelta | None) -> AsyncGenerator[None]:
        """Limit the time of a wait.

        Raises:
            TimedeltaExpected: the limit is not a timedelta.
            TimeoutError: the time is over.
        """
        require_timedelta("timeout", timeout)
        limit = asyncio.timeout(None if timeout is None else timeout.total_seconds())
        try:
            async with limit:
                yield
        except TimeoutError:
            if timeout is None or not limit.expired():
                raise
            raise TimeoutError(
                f"job {self._id} of queue {self.queue} has not ended within {describe_duration(timeout)}; it continues"
            ) from None


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
