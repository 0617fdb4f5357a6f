"""The tries of one queue that run in this process: each from `started` to the end that is stored."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import Final, Generic

from trellis_nats._nats.jetstream.pull import Delivery
from trellis_nats.binding import QueueBinding
from trellis_nats.errors import InvalidPayload, WriteUnknown
from trellis_nats.jobs.capacity import Permit
from trellis_nats.jobs.keys.lease import SlotLease
from trellis_nats.jobs.keys.work import KeyedWork
from trellis_nats.jobs.model.event import LifecycleEvent, NewEvent
from trellis_nats.jobs.model.event_factory import NOT_KEYED, instant
from trellis_nats.jobs.model.lineage import origin_of
from trellis_nats.jobs.model.outcome import Ending, Failed, Settlement
from trellis_nats.jobs.model.type_vars import PayloadT, ResultT, UpdateT
from trellis_nats.jobs.queue_context import QueueContext
from trellis_nats.jobs.store.liveness import Liveness
from trellis_nats.jobs.work.active_job import ActiveJob, JobFacts
from trellis_nats.jobs.work.attempt import Attempt
from trellis_nats.jobs.work.finish import write_ending
from trellis_nats.jobs.work.handler import HandlerRegistration
from trellis_nats.jobs.work.invoke import invoke_handler

__all__ = ["Tries"]

_log = logging.getLogger(__name__)

_WRITE_AGAIN: Final = timedelta(seconds=1)
"""The pause between writes of a beginning whose answers are lost."""


class Tries(Generic[PayloadT, ResultT, UpdateT]):
    """Runs handlers, and knows which jobs have one."""

    def __init__(
        self,
        access: QueueContext[PayloadT, ResultT, UpdateT],
        binding: QueueBinding,
        registration: HandlerRegistration[PayloadT, ResultT, UpdateT],
        *,
        claims: Liveness,
        keyed: KeyedWork | None,
        grace_over: asyncio.Event,
    ) -> None:
        self.running: dict[str, Attempt] = {}
        """By job id."""
        self._access = access
        self._claims = claims
        self._keyed = keyed
        self._queue = binding.queue_type
        self._max_deliver = binding.max_deliver
        self._backoff = binding.backoff
        self._registration = registration
        self._grace_over = grace_over

    async def run(
        self,
        message: Delivery,
        work: LifecycleEvent,
        attempt: Attempt,
        started: NewEvent,
        held: SlotLease | None,
        permit: Permit,
    ) -> Settlement:
        """Write `started`, run the handler, then write what became of the try until that is stored.

        The job must not be in `running`. It is there from before its `started` is stored: who reads that may ask at
        once whether its worker lives, and a cancellation may be heard before the answer.

        Raises:
            Overtaken: somebody else wrote to the job first; the try did not begin.
            TransportError: NATS did not take `started`, or is away and the host's grace is over.
        """
        self.running[work.job_id] = attempt
        self._claims.hold(work.job_id)
        try:
            try:
                await attempt.begin(started)
            except WriteUnknown as error:
                await self._begin_again(attempt, started, error)
            if self._grace_over.is_set():
                attempt.interrupt()
            if held is not None:
                held.watch(attempt.lose_slot)
            try:
                ending = await self._handle(message, work, attempt, held)
            finally:
                attempt.close()
            permit.handled()
            settlement = await write_ending(
                ending,
                attempt,
                max_tries=work.max_tries or self._max_deliver,
                backoff=self._backoff,
                grace_over=self._grace_over,
                keyed=NOT_KEYED if held is None else held.facts,
            )
            permit.release()
            return settlement
        finally:
            del self.running[work.job_id]
            self._claims.release(work.job_id)

    async def _begin_again(self, attempt: Attempt, started: NewEvent, unknown: WriteUnknown) -> None:
        """Write that the try begins until its fate is known: given up, it would be used up if it is stored."""
        while not self._grace_over.is_set():
            _log.warning("job %s: is it started? %s", attempt.identity.job_id, unknown)
            await asyncio.sleep(_WRITE_AGAIN.total_seconds())
            try:
                await attempt.begin(started)
            except WriteUnknown as again:
                unknown = again
            else:
                return
        raise unknown

    async def _handle(
        self, message: Delivery, work: LifecycleEvent, attempt: Attempt, held: SlotLease | None
    ) -> Ending:
        try:
            payload = self._access.payload.from_json(work.payload)
            if self._keyed is not None and held is None:
                self._keyed.key_of(work)  # raises: a job without a key fails, like any other poison
        except InvalidPayload as error:
            return Failed(str(error))
        facts = JobFacts(
            queue=self._queue,
            context=attempt.identity.context,
            deadline=instant(work.deadline),
            max_tries=work.max_tries or self._max_deliver,
            redelivery_count=max(message.delivered, attempt.tries) - 1,
            loop=self._access.connection.loop,
            held=held,
        )
        job: ActiveJob[PayloadT, ResultT, UpdateT] = ActiveJob(
            payload, attempt, facts, updates=self._access.updates, beat=message.in_progress
        )
        return await invoke_handler(
            self._registration, job, attempt, origin=origin_of(work), result=self._access.result
        )
