"""Pulling work through outages: never asleep while there is work."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.pull import PullState
from trellis_nats._nats.jetstream.streams import delete_consumer
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.integration.nats.conftest import QUICK
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.pulling import HEARTBEAT, Capacity, pulling
from tests.support.work_queue import (
    CONSUMER,
    STREAM,
    add_work,
    create_work_consumer,
    create_work_queue,
    create_work_stream,
)


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_work_goes_on_soon_after_a_restart(
    connection: Connection, nats_server: NatsServer, how: str
) -> None:
    """nats-py's fetch with 30 s was deaf for 28.8 s."""
    await create_work_queue(connection)
    capacity = Capacity()

    async with pulling(connection, capacity, 10):
        await add_work(connection, "before")
        await (await capacity.next()).ack_confirmed()
        await asyncio.to_thread(getattr(nats_server, how))
        await asyncio.to_thread(nats_server.start)
        await add_work(connection, "after")
        await capacity.next(5)

        assert capacity.names == ["before", "after"]


async def test_a_deleted_consumer_is_noticed_at_once_and_worked_again_when_it_is_back(
    connection: Connection,
) -> None:
    """nats-py's fetch returns an empty list after its whole timeout."""
    await create_work_queue(connection)
    capacity = Capacity()

    async with pulling(connection, capacity, 1) as pull:
        await eventually(lambda: pull.state.consuming)
        await delete_consumer(connection, STREAM, CONSUMER)
        await eventually(lambda: not pull.state.consuming, within=HEARTBEAT)
        assert pull.state.reason is not None
        assert CONSUMER in pull.state.reason
        await create_work_consumer(connection)
        await add_work(connection, "one")

        assert (await capacity.next()).data == b"one"
        assert pull.state.consuming


async def test_a_recreated_stream_is_worked_again(connection: Connection) -> None:
    await create_work_queue(connection)
    capacity = Capacity()

    async with pulling(connection, capacity, 1) as pull:
        await eventually(lambda: pull.state.consuming)
        await call(connection, f"STREAM.DELETE.{STREAM}")
        await eventually(lambda: not pull.state.consuming)
        await create_work_queue(connection)
        await add_work(connection, "one")

        assert (await capacity.next()).data == b"one"


async def test_a_consumer_that_comes_back_changed_is_not_worked(connection: Connection) -> None:
    await create_work_queue(connection)
    capacity = Capacity()

    async with pulling(connection, capacity, 1, accept=lambda _: "its ack wait is not ours") as pull:
        await eventually(lambda: pull.state.consuming)
        await delete_consumer(connection, STREAM, CONSUMER)
        await eventually(lambda: not pull.state.consuming)
        await create_work_consumer(connection)
        await add_work(connection, "one")
        await eventually(lambda: pull.state.reason == "its ack wait is not ours")

        assert capacity.names == []


async def test_a_consumer_that_is_missing_at_the_start_is_found_when_it_appears(
    connection: Connection,
) -> None:
    await create_work_stream(connection)
    capacity = Capacity()

    async with pulling(connection, capacity, 1) as pull:
        await eventually(lambda: pull.state.reason is not None and CONSUMER in pull.state.reason)
        assert not pull.state.consuming
        await create_work_consumer(connection)
        await add_work(connection, "one")

        assert (await capacity.next()).data == b"one"


async def test_a_silent_network_is_left_for_another(
    connection: Connection, proxied: Connection, proxy: Proxy
) -> None:
    await create_work_queue(connection)
    capacity = Capacity()

    async with pulling(proxied, capacity, 1) as pull:
        await eventually(lambda: pull.state.consuming)
        proxy.blackhole()
        await eventually(lambda: not pull.state.consuming, within=timedelta(seconds=2))
        proxy.cut()
        proxy.heal()
        # Only then has the server forgotten the old link, to which it would send a message in vain.
        await eventually(lambda: pull.state.consuming)
        await add_work(connection, "one")

        assert (await capacity.next()).data == b"one"


async def test_silence_is_noticed_by_missing_heartbeats_long_before_pings_do(
    connection: Connection, proxy: Proxy
) -> None:
    unhurried = await Connection.open(proxy.url, settings=ConnectionSettings())
    await create_work_queue(connection)
    capacity = Capacity()

    async with pulling(unhurried, capacity, 1) as pull:
        await eventually(lambda: pull.state.consuming)
        proxy.blackhole("to_client")
        await eventually(lambda: not pull.state.consuming, within=timedelta(seconds=1))
        await eventually(lambda: proxy.accepted == 2, within=timedelta(seconds=4))
        proxy.heal()
        await eventually(lambda: pull.state.consuming)
        await add_work(connection, "one")

        assert (await capacity.next()).data == b"one"

    await unhurried.close()


async def test_silence_is_logged_once_and_not_for_each_pull(connection: Connection, proxy: Proxy) -> None:
    await create_work_queue(connection)
    capacity = Capacity()
    # Its pings are rare: they must not notice the silence before the pulls do.
    proxied = await Connection.open(proxy.url, settings=replace(QUICK, ping_interval=timedelta(seconds=30)))

    with LogSignals() as signals:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(proxied.close)
            pulls = [await stack.enter_async_context(pulling(proxied, capacity, 1)) for _ in range(5)]
            await eventually(lambda: all(pull.state.consuming for pull in pulls))
            proxy.blackhole("to_client")
            await signals.wait_for(LogEvent.CONSUMER_SILENT, count=5)
            proxy.heal()

    levels = [record.levelno for record in signals.of(LogEvent.CONSUMER_SILENT, consumer=CONSUMER)]
    assert len([level for level in levels if level >= logging.INFO]) <= 1


async def test_a_blocked_event_loop_is_not_silence(connection: Connection) -> None:
    await create_work_queue(connection)
    states: list[PullState] = []
    capacity = Capacity()

    async with pulling(connection, capacity, 1, on_state=states.append) as pull:
        await eventually(lambda: pull.state.consuming)
        time.sleep(1.5)  # noqa: ASYNC251 - blocking is the point: longer than two heartbeats
        await add_work(connection, "one")
        await capacity.next()

    assert [state.reason for state in states] == [None, "stopped"]
