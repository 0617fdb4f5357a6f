"""What the projection reads from the heartbeats of real workers."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from trellis_admin.projection import catch_up
from trellis_admin.queries import WorkerRow, list_workers
from trellis_nats.clock import now
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.operating import operator_connection
from tests.support.projected import open_projection
from tests.support.shop import Parcel, ParcelJob, Receipt, Shop


async def test_a_worker_is_shown_as_it_describes_itself(nats_server: NatsServer, tmp_path: Path) -> None:
    async with operator_connection(nats_server.url) as connection, Shop.connect(nats_server.url) as shop:
        running, go_on = asyncio.Event(), asyncio.Event()

        @shop.jobs.pack.handle(concurrency=4)
        async def pack(job: ParcelJob) -> Receipt:
            running.set()
            await go_on.wait()
            return Receipt(total=1)

        host = await shop.jobs.start_workers()
        await shop.jobs.pack.create(Parcel(number=1))
        await running.wait()
        with closing(open_projection(tmp_path / "p")) as database:

            async def read() -> WorkerRow | None:
                await catch_up(connection, database)
                return next(iter(list_workers(database.connection, now())), None)

            await shop.jobs.pack.pause()

            async def paused() -> WorkerRow | None:
                row = await read()
                return row if row is not None and row.queues[0].is_paused else None

            row = await eventually(paused)
            assert row is not None
            assert (row.service, row.instance_id) == ("shop", shop.jobs.runtime.instance_id)
            assert (row.running, row.slots, row.is_silent, row.is_stopping) == (1, 4, False, False)
            assert (row.host, row.pid, row.digest) == (socket.gethostname(), os.getpid(), "x" * 43)
            assert row.memory_bytes is not None
            assert row.loop_lag is not None
            assert row.started_at is not None
            assert row.started_at <= now()
            go_on.set()
            await host.stop(grace=timedelta(seconds=10))

            async def stopping() -> bool:
                row = await read()
                return row is not None and row.is_stopping

            await eventually(stopping)
