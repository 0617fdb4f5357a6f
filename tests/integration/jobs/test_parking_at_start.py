"""A worker that starts finds delayed jobs, and can park them."""

from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import Maintenance, Options
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.consumer_info import ConsumerInfo
from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.jobs.delay import due_pull
from trellis_nats.testing import NatsServer

from tests.support.delays import LONG, count_messages, held
from tests.support.eventually import eventually
from tests.support.lost_work import connection_of
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop

WITHOUT_DUTIES: Final = Options(
    shutdown_grace=timedelta(0), maintenance=Maintenance(rescue_every=None, purge_every=None)
)


async def test_a_worker_pulls_new_jobs_once_it_can_park_them(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that it took before were held as deliveries for as long as they had to wait."""
    async with Shop.connect(nats_server.url, options=WITHOUT_DUTIES) as shop:
        connection = connection_of(shop)
        await shop.jobs.pack.create_many([Parcel(number=n) for n in range(20)], delay=LONG)
        requested: list[object] = []

        async def look_up(connection: Connection, stream: str, consumer: str) -> ConsumerInfo | None:
            for _ in range(10):  # a request for new jobs would be sent meanwhile
                work = await call(connection, f"CONSUMER.INFO.JOBS_WORK.{consumer}")
                requested.extend((work["num_waiting"], work["num_ack_pending"]))
            return await get_consumer_info(connection, stream, consumer)

        async def is_every_job_parked() -> bool:
            return (
                await count_messages(connection, "JOBS_DELAYED", "trellis.delayed.at.>"),
                await held(shop),
            ) == (20, 0)

        monkeypatch.setattr(due_pull, "get_consumer_info", look_up)

        @shop.jobs.pack.handle(concurrency=4)
        async def pack(job: ParcelJob) -> Receipt:
            return Receipt(total=job.payload.number)

        await shop.jobs.start_workers()

        assert requested
        assert not any(requested)
        await eventually(is_every_job_parked)
