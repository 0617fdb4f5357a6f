"""A queue whose contract declares `progress: false` or `logs: false` takes no such reports."""

from datetime import timedelta
from typing import ClassVar, Final

import pytest
from trellis_nats import RUNTIME_API, ConfigurationError, Contract, JobQueue, Jobs, JobSpec, Runtime, Service
from trellis_nats.testing import NatsServer

from tests.support.shop import Parcel, ParcelJob, Receipt

SOON = timedelta(seconds=10)


class SilentQueue(JobQueue[Parcel, Receipt]):
    """Takes neither progress nor log lines."""

    spec: ClassVar[JobSpec] = JobSpec(
        name="silent", payload=Parcel, result=Receipt, progress=False, logs=False
    )


class SilentJobs(Jobs):
    """The queue."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.silent: Final = SilentQueue(runtime)


class SilentShop(Service):
    """The service."""

    contract: ClassVar[Contract] = Contract(
        id="silent@v1", digest="x" * 43, generator="0", runtime_api=RUNTIME_API
    )

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs: Final = SilentJobs(runtime)


async def test_a_disabled_report_is_refused_where_it_is_sent(nats_server: NatsServer) -> None:
    async with SilentShop.connect(nats_server.url) as shop:

        @shop.jobs.silent.handle
        async def pack(job: ParcelJob) -> Receipt:
            with pytest.raises(ConfigurationError, match='queue "silent" declares `progress: false`'):
                await job.progress(step="pack")
            with pytest.raises(ConfigurationError, match='queue "silent" declares `logs: false`'):
                await job.log("packing")
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.silent.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=1)
        assert [event.event async for event in ref.events()] == ["created", "started", "completed"]


async def test_a_handler_in_a_thread_is_refused_too(nats_server: NatsServer) -> None:
    async with SilentShop.connect(nats_server.url) as shop:

        @shop.jobs.silent.handle
        def pack(job: ParcelJob) -> Receipt:
            with pytest.raises(ConfigurationError, match="progress: false"):
                job.blocking.progress(step="pack")
            with pytest.raises(ConfigurationError, match="logs: false"):
                job.blocking.log("packing")
            return Receipt(total=1)

        await shop.jobs.start_workers()
        ref = await shop.jobs.silent.create(Parcel(number=1))

        assert await ref.result(timeout=SOON) == Receipt(total=1)
