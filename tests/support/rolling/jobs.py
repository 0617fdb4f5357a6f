"""Jobs, their results and their updates, between two versions of a contract."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from trellis_nats import JobFailed, JobState, Service
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_last_message
from trellis_nats.clock import now, timestamp
from trellis_nats.jobs.model.event import LifecycleEvent

from tests.support.inspection import inspect_queue
from tests.support.rolling.deliveries import IMPATIENT, PATIENT, SOON, Delivery, for_each
from tests.support.rolling.versions import Version, has, member, runtime_of

__all__ = [
    "await_result",
    "create_before",
    "create_for_running",
    "follow_updates",
    "look_at_jobs",
    "read_kept_result",
    "replay_dead",
    "work_side_by_side",
]

_UPDATES = 40
"""How often a handler repeats its update, which may come too early for a reader."""


class _Work:
    """The workers of one version for the queues of all deliveries; each job runs once, at its first attempt."""

    def __init__(self, service: Service, deliveries: Iterable[Delivery]) -> None:
        self.service = service
        self.runs: dict[str, list[int]] = defaultdict(list)
        for name in {delivery.name for delivery in deliveries}:
            if has(service, "jobs", name):
                member(service, "jobs", name).handle(self._run)

    async def _run(self, job: Any) -> Any:  # Any: each queue has its own types
        self.runs[job.id].append(job.tries)
        return job.payload if member(self.service, "jobs", job.queue).spec.result is not None else None

    async def judge(self, delivery: Delivery, job_id: str) -> None:
        """Wait for the end of a job, and note how it ended; or that these workers do not take it."""
        if not has(self.service, "jobs", delivery.name):
            await self._judge_unknown(delivery)
            return
        end = await member(self.service, "jobs", delivery.name).ref(job_id).wait(timeout=SOON)
        is_well = end.state is JobState.COMPLETED and self.runs[job_id] == [1]
        delivery.problem = None if is_well else f"{end.state}, attempts {self.runs[job_id]}: {end.last_error}"

    async def _judge_unknown(self, delivery: Delivery) -> None:
        runtime = runtime_of(self.service)
        subject = f"trellis.work.{runtime.contract.name}.{delivery.name}"
        if await get_last_message(runtime.connection, "JOBS_WORK", subject) is not None:
            delivery.problem = "it waits, and no worker has its queue"


async def create_before(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Create jobs while no worker runs; then the other version works them."""
    ids: dict[Delivery, str] = {}
    async with writer.service.connect(url, options=IMPATIENT) as producer:

        async def create(delivery: Delivery) -> None:
            queue = member(producer, "jobs", delivery.name)
            ids[delivery] = (await queue.create(delivery.read(writer))).id

        await for_each(deliveries, create)
    async with reader.service.connect(url, options=IMPATIENT) as service:
        work = _Work(service, deliveries)
        await service.start()
        await for_each(ids, lambda delivery: work.judge(delivery, ids[delivery]))


