"""Creating jobs while the only server stops or restarts: the call waits as it does while disconnected."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from trellis_nats import NoResponders, Options
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.shop import Parcel, Shop
from tests.support.versions import VERSIONS, binary_of

PATIENT: Final = Options(request_timeout=timedelta(seconds=60))
BINARIES: Final = [None, *map(binary_of, VERSIONS)]


def enter_lame_duck(server: NatsServer) -> None:
    os.kill(server.pid, signal.SIGUSR2)


@pytest.mark.parametrize("binary", BINARIES, ids=lambda path: "newest" if path is None else path.parts[-3])
async def test_creating_waits_while_the_only_server_drains(binary: Path | None) -> None:
    async with (
        NatsServer(
            binary=binary, config='lame_duck_duration: "30s"\nlame_duck_grace_period: "20s"'
        ) as server,
        Shop.connect(server.url, options=PATIENT) as shop,
    ):
        connection, queue = shop.jobs.runtime.connection, shop.jobs.pack
        ref = await queue.create(Parcel(number=0))
        enter_lame_duck(server)
        await eventually(lambda: connection.is_server_stopping)

        creating = [asyncio.create_task(queue.create(Parcel(number=number))) for number in range(20)]
        many = asyncio.create_task(queue.create_many([Parcel(number=1)] * 3))
        reading = asyncio.create_task(ref.get())
        done, _ = await asyncio.wait([*creating, many, reading], timeout=2)
        assert not done
        assert connection.is_connected

        await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        refs = [*await asyncio.gather(*creating), *await many]
        assert len({each.id for each in refs} | {(await reading).id}) == 24


def has_grown(created: list[str], count: int) -> bool:
    return len(created) > count


async def test_creating_waits_while_the_only_server_restarts() -> None:
    async with NatsServer() as server, Shop.connect(server.url, options=PATIENT) as shop:
        created = list[str]()
        stop = asyncio.Event()

        async def create() -> None:
            while not stop.is_set():
                created.append((await shop.jobs.pack.create(Parcel(number=1))).id)

        creators = [asyncio.create_task(create()) for _ in range(20)]
        for restarts in range(3):
            await eventually(partial(has_grown, created, 100 * restarts), within=timedelta(seconds=60))
            await asyncio.to_thread(server.restart)
        stop.set()
        await asyncio.gather(*creators)

        assert len(set(created)) == len(created)


async def test_a_subject_without_a_stream_is_an_error_within_moments(nats_server: NatsServer) -> None:
    connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
    with pytest.raises(NoResponders):
        async with asyncio.timeout(20):
            await publish_acked(connection, "nowhere", b"", timeout=timedelta(seconds=300))
    await connection.close()
