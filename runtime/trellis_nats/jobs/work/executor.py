"""Takes one work message to its end: admission, the handler, the event, the acknowledgement."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Generic

from trellis_nats._nats.jetstream.pull import Delivery
from trellis_nats.binding import QueueBinding
from trellis_nats.clock import now
from trellis_nats.jobs.capacity import Permit
from trellis_nats.jobs.keys.acquire import Wait
from trellis_nats.jobs.keys.lease import SlotLease
from trellis_nats.jobs.keys.work import KeyedWork
from trellis_nats.jobs.model.event import LifecycleEvent, NewEvent
from trellis_nats.jobs.model.event_factory import NOT_KEYED, JobIdentity
from trellis_nats.jobs.model.malformed import malformed_reason
from trellis_nats.jobs.model.outcome import Acknowledgement
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.jobs.model.triage import Exhausted, Finished, Overdue, Start, TooEarly, admit, is_outdated
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.queue_context import QueueContext
from trellis_nats.jobs.store.event_log import StoredEvent, WriteConflict
from trellis_nats.jobs.store.liveness import Liveness
from trellis_nats.jobs.tries import Tries
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.finish import acknowledge, without_history
from trellis_nats.jobs.work.handler import HandlerRegistration
from trellis_nats.jobs.work.redelivery import RedeliveryPolicy, postponed_delay

__all__ = ["Executor"]

_log = logging.getLogger(__name__)


class Executor(Generic[PayloadT, ResultT, UpdateT]):
    """Works the messages of one queue, each in its own call of `execute`."""

    def __init__(
        self,
        access: QueueContext[PayloadT, ResultT, UpdateT],
        binding: QueueBinding,
        registration: HandlerRegistration[PayloadT, ResultT, UpdateT],
        *,
        claims: Liveness,
        keyed: KeyedWork | None,
        stopping: asyncio.Event,
        grace_over: asyncio.Event,
    ) -> None:
        self._access = access
        self._claims = claims
        self._keyed = keyed
        self._event_log = access.event_log
        self._binding = binding
        self._stopping = stopping
        self.delivery = RedeliveryPolicy(binding.ack_wait)
        """What the consumer really does; the worker reads it from the server."""
        self._tries = Tries(access, binding, registration, claims=claims, keyed=keyed, grace_over=grace_over)
        self.attempts = self._tries.running
        """The tries that run now, by job id."""

    async def execute(self, message: Delivery, permit: Permit) -> None:
        """Take one message to its end. Lay its hand down once no handler runs any more: another may begin.

        Raises:
            TransportError: NATS failed before the handler began; the message is still unanswered.
        """
        work = LifecycleEvent.parse(message.data)
        problem = malformed_reason(work, self._queue)
        if work is None or problem is not None:
            _log.error("queue %s: a work message is no job and was removed: %s", self._queue, problem)
            await message.term(problem or "not a job")
            return
        if message.source_sequence is None:
            # Not copied by the server from what is stored: anybody may have written it, so only what is stored counts.
            stored = await self._event_log.newest_of(work.job_id, work.event_type)
            if stored is None:
                await without_history(message, what=f"queue {self._queue}: job {work.job_id}")
                return
            work = stored.event
        newest = self._assumed(message, work)
        while not self._stopping.is_set():
            if newest is None:
                newest = await self._event_log.newest(work.job_id)
            try:
                if await self._decide(message, work, newest, permit):
                    return
            except WriteConflict:
                _log.debug("job %s: another writer was faster", work.job_id)
            newest = None
        await message.nak()

    def close(self) -> None:
        """Let those messages be given back that wait for their key: the worker stops."""
        if self._keyed is not None:
            self._keyed.close()

    def _assumed(self, message: Delivery, work: LifecycleEvent) -> StoredEvent | None:
        """Assume of a first delivery that nothing happened since: where it is not so, the fence says it.

        That saves a read for almost every job. None where there is no fence, or no place in the stream to fence on.
        """
        fresh = message.delivered == 1 and work.event_type == EventType.CREATED
        if not fresh or message.source_sequence is None or not self._event_log.is_fenced:
            return None
        return StoredEvent(work, message.source_sequence, None)

    @property
    def _queue(self) -> str:
        return self._binding.queue_type

    async def _decide(
        self, message: Delivery, work: LifecycleEvent, newest: StoredEvent | None, permit: Permit
    ) -> bool:
        """Do what the job's history asks for. Return False when the history has to be read again."""
        if newest is None:
            await without_history(message, what=f"queue {self._queue}: job {work.job_id}")
            return True
        identity = JobIdentity(
            job_id=work.job_id, service=work.service, queue=work.job_type, context=work.job_context()
        )
        admission = admit(work, newest.event, max_deliver=self._binding.max_deliver, at=now())
        match admission:
            case Start(previous):
                if previous is not JobState.PENDING and await self._was_retried(work):
                    await message.ack()
                elif previous is not JobState.ACTIVE or not await self._is_held(work.job_id):
                    return await self._try(message, work, newest, identity, admission, permit)
            case Finished():
                return await self._finish(message, work, newest, permit)
            case Overdue(JobState.ACTIVE) | Exhausted(JobState.ACTIVE) if await self._is_held(work.job_id):
                return True
            case Overdue(previous, tries):
                late = "job exceeded deadline"
                ended = identity.ended(
                    EventType.EXPIRED, previous=previous, tries=tries, error=late, at=now()
                )
                return await self._end(message, work, newest, ended, permit)
            case Exhausted(previous, tries, error):
                ended = identity.ended(EventType.DEAD, previous=previous, tries=tries, error=error, at=now())
                return await self._end(message, work, newest, ended, permit)
            case TooEarly(delay):
                await message.nak(self.delivery.nak_delay(delay, delivered=message.delivered))
        return True

    async def _try(
        self,
        message: Delivery,
        work: LifecycleEvent,
        newest: StoredEvent,
        identity: JobIdentity,
        start: Start,
        permit: Permit,
    ) -> bool:
        """Take a try from its beginning to its end, once its key has a slot. Return False to read the history again."""
        held: SlotLease | None = None
        if self._keyed is not None and work.job_id not in self.attempts:
            found = await self._keyed.slot_for(work, newest.event, tries=start.tries, permit=permit)
            if found is Wait.CROWDED:
                await message.nak(postponed_delay(message.delivered))
                return True
            if found is Wait.LOOK_AGAIN:
                return False
            held = found
        retry_after: timedelta | None = None
        given_back = False
        attempt = Attempt(self._event_log, identity, tries=start.tries, after=newest.sequence)
        try:
            if work.job_id in self.attempts:  # it is left to that try, as to one in another process
                _log.info("job %s of queue %s came again, and runs here", work.job_id, self._queue)
                return True
            started = identity.started(
                previous=start.previous,
                tries=start.tries,
                instance_id=self._claims.instance_id,
                at=now(),
                keyed=NOT_KEYED if held is None else held.facts,
            )
            settlement = await self._tries.run(message, work, attempt, started, held, permit)
            if settlement.acknowledgement is Acknowledgement.AGAIN:
                retry_after = settlement.delay
        finally:
            if held is not None and self._keyed is not None:
                given_back = await self._keyed.give_back(
                    held, retry_after=retry_after, began=attempt.has_begun
                )
        if held is None or given_back:  # else it comes again, and takes the job out of its key's record
            what = f"job {work.job_id} of queue {self._queue}"
            await acknowledge(message, settlement, self.delivery, what=what)
        return True

    async def _was_retried(self, work: LifecycleEvent) -> bool:
        """Say whether an operator sent the job again after this message; another message stands for that."""
        retried = await self._event_log.newest_of(work.job_id, EventType.RETRIED)
        return retried is not None and is_outdated(work, retried.event)

    async def _is_held(self, job_id: str) -> bool:
        """Ask the process that began the newest try. The message is left to it: its heartbeats keep it."""
        started = await self._event_log.newest_of(job_id, EventType.STARTED)
        held = started is not None and await self._claims.is_held(job_id, started.event.instance_id)
        if held:
            _log.info("job %s of queue %s came again, and its worker lives", job_id, self._queue)
        else:
            _log.warning("job %s of queue %s came again, and its worker has it no more", job_id, self._queue)
        return held

    async def _end(
        self,
        message: Delivery,
        work: LifecycleEvent,
        newest: StoredEvent,
        ended: NewEvent,
        permit: Permit,
    ) -> bool:
        """Write the end of a job that no handler works on, then acknowledge. Return False to read the history again."""
        await self._event_log.append(ended, after=newest.sequence)
        error = ended.body["error"]
        _log.warning("job %s of queue %s is %s: %s", work.job_id, self._queue, ended.event_type, error)
        if not await self._leave_key(work, permit):
            return False
        await message.ack_confirmed()
        return True

    async def _finish(
        self, message: Delivery, work: LifecycleEvent, newest: StoredEvent, permit: Permit
    ) -> bool:
        """Acknowledge what need not be done any more. Return False to read the history again."""
        if newest.event.is_terminal and not await self._leave_key(work, permit):
            return False
        await message.ack()
        return True

    async def _leave_key(self, work: LifecycleEvent, permit: Permit) -> bool:
        """Take a job that has ended out of its key's record. Return False when the worker stops before."""
        return self._keyed is None or await self._keyed.forget(work, permit)
