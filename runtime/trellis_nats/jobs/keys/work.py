"""What a worker does for the keys of its queue: a slot before a try begins, kept while it runs, given back after it."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta

from trellis_nats.errors import InvalidPayload
from trellis_nats.jobs.capacity import Permit
from trellis_nats.jobs.keys.acquire import Applicant, SlotAcquirer, Wait
from trellis_nats.jobs.keys.lease import SlotLease
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.keys.queue_keys import QueueKeys
from trellis_nats.jobs.model.event import LifecycleEvent
from trellis_nats.jobs.model.event_factory import instant
from trellis_nats.jobs.model.states import EventType, JobState

__all__ = ["KeyedWork"]


class KeyedWork:
    """The keys of one queue, for its worker in this process."""

    def __init__(self, keys: QueueKeys, keeper: SlotAcquirer) -> None:
        self._keys = keys
        self._keeper = keeper

    def key_of(self, work: LifecycleEvent) -> JobKey:
        """Return the key of a job.

        Raises:
            InvalidPayload: its payload has none.
        """
        return self._keys.creation.key_of(work.payload)

    async def slot_for(
        self, work: LifecycleEvent, newest: LifecycleEvent, *, tries: int, permit: Permit
    ) -> SlotLease | Wait | None:
        """Wait until the job has a slot, which is renewed until it is given back.

        None when its payload has no key, so that it can only fail.

        Raises:
            TransportError: NATS did not answer, or the record of the key cannot be read.
        """
        try:
            key = self.key_of(work)
        except InvalidPayload:
            return None
        applicant = Applicant(
            job_id=work.job_id,
            created_at=work.timestamp,
            tries=tries,
            context=work.context.model_dump(mode="json", by_alias=True, exclude_none=True),
            entitled=newest.effective_state is not JobState.PENDING or work.event_type == EventType.RETRIED,
            deadline=instant(work.deadline),
        )
        return await self._keeper.take(key, applicant, permit)

    def give_back(
        self, held: SlotLease, *, retry_after: timedelta | None, began: bool
    ) -> Coroutine[None, None, bool]:
        """Give a slot back; a job that will be tried again, or whose try never `began`, waits at the head of its key.

        Returns False when NATS did not take it until the lease was over: the job has to come again for it.
        """
        return self._keeper.give_back(held, retry_after=retry_after, began=began)

    async def forget(self, work: LifecycleEvent, permit: Permit) -> bool:
        """Take a job that has ended out of the record of its key. Return False when the worker stops before.

        Raises:
            TransportError: NATS did not answer.
        """
        try:
            key = self.key_of(work)
        except InvalidPayload:
            return True
        return await self._keeper.forget(key, work.job_id, permit)

    def close(self) -> None:
        """Let everybody look who waits: the worker stops."""
        self._keeper.close()
