"""Takes one work message to its end: admission, the handler, the event, the acknowledgement."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final, Generic

from trellis_nats._nats.pull import WorkMessage
from trellis_nats.binding import QueueBinding
from trellis_nats.clock import now
from trellis_nats.errors import InvalidPayload, TransportError
from trellis_nats.jobs.access import QueueAccess
from trellis_nats.jobs.active import ActiveJob, JobFacts
from trellis_nats.jobs.admission import Exhausted, Finished, Overdue, Start, TooEarly, admit, is_outdated
from trellis_nats.jobs.attempt import Attempt
from trellis_nats.jobs.claims import Claims
from trellis_nats.jobs.delivery import Delivery
from trellis_nats.jobs.event import LifecycleEvent
from trellis_nats.jobs.handling import run_handler
from trellis_nats.jobs.hands import Hand
from trellis_nats.jobs.history import Overtaken, StoredEvent
from trellis_nats.jobs.lineage import origin_of
from trellis_nats.jobs.outcome import (
    Acknowledgement,
    Cancelled,
    Completed,
    Ending,
    Failed,
    Settlement,
    Superseded,
    settle,
)
from trellis_nats.jobs.record import JobIdentity, instant
from trellis_nats.jobs.registration import Registration
from trellis_nats.jobs.states import EventType, JobState
from trellis_nats.jobs.variables import PayloadT, ResultT, UpdateT

__all__ = ["Executor"]


_log = logging.getLogger(__name__)

_NOT_STORED_YET: Final = timedelta(seconds=1)
"""How long a message rests whose job no replica knows yet."""
_DELIVERIES_UNKNOWN_MAX: Final = 5
"""After so many deliveries a job without a history is no job: its history was purged, or the message is forged."""
_WRITE_AGAIN: Final = timedelta(seconds=1)
"""The pause between writes of an outcome while NATS cannot take it."""


class Executor(Generic[PayloadT, ResultT, UpdateT]):
    """Works the messages of one queue, each in its own call of `execute`."""

    def __init__(
        self,
        access: QueueAccess[PayloadT, ResultT, UpdateT],
        binding: QueueBinding,
        registration: Registration[PayloadT, ResultT, UpdateT],
        *,
        claims: Claims,
        stopping: asyncio.Event,
        grace_over: asyncio.Event,
    ) -> None:
        self._access = access
        self._claims = claims
        self._history = access.history
        self._binding = binding
        self._registration = registration
        self._stopping = stopping
        self._grace_over = grace_over
        self.delivery = Delivery(binding.ack_wait)
        """What the consumer really does; the worker reads it from the server."""
        self.attempts: dict[str, Attempt] = {}
        """The tries that run now, by job id."""
        self.storing = 0
        """How many outcomes are being stored."""

    async def execute(self, message: WorkMessage, hand: Hand) -> None:
        """Take one message to its end. Lay its hand down once no handler runs any more: another may begin.

        Raises:
            TransportError: NATS failed before the handler began; the message is still unanswered.
        """
        work = LifecycleEvent.parse(message.data)
        problem = self._problem(work)
        if work is None or problem is not None:
            _log.error("queue %s: a work message is no job and was removed: %s", self._queue, problem)
            await message.term(problem or "not a job")
            return
        newest = self._assumed(message, work)
        while not self._stopping.is_set():
            if newest is None:
                newest = await self._history.newest(work.job_id)
            try:
                await self._decide(message, work, newest, hand)
            except Overtaken:
                newest = None
                continue
            return
        await message.nak()

    def _assumed(self, message: WorkMessage, work: LifecycleEvent) -> StoredEvent | None:
        """Assume of a first delivery that nothing happened since: where it is not so, the fence says it.

        That saves a read for almost every job. None where there is no fence, or no place in the stream to fence on.
        """
        fresh = message.delivered == 1 and work.event_type == EventType.CREATED
        if not fresh or message.source_sequence is None or not self._history.is_fenced:
            return None
        return StoredEvent(work, message.source_sequence, None)

    @property
    def _queue(self) -> str:
        return self._binding.queue_type

    def _problem(self, work: LifecycleEvent | None) -> str | None:
        """Say why a message is no job of this queue; None when it is one."""
        if work is None:
            return "its body is not a lifecycle event"
        if work.event_type not in (EventType.CREATED, EventType.RETRIED):
            return f'its event is "{work.event_type}", not created or retried'
        if work.job_type != self._queue:
            return f'it is for queue "{work.job_type}"'
        if not work.has_payload:
            return "it has no payload"
        if self._access.subjects.parse(self._access.subjects.event(work.job_id, work.event_type)) is None:
            return "its job id may not stand in a subject"
        return None

    async def _decide(
        self,
        message: WorkMessage,
        work: LifecycleEvent,
        newest: StoredEvent | None,
        hand: Hand,
    ) -> None:
        if newest is None:
            await self._without_history(message, work)
            return
        identity = JobIdentity(
            job_id=work.job_id, service=work.service, queue=work.job_type, context=work.job_context()
        )
        admission = admit(work, newest.event, max_deliver=self._binding.max_deliver, at=now())
        match admission:
            case Finished():
                await message.ack()
            case Overdue(JobState.ACTIVE) | Exhausted(JobState.ACTIVE) if await self._is_held(work.job_id):
                return
            case Overdue(previous, tries):
                late = "job exceeded deadline"
                ended = identity.ended(
                    EventType.EXPIRED, previous=previous, tries=tries, error=late, at=now()
                )
                await self._end(message, newest, ended)
            case Exhausted(previous, tries, error):
                ended = identity.ended(EventType.DEAD, previous=previous, tries=tries, error=error, at=now())
                await self._end(message, newest, ended)
            case TooEarly(delay):
                await message.nak(self.delivery.nak_delay(delay, delivered=message.delivered))
            case Start(previous, tries):
                if previous is not JobState.PENDING and await self._was_retried(work):
                    await message.ack()
                    return
                if previous is JobState.ACTIVE and await self._is_held(work.job_id):
                    return
                instance = self._claims.instance_id
                started = await self._history.append(
                    identity.started(previous=previous, tries=tries, instance_id=instance, at=now()),
                    after=newest.sequence,
                )
                settlement = await self._work(message, work, Attempt(self._history, identity, started), hand)
                await self._acknowledge(message, work, settlement)

    async def _without_history(self, message: WorkMessage, work: LifecycleEvent) -> None:
        if message.delivered < _DELIVERIES_UNKNOWN_MAX:
            await message.nak(_NOT_STORED_YET)
            return
        _log.error("queue %s: job %s has no history and was removed", self._queue, work.job_id)
        await message.term("the job has no history")

    async def _was_retried(self, work: LifecycleEvent) -> bool:
        """Say whether an operator sent the job again after this message; another message stands for that."""
        retried = await self._history.newest_of(work.job_id, EventType.RETRIED)
        return retried is not None and is_outdated(work, retried.event)

    async def _is_held(self, job_id: str) -> bool:
        """Ask the process that began the newest try. The message is left to it: its heartbeats keep it."""
        started = await self._history.newest_of(job_id, EventType.STARTED)
        held = started is not None and await self._claims.is_held(job_id, started.event.instance_id)
        if held:
            _log.info("job %s of queue %s came again, and its worker lives", job_id, self._queue)
        return held

    async def _end(self, message: WorkMessage, newest: StoredEvent, ended: LifecycleEvent) -> None:
        """Write the end of a job that no handler works on, then acknowledge."""
        await self._history.append(ended, after=newest.sequence)
        await message.ack_confirmed()
        _log.warning("job %s of queue %s is %s: %s", ended.job_id, self._queue, ended.event_type, ended.error)

    async def _work(
        self, message: WorkMessage, work: LifecycleEvent, attempt: Attempt, hand: Hand
    ) -> Settlement:
        """Run the handler, then write what became of the try until it is stored or somebody else was faster."""
        job_id = work.job_id
        if self._grace_over.is_set():
            attempt.interrupt()
        self.attempts[job_id] = attempt
        self._claims.hold(job_id)
        try:
            ending = await self._run(message, work, attempt)
            hand.lay_down()
            self.storing += 1
            try:
                return await self._settle(ending, attempt, work.max_tries)
            finally:
                self.storing -= 1
        finally:
            del self.attempts[job_id]
            self._claims.release(job_id)

    async def _acknowledge(self, message: WorkMessage, work: LifecycleEvent, settlement: Settlement) -> None:
        match settlement.acknowledgement:
            case Acknowledgement.CONFIRMED:
                await message.ack_confirmed()
            case Acknowledgement.AGAIN:
                delay = self.delivery.nak_delay(settlement.delay, delivered=message.delivered)
                await message.nak(delay)
            case Acknowledgement.LEAVE:
                _log.warning("job %s of queue %s: another worker has it now", work.job_id, self._queue)

    async def _run(self, message: WorkMessage, work: LifecycleEvent, attempt: Attempt) -> Ending:
        try:
            payload = self._access.payload.from_json(work.payload)
        except InvalidPayload as error:
            return Failed(str(error))
        facts = JobFacts(
            queue=self._queue,
            context=work.job_context(),
            deadline=instant(work.deadline),
            max_tries=work.max_tries or self._binding.max_deliver,
            redelivery_count=max(message.delivered, attempt.tries) - 1,
        )
        job = ActiveJob[PayloadT, ResultT, UpdateT](
            payload, attempt, facts, updates=self._access.updates, beat=message.in_progress
        )
        return await run_handler(
            self._registration,
            job,
            attempt,
            origin=origin_of(work),
            result=self._access.result,
        )

    async def _settle(self, ending: Ending, attempt: Attempt, max_tries: int | None) -> Settlement:
        """Write the end of a try. What ran must not run again because NATS was away for a moment."""
        while True:
            if attempt.superseded:
                ending = Superseded()
            elif attempt.cancelled.is_set():
                ending = Cancelled()
            settlement = settle(
                ending,
                tries=attempt.tries,
                max_deliver=max_tries or self._binding.max_deliver,
                backoff=self._binding.backoff,
            )
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
                    )
                )
            except Overtaken:
                continue
            except TransportError as error:
                if self._grace_over.is_set():
                    raise
                _log.warning(
                    "job %s: %s is not stored yet: %s", attempt.identity.job_id, settlement.event, error
                )
                await asyncio.sleep(_WRITE_AGAIN.total_seconds())
            else:
                return settlement
