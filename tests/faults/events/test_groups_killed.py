"""Events of a group are handled in order, and none is lost, while its instances and its server are killed."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from functools import partial
from pathlib import Path

from trellis_nats._nats.jetstream.streams import get_consumer_info
from trellis_nats.testing import NatsServer

from tests.support.audit import AuditService
from tests.support.audit_process import start_instance
from tests.support.eventually import eventually
from tests.support.orders import Shipped

EVENTS = 10_000
INSTANCES = 3
KILLS = 12
"""Every fourth kills the server. After the death of the instance that handles an event, its ack wait of 2 s passes."""
CHUNK = 250


def count_handled(path: Path) -> int:
    return len(path.read_bytes().splitlines())


def is_handled(path: Path, count: int) -> bool:
    return count_handled(path) >= count


async def test_ten_thousand_events_survive_kills_in_order(tmp_path: Path) -> None:
    path = tmp_path / "handled"
    path.touch()
    chance = random.Random(7)  # noqa: S311 - to be repeatable
    async with NatsServer() as server, AuditService.connect(server.url) as publisher:
        instances = [await start_instance(server.url, path) for _ in range(INSTANCES)]

        async def publish() -> None:
            for first in range(0, EVENTS, CHUNK):
                for number in range(first, first + CHUNK):
                    await publisher.shipped.publish(Shipped(order_id=str(number)))

        async def kill() -> None:
            for number in range(KILLS):
                due = count_handled(path) + EVENTS // (KILLS + 4)
                await eventually(partial(is_handled, path, due), within=timedelta(minutes=2))
                if number % 4 == 3:
                    server.kill()
                    server.restart()
                else:
                    victim = instances.pop(chance.randrange(INSTANCES))
                    victim.kill()
                    await victim.wait()
                    instances.append(await start_instance(server.url, path))

        async def is_done() -> bool:
            info = await get_consumer_info(publisher.runtime.connection, "trellis", "audit__audit")
            return info is not None and (info.pending, info.ack_pending) == (0, 0)

        async with asyncio.TaskGroup() as work:
            work.create_task(publish())
            work.create_task(kill())
        await eventually(is_done, within=timedelta(minutes=2))
        for instance in instances:
            instance.terminate()
            assert await instance.wait() == 0

    numbers = [int(line) for line in path.read_text().splitlines()]
    assert list(dict.fromkeys(numbers)) == list(range(EVENTS))
    # A killed server may forget acknowledgements of the last moments.
    assert len(numbers) - EVENTS <= 100 * KILLS
