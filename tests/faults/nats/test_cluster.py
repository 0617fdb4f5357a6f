"""A cluster loses its leaders one after another: everything accepted is delivered, and work goes on."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.pull import Delivery, Pull
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import TransportError
from trellis_nats.jobs.model.job_streams import job_requirements
from trellis_nats.provision import provision

from tests.support.cluster import Cluster, running_cluster
from tests.support.eventually import eventually
from tests.support.needs import JOBS, work_consumer_of

QUEUE = work_consumer_of(ack_wait=timedelta(seconds=5))
NEEDS = (*job_requirements(JOBS), QUEUE)
ELECTION = timedelta(seconds=60)
"""Sourcing was seen to need up to 46 s after its leader was killed (faults.md, C3)."""


class Shop:
    """Accepts jobs and works them, and remembers both."""

    def __init__(self, connection: Connection) -> None:
        self.accepted: set[str] = set()
        self.worked: set[str] = set()
        self._connection = connection
        self._acks: set[asyncio.Task[None]] = set()
        self._pull = Pull(connection, stream="JOBS_WORK", consumer=QUEUE.name, deliver=self._take)

    async def run(self) -> None:
        """Accept a job every few milliseconds until cancelled."""
        self._pull.start()
        self._pull.set_capacity(5)
        number = 0
        try:
            while True:
                number += 1
                name = f"J{number}"
                try:
                    await publish_acked(
                        self._connection,
                        f"trellis.jobs.shop.pack.{name}.created",
                        name.encode(),
                        message_id=name,
                        timeout=timedelta(seconds=15),
                    )
                except TransportError as error:
                    logging.getLogger(__name__).info("%s is unknown: %s", name, error)
                else:
                    self.accepted.add(name)
                await asyncio.sleep(0.02)
        finally:
            await self._pull.stop()

    def _take(self, message: Delivery) -> None:
        task = asyncio.create_task(self._work(message))
        self._acks.add(task)
        task.add_done_callback(self._acks.discard)

    async def _work(self, message: Delivery) -> None:
        self.worked.add(message.data.decode())
        await message.ack_confirmed(timeout=timedelta(seconds=1))
        self._pull.set_capacity(5)


async def leader_of_the_work(connection: Connection) -> str:
    info = await call(connection, f"CONSUMER.INFO.JOBS_WORK.{QUEUE.name}", repeat=True)
    cluster = info["cluster"]
    return str(cluster["leader"]) if isinstance(cluster, dict) else ""


async def kill_leader(cluster: Cluster, connection: Connection) -> str:
    name = await leader_of_the_work(connection)
    await asyncio.to_thread(cluster.servers[name].kill)
    return name


@pytest.mark.timeout(300)
async def test_work_goes_on_when_its_leader_is_killed_and_nothing_accepted_is_lost() -> None:
    async with running_cluster() as cluster:
        connection = await Connection.open(cluster.url, settings=ConnectionSettings())
        assert connection.server_count == 3
        await provision(connection, NEEDS, create=True, replicas=3)
        shop = Shop(connection)
        running = asyncio.create_task(shop.run())

        for _ in range(2):
            await eventually(lambda: len(shop.worked) >= 20)
            killed = await kill_leader(cluster, connection)
            before = len(shop.accepted)
            await eventually(lambda: len(shop.accepted) > before + 20, within=ELECTION)  # noqa: B023 - called in this turn
            await eventually(lambda: shop.accepted <= shop.worked, within=ELECTION)
            await asyncio.to_thread(cluster.servers[killed].start)

        running.cancel()
        await asyncio.wait([running])
        await connection.close()
