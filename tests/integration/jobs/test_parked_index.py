"""The search among parked jobs, at a cost that grows with their number and not with its square."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import Final

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.rate_limit import RateLimit
from trellis_nats._nats.jetstream.streams import create_stream
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.clock import now
from trellis_nats.ids import new_id
from trellis_nats.jobs.maintenance.work_index import ParkedIndex
from trellis_nats.jobs.model.parked_job import ParkedJob
from trellis_nats.testing import NatsServer
from typing_extensions import override

JOBS: Final = 2_000
HELD: Final = 250
"""How many jobs are asked for at a time."""
OUT_OF_ORDER: Final = 50
"""How many places a job may be parked before or behind its turn."""
AT: Final = now()


class Spent(RateLimit):
    """Counts what is spent, and does not wait."""

    def __init__(self) -> None:
        super().__init__()
        self.amount = 0

    @override
    async def spend(self, amount: int) -> None:
        self.amount += amount


async def park(connection: Connection, job_ids: list[str], until: datetime = AT + timedelta(days=1)) -> None:
    await asyncio.gather(
        *(
            publish_acked(connection, f"at.{job_id}", ParkedJob.of(job_id, "created", 1, until).encode())
            for job_id in job_ids
        )
    )


async def opened(server: NatsServer) -> Connection:
    connection = await Connection.open(server.url, settings=ConnectionSettings())
    await create_stream(connection, {"name": "PARKED", "subjects": ["at.*"], "allow_direct": True})
    return connection


def index_of(connection: Connection) -> tuple[ParkedIndex, Spent]:
    spent = Spent()
    return ParkedIndex(connection, spent, stream="PARKED", subject="at.*"), spent


async def test_jobs_that_were_parked_out_of_order_are_found_without_reading_all_again(
    nats_server: NatsServer,
) -> None:
    connection = await opened(nats_server)
    job_ids = [new_id() for _ in range(JOBS)]
    places = random.Random(7)  # noqa: S311 - not a secret
    order = sorted(range(JOBS), key=lambda place: place + places.uniform(0, OUT_OF_ORDER))
    await park(connection, [job_ids[place] for place in order])
    index, spent = index_of(connection)

    for _ in range(2):  # the second search begins where the first one ended, behind all of them
        spent.amount = 0
        for start in range(0, JOBS, HELD):
            assert await index.find_missing(set(job_ids[start : start + HELD]), at=AT) == set()
        assert spent.amount < 3 * JOBS
    await connection.close()


async def test_jobs_that_are_not_parked_or_overdue_are_missing(nats_server: NatsServer) -> None:
    connection = await opened(nats_server)
    parked, overdue, lost = ([new_id() for _ in range(300)] for _ in range(3))
    await park(connection, parked[:200])
    await park(connection, overdue, AT - timedelta(hours=1))
    await park(connection, parked[200:])
    index, _ = index_of(connection)

    for _ in range(2):
        assert await index.find_missing({*parked, *overdue, *lost}, at=AT) == {*overdue, *lost}
        assert await index.find_missing(set(lost), at=AT) == set(lost)
    await connection.close()
