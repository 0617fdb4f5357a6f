"""Versions of one service's contract, as a rolling deploy has them side by side."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Final

from pydantic import Field
from trellis_nats import (
    RUNTIME_API,
    ActiveJob,
    Bucket,
    BucketSpec,
    Contract,
    DeliveredEvent,
    EventPublisher,
    EventSpec,
    GroupSpec,
    JobQueue,
    Jobs,
    JobSpec,
    Model,
    Runtime,
    Service,
)
from trellis_nats.events import ConsumerGroup, GroupEvent

__all__ = ["Moved", "Note", "Parcel", "ParcelJob", "Version1", "Version2", "record_event"]


class Parcel(Model):
    """A payload."""

    number: int


class Note(Model):
    """A value of the bucket."""

    text: str


class Moved(Model):
    """An event."""

    order_id: Annotated[str, Field(alias="orderId")]


ParcelJob = ActiveJob[Parcel, None]

_MOVED: Final = EventSpec(name="Parcels.Moved", subject="events.v1.Parcels.Moved", event=Moved)


class _PackQueue(JobQueue[Parcel, None]):
    spec: ClassVar[JobSpec] = JobSpec(name="pack", payload=Parcel, ack_wait=timedelta(seconds=1))


class _PackQueue2(JobQueue[Parcel, None]):
    spec: ClassVar[JobSpec] = JobSpec(name="pack", payload=Parcel, ack_wait=timedelta(seconds=60))


class _OldQueue(JobQueue[Parcel, None]):
    spec: ClassVar[JobSpec] = JobSpec(name="weigh", payload=Parcel)


class _Jobs1(Jobs):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.pack: Final = _PackQueue(runtime)
        self.weigh: Final = _OldQueue(runtime)


class _Jobs2(Jobs):
    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.pack: Final = _PackQueue2(runtime)


class _Audit(ConsumerGroup):
    def __init__(self, runtime: Runtime, concurrency: int, ack_wait: timedelta) -> None:
        spec = GroupSpec(name="audit", concurrency=concurrency, ack_wait=ack_wait)
        super().__init__(runtime, spec)
        self.moved: Final = GroupEvent[Moved](self, _MOVED)


class Version1(Service):
    """The first version."""

    contract: ClassVar[Contract] = Contract(
        id="parcels@v1", digest="1" * 43, generator="0.1.0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.jobs: Final = _Jobs1(runtime)
        self.moved: Final = EventPublisher[Moved](runtime, _MOVED)
        self.notes: Final = Bucket[Note](runtime, BucketSpec(name="notes", value=Note))
        self.audit: Final = _Audit(runtime, concurrency=2, ack_wait=timedelta(seconds=30))


class Version2(Service):
    """The next one: other settings of each surface, and without queue `weigh`."""

    contract: ClassVar[Contract] = Contract(
        id="parcels@v1", digest="2" * 43, generator="0.1.0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.runtime: Final = runtime
        self.jobs: Final = _Jobs2(runtime)
        self.moved: Final = EventPublisher[Moved](runtime, _MOVED)
        self.notes: Final = Bucket[Note](
            runtime, BucketSpec(name="notes", value=Note, history=5, ttl=timedelta(days=1))
        )
        self.audit: Final = _Audit(runtime, concurrency=4, ack_wait=timedelta(seconds=60))


def record_event(service: Version1 | Version2, seen: list[str]) -> None:
    """Register a handler that records the events of the group."""

    @service.audit.moved.handle
    async def moved(event: DeliveredEvent[Moved]) -> None:
        seen.append(event.event.order_id)
