"""A queue that the contract no longer has keeps its jobs; the start of the service says so."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import ClassVar

import pytest
from trellis_nats import RUNTIME_API, Contract, Runtime, Service
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import count_by_subject, get_consumer_info, purge_stream
from trellis_nats._support.log_events import LogEvent
from trellis_nats.jobs.maintenance.removed_queues import find_removed_queues
from trellis_nats.testing import LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.shop_versions import Parcel, ParcelJob, Version1, Version2
from tests.support.versions import binary_of


class WithoutQueues(Service):
    """A version that has no queue at all."""

    contract: ClassVar[Contract] = Contract(
        id="parcels@v1", digest="3" * 43, generator="0.1.0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)


async def work_of(service: Version1, count: int) -> bool:
    counts = await count_by_subject(service.runtime.connection, "JOBS_WORK", "trellis.work.parcels.>")
    return counts.get("trellis.work.parcels.weigh") == count


async def start(service: Version1 | Version2 | WithoutQueues) -> None:
    if not isinstance(service, WithoutQueues):
        service.audit.leave_to_others()
    await service.start()


@pytest.mark.parametrize("server_version", [None, "2.10.26"])
async def test_a_version_without_the_queue_says_how_many_jobs_wait(server_version: str | None) -> None:
    binary = None if server_version is None else binary_of(server_version)
    async with NatsServer(binary=binary) as server, Version1.connect(server.url) as old:
        for number in range(3):
            await old.jobs.weigh.create(Parcel(number=number))
        await old.jobs.pack.create(Parcel(number=0))
        await eventually(lambda: work_of(old, 3))

        for version in (Version2, WithoutQueues):
            with LogSignals() as signals:
                async with version.connect(server.url) as new:
                    await start(new)
                (line,) = signals.of(LogEvent.QUEUE_REMOVED, queue="weigh")
            assert line.levelno == logging.WARNING
            assert (
                "queue weigh is not in this version of the contract and holds 3 waiting jobs"
                in line.getMessage()
            )
            assert "nats stream purge JOBS_WORK --subject trellis.work.parcels.weigh" in line.getMessage()

        with LogSignals() as signals:
            await start(old)
            assert signals.of(LogEvent.QUEUE_REMOVED) == []


async def test_the_commands_that_drop_jobs_run_nothing_that_the_name_of_a_queue_says(
    nats_server: NatsServer,
) -> None:
    async with Version1.connect(nats_server.url) as service:
        connection = service.runtime.connection
        await publish_acked(connection, "trellis.jobs.parcels.$(id)`id`;id.J1.created", b"{}")

        async def has_come() -> bool:
            return bool(await find_removed_queues(connection, "parcels", service.runtime.binding.jobs))

        await eventually(has_come)
        (removed,) = await find_removed_queues(connection, "parcels", service.runtime.binding.jobs)

    work, parked = "trellis.work.parcels.$(id)`id`;id", "trellis.delayed.at.parcels.$(id)`id`;id.*"
    assert f"--subject '{work}' and " in removed.remedy
    assert removed.remedy.endswith(f"--subject '{parked}'")


async def test_a_worker_without_the_queue_takes_none_of_its_jobs(nats_server: NatsServer) -> None:
    weighed: list[int] = []
    async with Version1.connect(nats_server.url) as old:
        jobs = [await old.jobs.weigh.create(Parcel(number=number)) for number in range(3)]
        async with Version2.connect(nats_server.url) as new:

            @new.jobs.pack.handle
            async def pack(job: ParcelJob) -> None:
                return None

            await start(new)
            packed = await new.jobs.pack.create(Parcel(number=0))
            await packed.result(timeout=timedelta(seconds=30))
            info = await get_consumer_info(old.runtime.connection, "JOBS_WORK", "parcels__weigh")
            assert info is not None
            assert (info.pending, info.delivered) == (3, 0)

        @old.jobs.weigh.handle
        async def weigh(job: ParcelJob) -> None:
            weighed.append(job.payload.number)
            assert job.tries == 1

        await start(old)
        for job in jobs:
            await job.result(timeout=timedelta(seconds=30))

    assert sorted(weighed) == [0, 1, 2]


async def test_a_removed_queue_whose_jobs_are_all_parked_is_found(nats_server: NatsServer) -> None:
    async with Version1.connect(nats_server.url) as old:

        @old.jobs.weigh.handle
        async def weigh(job: ParcelJob) -> None:
            raise AssertionError(job.id)

        await start(old)
        for number in range(2):
            await old.jobs.weigh.create(Parcel(number=number), delay=timedelta(hours=1))
        await eventually(lambda: is_all_parked(old))

        async with Version2.connect(nats_server.url) as new:
            (removed,) = await find_removed_queues(
                new.runtime.connection, "parcels", new.runtime.binding.jobs
            )
            assert (removed.name, removed.waiting) == ("weigh", 2)

            for stream, subject in (
                (removed.work_stream, removed.work_subject),
                ("JOBS_DELAYED", removed.parked_filter),
            ):
                await purge_stream(new.runtime.connection, stream, subject)
            assert (
                await find_removed_queues(new.runtime.connection, "parcels", new.runtime.binding.jobs) == []
            )


async def is_all_parked(service: Version1) -> bool:
    parked = await count_by_subject(
        service.runtime.connection, "JOBS_DELAYED", "trellis.delayed.at.parcels.>"
    )
    return len(parked) == 2 and not await count_by_subject(
        service.runtime.connection, "JOBS_WORK", "trellis.work.parcels.>"
    )