async def create_for_running(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Create jobs while workers of the other version run, and no others."""
    async with (
        reader.service.connect(url, options=IMPATIENT) as service,
        writer.service.connect(url, options=IMPATIENT) as producer,
    ):
        work = _Work(service, deliveries)
        await service.start()

        async def create(delivery: Delivery) -> None:
            queue = member(producer, "jobs", delivery.name)
            await work.judge(delivery, (await queue.create(delivery.read(writer))).id)

        await for_each(deliveries, create)


async def work_side_by_side(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Create jobs while workers of both versions run: those that cannot read a job leave it to the others."""
    async with (
        reader.service.connect(url, options=PATIENT) as other,
        writer.service.connect(url, options=PATIENT) as service,
    ):
        works = [_Work(each, deliveries) for each in (other, service)]
        works[0].runs = works[1].runs
        for work in works:
            await work.service.start()

        async def create(delivery: Delivery) -> None:
            queue = member(service, "jobs", delivery.name)
            await works[1].judge(delivery, (await queue.create(delivery.read(writer))).id)

        await for_each(deliveries, create)


async def look_at_jobs(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Look at waiting jobs of the other version, and cancel them."""
    async with (
        writer.service.connect(url, options=IMPATIENT) as producer,
        reader.service.connect(url, options=IMPATIENT) as other,
    ):

        async def create(delivery: Delivery) -> None:
            queue = member(producer, "jobs", delivery.name)
            ref = member(other, "jobs", delivery.name).ref((await queue.create(delivery.read(writer))).id)
            assert (await ref.get()).state is JobState.PENDING
            assert (await ref.cancel()).state is JobState.CANCELLED
            assert (await ref.wait(timeout=SOON)).raw_payload == delivery.value
            delivery.problem = None

        await for_each(deliveries, create)


async def replay_dead(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Let jobs fail in workers of the version that created them; then an operator retries them in the other."""
    ids: dict[Delivery, str] = {}

    async def fail(job: Any) -> None:  # Any: each queue has its own types
        raise JobFailed("not today")

    async with writer.service.connect(url, options=IMPATIENT) as service:
        for name in {delivery.name for delivery in deliveries}:
            member(service, "jobs", name).handle(fail)
        await service.start()

        async def let_fail(delivery: Delivery) -> None:
            ref = await member(service, "jobs", delivery.name).create(delivery.read(writer))
            assert (await ref.wait(timeout=SOON)).state is JobState.FAILED
            ids[delivery] = ref.id

        await for_each(deliveries, let_fail)
    async with reader.service.connect(url, options=IMPATIENT) as service:
        work = _Work(service, deliveries)
        await service.start()

        async def retry(delivery: Delivery) -> None:
            await retry_job(member(service, "jobs", delivery.name), ids[delivery])
            await work.judge(delivery, ids[delivery])

        await for_each(ids, retry)


async def retry_job(queue: Any, job_id: str) -> None:  # Any: each queue has its own types
    """Store what an operator's command stores: the job as it was created, to be run again."""
    context = inspect_queue(queue)
    subject = f"{context.subjects.prefix}.{job_id}"
    created = await get_last_message(context.connection, "JOBS", f"{subject}.created")
    assert created is not None
    event = LifecycleEvent.parse(created.data)
    assert event is not None
    retried = event.model_copy(
        update={"event_type": "retried", "previous_state": JobState.FAILED, "timestamp": timestamp(now())}
    )
    digest = {name: text for name, text in created.headers.items() if name.startswith("trellis-")}
    await publish_acked(
        context.connection, f"{subject}.retried", retried.encode(), headers=digest, timeout=SOON
    )


async def read_kept_result(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Complete jobs; later, a process of the other version asks for their results."""
    ids: dict[Delivery, str] = {}
    async with writer.service.connect(url, options=IMPATIENT) as service:
        await _return_values(service, writer, deliveries)

        async def complete(delivery: Delivery) -> None:
            ref = await member(service, "jobs", delivery.name).create(deliveries.index(delivery))
            await ref.result(timeout=SOON)
            ids[delivery] = ref.id

        await for_each(deliveries, complete)
    async with reader.service.connect(url, options=IMPATIENT) as waiter:
        await for_each(ids, lambda delivery: _read_result(waiter, delivery, ids[delivery]))


async def await_result(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Wait for the results of jobs that workers of the other version complete."""
    async with (
        writer.service.connect(url, options=IMPATIENT) as service,
        reader.service.connect(url, options=IMPATIENT) as waiter,
    ):
        await _return_values(service, writer, deliveries)

        async def create(delivery: Delivery) -> None:
            ref = await member(waiter, "jobs", delivery.name).create(deliveries.index(delivery))
            await _read_result(waiter, delivery, ref.id)

        await for_each(deliveries, create)


async def _return_values(service: Service, version: Version, deliveries: list[Delivery]) -> None:
    async def complete(job: Any) -> Any:  # Any: each queue has its own types
        index: int = job.payload
        return deliveries[index].read(version)

    for name in {delivery.name for delivery in deliveries}:
        member(service, "jobs", name).handle(complete)
    await service.start()


async def _read_result(waiter: Service, delivery: Delivery, job_id: str) -> None:
    await member(waiter, "jobs", delivery.name).ref(job_id).result(timeout=SOON)
    delivery.problem = None


async def follow_updates(url: str, writer: Version, reader: Version, deliveries: list[Delivery]) -> None:
    """Follow the updates that handlers of the other version send."""
    async with (
        writer.service.connect(url, options=IMPATIENT) as service,
        reader.service.connect(url, options=IMPATIENT) as watcher,
    ):

        async def report(job: Any) -> None:  # Any: each queue has its own types
            index: int = job.payload
            delivery = deliveries[index]
            for _ in range(_UPDATES):
                await job.emit_update(delivery.read(writer))
                await asyncio.sleep(0.01)
                if delivery.problem is None:
                    break

        for name in {delivery.name for delivery in deliveries}:
            member(service, "jobs", name).handle(report)
        await service.start()

        async def follow(delivery: Delivery) -> None:
            ref = await member(watcher, "jobs", delivery.name).create(deliveries.index(delivery))
            async for _ in ref.updates():
                delivery.problem = None

        await for_each(deliveries, follow)
