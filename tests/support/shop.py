"""A small service for the tests of the runtime: short waits, one queue per trait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import ClassVar, Final

from trellis_nats import (
    RUNTIME_API,
    ActiveJob,
    Contract,
    JobEvent,
    JobQueue,
    Jobs,
    JobSpec,
    KeySpec,
    Model,
    Runtime,
    Service,
)

ACK_WAIT: Final = timedelta(seconds=1)
"""As short as a server on a busy machine can keep."""


class Parcel(Model):
    """A payload."""

    number: int
    note: str | None = None


class Receipt(Model):
    """A result."""

    total: int
    note: str | None = None


ParcelJob = ActiveJob[Parcel, Receipt]


class PackQueue(JobQueue[Parcel, Receipt]):
    """Three attempts, with hardly a wait between them."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="pack",
        payload=Parcel,
        result=Receipt,
        max_deliver=3,
        backoff=(timedelta(milliseconds=50),),
        ack_wait=ACK_WAIT,
    )


class ChargeQueue(JobQueue[Parcel, Receipt]):
    """Waits a second before the second attempt."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="charge", payload=Parcel, result=Receipt, backoff=(timedelta(seconds=1),), ack_wait=ACK_WAIT
    )


DEADLINE = timedelta(minutes=10)


class SortQueue(JobQueue[Parcel, None]):
    """No result, three handlers at a time, and a deadline."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="sort",
        payload=Parcel,
        concurrency=3,
        ack_wait=ACK_WAIT,
        default_deadline=DEADLINE,
    )


class Weight(Model):
    """A live update."""

    grams: int


WeighJob = ActiveJob[Parcel, Receipt, Weight]


class WeighQueue(JobQueue[Parcel, Receipt, Weight]):
    """Reports the weight as its progress."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="weigh",
        payload=Parcel,
        result=Receipt,
        update=Weight,
        backoff=(timedelta(milliseconds=10),),
    )


class ShipQueue(JobQueue[Parcel, Receipt]):
    """At most one job for each number."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="ship", payload=Parcel, result=Receipt, key=KeySpec(template=("/number",))
    )


class ShopJobs(Jobs):
    """The queues."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.pack: Final = PackQueue(runtime)
        self.charge: Final = ChargeQueue(runtime)
        self.sort: Final = SortQueue(runtime)
        self.weigh: Final = WeighQueue(runtime)
        self.ship: Final = ShipQueue(runtime)


class Shop(Service):
    """The service."""

    contract: ClassVar[Contract] = Contract(
        id="shop@v1", digest="x" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs: Final = ShopJobs(runtime)


async def up_to(last: str, events: AsyncIterator[JobEvent]) -> AsyncIterator[JobEvent]:
    """Pass events on until one of the given type has come."""
    async for event in events:
        yield event
        if event.event == last:
            return
