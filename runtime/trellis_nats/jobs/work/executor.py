"""Takes one delivery from its message to a stored outcome: triage, the handler, the event, the acknowledgement."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Final, Generic

from trellis_nats._nats.jetstream.pull import Delivery
from trellis_nats._support.capacity import Permit
from trellis_nats._support.log_events import LogEvent, log_fields
from trellis_nats._tracing.span import Span
from trellis_nats.errors import InvalidPayload
from trellis_nats.jobs.delay.parking import Parking
from trellis_nats.jobs.keys.acquire import NoSlot, SlotAcquirer
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.model.event import LifecycleEvent, NewEvent, StoredEvent
from trellis_nats.jobs.model.lifecycle import endings_of
from trellis_nats.jobs.model.lineage import origin_of
from trellis_nats.jobs.model.outcome import Acknowledgement, Ending, Failed, Released, Settlement
from trellis_nats.jobs.model.states import TERMINAL_EVENTS, EventType, JobState
from trellis_nats.jobs.model.triage import (
    Exhausted,
    Finished,
    Overdue,
    Start,
    TooEarly,
    Triage,
    is_outdated,
    time_to_retry,
    triage,
)
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.pause.intake import Intake
from trellis_nats.jobs.store.event_log import WriteConflict
from trellis_nats.jobs.store.liveness import Liveness
from trellis_nats.jobs.work.active_job import ActiveJob
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.attempt_counts import AttemptCounts
from trellis_nats.jobs.work.attempt_span import AttemptSpans
from trellis_nats.jobs.work.failure_detail import describe_failure
from trellis_nats.jobs.work.finish import acknowledge, reject_unknown, write_ending
from trellis_nats.jobs.work.handler import HandlerRegistration
from trellis_nats.jobs.work.invoke import invoke_handler
from trellis_nats.jobs.work.last_checkpoint import restore_checkpoint
from trellis_nats.jobs.work.other_version import VersionPatience
from trellis_nats.jobs.work.queue_context import QueueContext
from trellis_nats.jobs.work.redelivery import RedeliveryPolicy, spread
from trellis_nats.jobs.work.shutdown import Shutdown
from trellis_nats.jobs.work.takeover import Takeover, log_still_running
from trellis_nats.jobs.work.work_item import WorkItem, slot_request
from trellis_nats.jobs.work.work_message import Work, WorkMessageReader

__all__ = ["Executor"]

_log = logging.getLogger(__name__)

_EARLY: Final = timedelta(seconds=1)
"""A server that was restarted redelivers up to 0.9 s early."""
_STORED_AGAIN_AFTER: Final = timedelta(days=30)
"""The event of a job that waits is stored again at this age, long before stream JOBS drops it (after 90 days)."""


class Executor(Generic[PayloadT, ResultT, UpdateT]):
    """Works the messages of one queue, each in its own call of `execute`."""

    def __init__(
        self,
        context: QueueContext[PayloadT, ResultT, UpdateT],
        registration: HandlerRegistration[PayloadT, ResultT, UpdateT],
        *,
        liveness: Liveness,
        slots: SlotAcquirer | None,
        parking: Parking,
        jitter: float,
        versions: VersionPatience,
        counts: AttemptCounts,
        shutdown: Shutdown,
        intake: Intake,
    ) -> None:
        """Prepare.

        Args:
            context: what the queue's refs and workers share.
            registration: the handler.
            liveness: tells other processes which jobs this one works on, and asks them.
            slots: acquires slots of concurrency keys; None for a queue without keys.
            parking: where jobs wait for long.
            jitter: by which part the waits of the queue's backoff vary.
            versions: postpones payloads of other versions of the contract.
            counts: counts the attempts.
            shutdown: the steps of the worker's stop.
            intake: whether jobs may begin.
        """
        self.attempts: dict[str, Attempt] = {}
        """The attempts that run now, by job id."""
        self._context = context
        self._running = context.reader.nested_waits.running
        self._event_log = context.event_log
        self._clock = context.clock
        self._queue = context.binding.queue_type
        self._reader = WorkMessageReader(
            context.payloads, context.event_log, queue=self._queue, due_subject=context.subjects.due
        )
        self._max_deliver = context.binding.max_deliver
        self._waits = partial(spread, context.binding.backoff, jitter)
        self._registration, self._liveness = registration, liveness
        self._takeover = Takeover(context.event_log, liveness, queue=self._queue)
        self._slots, self._spans = slots, AttemptSpans(context.queue, counts)
        self._parking = parking
        self._versions, self._counts = versions, counts
        self._shutdown, self._grace_over = shutdown, shutdown.grace_over
        self._intake = intake

    async def execute(self, message: Delivery, permit: Permit, redelivery: RedeliveryPolicy) -> None:
        """Work one message until its job's outcome is stored or the message goes back to the server.

        It goes back at once, without an attempt, when the job may not begin: the worker stops, or the queue is paused.
        The permit is released as soon as the handler has ended, so that another handler may run.

        Raises:
            BodyMissing: the message lacks its body; it is still unanswered.
            MalformedJobEvent: the job's newest event cannot be read; the message is still unanswered.
            TransportError: NATS failed before the handler began; the message is still unanswered.
        """
        work = await self._reader.read(message)
        if work is None:
            return
        item = self._make_item(message, work, permit, redelivery)
        del work  # what lives as long as the handler is work for the garbage collector
        item.newest = self._assume_newest(item)
        while self._intake.is_open:
            if item.newest is None:
                item.newest = await self._event_log.newest(item.job_id)
            try:
                # Not from within `_decide`, for the same reason: its coroutine would wait for the handler too.
                decided = await self._decide(item)
                if isinstance(decided, Start):
                    decided = await self._attempt(item, decided)
                if decided:
                    return
            except WriteConflict as conflict:
                fields = log_fields(LogEvent.WRITE_CONFLICT, queue=self._queue, job_id=item.job_id)
                _log.debug("queue %s: %s; reading its events again", self._queue, conflict, extra=fields)
            item.newest = None
        await message.nak()

    def read_job_id(self, message: Delivery) -> str | None:
        """Return the id of the job that a message is about, for logs. None: the message is malformed."""
        event = self._reader.events.read(message.data, digest="")
        return None if event is None else event.job_id

    def return_waiting(self) -> None:
        """Wake the messages that wait for a slot of their key, so that they go back to the server."""
        if self._slots is not None:
            self._slots.wake_all()

    def _make_item(
        self, message: Delivery, work: Work, permit: Permit, redelivery: RedeliveryPolicy
    ) -> WorkItem:
        return WorkItem(
            message,
            work.event,
            sequence=work.sequence,
            digest=work.digest,
            parking=self._parking,
            key=self._key_of(work, message.data),
            permit=permit,
            redelivery=redelivery,
            max_deliver=self._max_deliver,
        )

    def _key_of(self, work: Work, data: bytes) -> JobKey | InvalidPayload | None:
        keys, digest = self._context.keys, work.digest
        if keys is None:
            return None
        payload = partial(self._reader.events.payload_json, work.event, data, digest)
        try:
            return keys.creator.key_of_stored(work.event, digest=digest, payload=payload)
        except InvalidPayload as error:
            return error

    def _assume_newest(self, item: WorkItem) -> StoredEvent | None:
        """Assume on a first delivery that the job has no newer event; if it has, the fenced write fails.

        That saves a read for almost every job. None where the server does not fence, or where the event's sequence is
        unknown.
        """
        message, event = item.message, item.event
        is_first = message.delivered == 1 and event.event_type == EventType.CREATED
        if not is_first or message.source_sequence is None or not self._event_log.is_fenced:
            return None
        return StoredEvent(event, item.sequence, None)

    # --- what the job's history asks for ---------------------------------------------------------------------------

    async def _decide(self, item: WorkItem) -> Start | bool:
        """Do what the job's history asks for, except an attempt: return that, for the caller to run.

        Return True when the message is answered, and False when the history has to be read again.
        """
        newest = item.newest
        if newest is None:
            await reject_unknown(item.message, self._queue, item.job_id)
            return True
        decided = self._triage(item, newest)
        match decided:
            case Start(previous):
                if await self._is_void(item, previous):
                    await item.message.ack()
                elif previous is not JobState.ACTIVE or not await self._takeover.runs_elsewhere(item):
                    return decided
            case Finished():
                return await self._acknowledge_finished(item, newest)
            case Overdue(JobState.ACTIVE) | Exhausted(JobState.ACTIVE) if await self._takeover.runs_elsewhere(
                item
            ):
                return True
            case Overdue(previous, tries):
                late = "job exceeded deadline"
                ended = item.identity.ended(
                    EventType.EXPIRED, previous=previous, tries=tries, error=late, at=self._clock.now()
                )
                return await self._end(item, newest, ended)
            case Exhausted(previous, tries, error):
                ended = item.identity.ended(
                    EventType.DEAD, previous=previous, tries=tries, error=error, at=self._clock.now()
                )
                return await self._end(item, newest, ended)
            case TooEarly(delay):
                return await self._wait(item, newest, delay)
        return True

    def _triage(self, item: WorkItem, newest: StoredEvent) -> Triage:
        message, clock = item.message, self._clock
        at = clock.now()
        if self._reader.is_due(message):
            at = max(at, clock.at(message.stored_at))  # the server made it due, so its clock says so
        retry_in = timedelta(0)
        if newest.event.event_type == EventType.RETRY:
            retry_in = time_to_retry(
                newest.event,
                stored_at=None if newest.stored_at is None else clock.at(newest.stored_at),
                server_time=max(self._parking.server_clock.now() + clock.ahead, clock.at(message.stored_at)),
            )
        return triage(item.event, newest.event, max_attempts=item.max_attempts, at=at, retry_in=retry_in)

    async def _wait(self, item: WorkItem, newest: StoredEvent, delay: timedelta) -> bool:
        """Let a job wait that may not begin yet. Return False to read the history again."""
        if delay <= _EARLY and newest.event.event_type == EventType.RETRY:
            await self._wait_here(item, delay)
            return False
        stored_at, has_begun = newest.stored_at, newest.sequence != item.sequence
        is_old = stored_at is not None and (
            self._parking.server_clock.now() - stored_at >= _STORED_AGAIN_AFTER
        )
        if has_begun or not is_old:
            await item.retry_after(delay)
            return True
        # Stream JOBS drops old events, and with them the job. The copy gets a work message of its own.
        await self._event_log.append(newest.event, after=newest.sequence, writer=item.digest)
        await item.message.ack()
        return True

    async def _wait_here(self, item: WorkItem, delay: timedelta) -> None:
        """Keep a message that was redelivered early until it is due.

        To return it would use up another delivery, which the consumer of another runtime may limit (`max_deliver`).
        """
        async with self._parking.room:
            item.permit.release()
            await self._parking.wait_here(delay, item.job_id)
        await self._intake.reacquire(item.permit)

    async def _is_void(self, item: WorkItem, previous: JobState) -> bool:
        """Return whether a message asks for nothing.

        Either an operator retried the job after it, so that the job has a newer message. Or it is of a `retried` that no
        reader counts: stored without a fence, behind an end that is final.
        """
        if previous is not JobState.PENDING:
            retried = await self._event_log.newest_of(item.job_id, EventType.RETRIED)
            return retried is not None and is_outdated(item.event, retried.event)
        if item.event.event_type != EventType.RETRIED:
            return False
        events = await self._event_log.latest_by_type(item.job_id, (EventType.RETRIED, *TERMINAL_EVENTS))
        return bool(endings_of(events))

    async def _end(self, item: WorkItem, newest: StoredEvent, ended: NewEvent) -> bool:
        """Write the end of a job that no handler works on, then acknowledge. Return False to read the history again."""
        await self._event_log.append(ended, after=newest.sequence)
        self._counts.end(ended.event_type)
        fields = log_fields(LogEvent.JOB_FAILED, queue=self._queue, job_id=item.job_id)
        error = ended.tail["error"]
        _log.warning(
            "job %s of queue %s is %s: %s", item.job_id, self._queue, ended.event_type, error, extra=fields
        )
        if not await self._leave_key(item):
            return False
        await item.message.ack_confirmed()
        return True

    async def _acknowledge_finished(self, item: WorkItem, newest: StoredEvent) -> bool:
        """Acknowledge a message that needs no work. Return False to read the history again."""
        if newest.event.is_terminal and not await self._leave_key(item):
            return False
        await item.message.ack()
        return True

    async def _leave_key(self, item: WorkItem) -> bool:
        """Remove a job that has ended from its key's record. Return False when the worker stops before that is done."""
        if self._slots is None or not isinstance(item.key, JobKey):
            return True
        return await self._slots.remove(item.key, item.job_id, item.permit)

    # --- one attempt -----------------------------------------------------------------------------------------------

    async def _attempt(self, item: WorkItem, start: Start) -> bool:
        """Run one attempt, once the job has a slot of its key. Return False to read the history again."""
        newest = item.newest
        if newest is None:
            return False
        payload = self._reader.payload(item) if self._versions.is_foreign(item) else None
        if isinstance(payload, InvalidPayload) and await self._versions.postpone(item, str(payload)):
            return True
        without_slot = await self._acquire_slot(item, newest.event, start)
        if without_slot is not None:
            return without_slot
        retry_after: timedelta | None = None
        slot_returned = True
        attempt = Attempt(
            self._event_log, item.identity, self._clock, tries=start.tries, after=newest.sequence
        )
        try:
            if item.job_id in self.attempts:  # that attempt continues, as one in another process would
                log_still_running(item, "in this worker")
                return True
            if not self._intake.is_open:
                return False
            settlement = await self._run(item, payload, attempt, start)
            if settlement.acknowledgement is Acknowledgement.AGAIN:
                retry_after = settlement.delay
        finally:
            lease, item.lease = item.lease, None
            if lease is not None and self._slots is not None:
                slot_returned = await self._slots.release(
                    lease, retry_after=retry_after, began=attempt.has_begun
                )
        if slot_returned:  # else the message is redelivered, and then removes the job from its key's record
            await acknowledge(item, settlement, attempt)
        return True

    async def _acquire_slot(self, item: WorkItem, newest: LifecycleEvent, start: Start) -> bool | None:
        """Acquire a slot of the job's key, if it needs one. None: it may begin; else as `_attempt`."""
        if self._slots is None or not isinstance(item.key, JobKey) or item.job_id in self.attempts:
            return None
        item.key_asked_at = item.key_asked_at or monotonic()
        found = await self._slots.acquire(item.key, slot_request(item, newest, start), item.permit)
        if found is NoSlot.REREAD_HISTORY:
            return False
        if isinstance(found, NoSlot):
            await item.postpone()
            if found is NoSlot.TOO_SLOW:
                await self._slots.slow_down(item.key, item.job_id)
            return True
        item.lease = found
        self._counts.end_key_wait(item.key_asked_at)
        return None

    async def _run(
        self, item: WorkItem, payload: PayloadT | InvalidPayload | None, attempt: Attempt, start: Start
    ) -> Settlement:
        """Write `started`, run the handler, then write the outcome until it is stored.

        The attempt is registered before its `started` is stored: a process that reads that event may ask at once
        whether the worker lives, and a cancellation may arrive before the server's answer.

        Raises:
            WriteConflict: another writer was first; the attempt did not begin.
            TransportError: NATS did not take `started`, or is away and the grace period is over.
        """
        self.attempts[item.job_id] = attempt
        self._counts.running.value = len(self.attempts)
        self._running.add(item.job_id)
        self._liveness.hold(item.job_id)
        try:
            await restore_checkpoint(attempt, item, self._event_log)
            await attempt.begin(
                item.identity.started(
                    previous=start.previous,
                    tries=start.tries,
                    instance_id=self._liveness.instance_id,
                    at=self._clock.now(),
                    keyed=item.key_fields,
                ),
                grace_over=self._grace_over,
            )
            if self._grace_over.is_set():
                attempt.interrupt()
            if item.lease is not None:
                item.lease.watch(attempt.lose_slot)
            with self._spans.start(item, start.tries) as span:
                try:
                    job = self._make_job(item, payload, attempt)
                    ending = job if isinstance(job, Failed) else await self._invoke(job, item, attempt, span)
                finally:
                    attempt.close()
                item.permit.end_handler()
                settlement = await write_ending(
                    ending, attempt, item, draw_backoff=self._waits, grace_over=self._grace_over
                )
                self._spans.settle(span, item, settlement)
            item.permit.release()
            if isinstance(ending, Released) and settlement.event is EventType.RETRY:
                self._shutdown.released.append(f"{self._queue} {item.job_id}")
            return settlement
        finally:
            del self.attempts[item.job_id]
            self._counts.running.value = len(self.attempts)
            self._running.discard(item.job_id)
            self._liveness.release(item.job_id)

    def _make_job(
        self, item: WorkItem, payload: PayloadT | InvalidPayload | None, attempt: Attempt
    ) -> ActiveJob[PayloadT, ResultT, UpdateT] | Failed:
        """Return what the handler gets, or why its attempt fails without it."""
        payload = self._reader.payload(item) if payload is None else payload
        if isinstance(payload, InvalidPayload):
            return Failed(self._versions.reason(item, str(payload)), describe_failure(payload))
        return ActiveJob(payload, item, attempt, self._context)

    def _invoke(
        self, job: ActiveJob[PayloadT, ResultT, UpdateT], item: WorkItem, attempt: Attempt, span: Span
    ) -> Coroutine[None, None, Ending]:
        return invoke_handler(
            self._registration,
            job,
            attempt,
            self._shutdown,
            origin=origin_of(item.event),
            result=self._context.result,
            span=span,
        )
