"""One delivery of one job: what its message says, and what is known about the job so far."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from pydantic import JsonValue

from trellis_nats._nats.jetstream.pull import Delivery
from trellis_nats._support.capacity import Permit
from trellis_nats.clock import now
from trellis_nats.errors import InvalidPayload
from trellis_nats.jobs.delay.parking import Parking
from trellis_nats.jobs.keys.acquire import SlotRequest
from trellis_nats.jobs.keys.lease import SlotLease
from trellis_nats.jobs.keys.model.left_record import LeftRecord, left_record
from trellis_nats.jobs.keys.model.template import JobKey
from trellis_nats.jobs.model.event import LifecycleEvent, StoredEvent, instant
from trellis_nats.jobs.model.event_factory import NOT_KEYED, JobIdentity
from trellis_nats.jobs.model.states import EventType, JobState
from trellis_nats.jobs.model.triage import Start
from trellis_nats.jobs.work.redelivery import RedeliveryPolicy, postponed_delay

__all__ = ["WorkItem", "slot_request"]


class WorkItem:
    """A delivery on its way from the worker to a stored outcome. Each delivery of a job has its own."""

    __slots__ = (
        "began_at",
        "digest",
        "event",
        "identity",
        "is_reported_lost",
        "key",
        "key_asked_at",
        "lease",
        "max_attempts",
        "message",
        "newest",
        "parking",
        "permit",
        "redelivery",
        "sequence",
    )

    def __init__(
        self,
        message: Delivery,
        event: LifecycleEvent,
        *,
        sequence: int,
        digest: str,
        parking: Parking,
        key: JobKey | InvalidPayload | None,
        permit: Permit,
        redelivery: RedeliveryPolicy,
        max_deliver: int,
    ) -> None:
        self.began_at = 0.0
        """The monotonic time at which its attempt began."""
        self.key_asked_at = 0.0
        """The monotonic time at which it first asked for a slot of its key."""
        self.message = message
        self.event = event
        """The `created` or `retried` event that the message carries, or names if the job was parked."""
        self.sequence = sequence
        """The sequence of that event in stream JOBS."""
        self.digest = digest
        """The digest of the contract by which its payload was written; empty where that is not known."""
        self.parking = parking
        self.key = key
        """The job's concurrency key, or why its payload has none; None where the queue has no keys."""
        self.permit = permit
        self.redelivery = redelivery
        """How the queue's consumer redelivers, as the worker last read it from the server."""
        self.max_attempts = event.max_tries or max_deliver
        """How many attempts the job has."""
        self.identity = JobIdentity(
            job_id=event.job_id, service=event.service, queue=event.job_type, context=event.job_context()
        )
        self.newest: StoredEvent | None = None
        """The newest event of the job, as far as this process knows; None before it is read."""
        self.lease: SlotLease | None = None
        """The slot of the job's key that the attempt runs in."""
        self.is_reported_lost = False
        """Whether it is logged that the worker of the job's last attempt does not hold it any longer."""

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.event.job_id

    @property
    def queue(self) -> str:
        """The queue's name in the contract."""
        return self.event.job_type

    @property
    def key_fields(self) -> Mapping[str, JsonValue]:
        """What the job's events say about its key and slot."""
        return NOT_KEYED if self.lease is None else self.lease.event_fields

    async def retry_after(self, delay: timedelta) -> None:
        """Let the job wait, at most until its deadline: park it, or have its message redelivered.

        Raises:
            TransportError: NATS did not answer; the message is still unanswered.
        """
        deadline = instant(self.event.deadline)
        if deadline is not None:
            delay = min(delay, deadline - self.parking.clock.now())
        if self.parking.clock.waits_here:
            self.permit.release()
            await self.parking.wait_here(delay, self.job_id)
            await self.message.nak()
            return
        if not self.redelivery.may_hold(delay) and self.parking.is_possible():
            async with self.parking.room:
                self.permit.release()  # the next message need not wait for the server's answer
                event, sequence = self.event.event_type, self.sequence
                if await self.parking.park(self.job_id, event=event, sequence=sequence, delay=delay):
                    await self.message.ack()
                    return
        await self.message.nak(self.redelivery.nak_delay(delay, delivered=self.message.delivered))

    async def postpone(self) -> None:
        """Have the message redelivered after a delay that grows with each delivery."""
        await self.message.nak(postponed_delay(self.message.delivered))


def slot_request(item: WorkItem, newest: LifecycleEvent, start: Start) -> SlotRequest:
    """Describe a job that needs a slot of its key before its attempt starts."""
    event = item.event
    return SlotRequest(
        job_id=item.job_id,
        created_at=event.timestamp,
        attempt=start.tries,
        context=event.context.model_dump(mode="json", by_alias=True, exclude_none=True),
        skips_queue=newest.effective_state is not JobState.PENDING or event.event_type == EventType.RETRIED,
        deadline=instant(event.deadline),
        left=_left_record(item, newest),
    )


def _left_record(item: WorkItem, newest: LifecycleEvent) -> LeftRecord | None:
    """Return the record that the job's creator left, if the job was neither attempted nor delivered before."""
    message = item.message
    is_new = newest is item.event and message.delivered == 1 and message.source_sequence is not None
    return left_record(message.headers, written=item.event.at, at=now()) if is_new else None
