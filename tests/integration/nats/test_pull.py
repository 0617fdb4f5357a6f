"""Pulling work: never more messages than requested, and none lost at the end."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.pull import PullState
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.pulling import Capacity, has_in_hand, in_hand, pulling
from tests.support.work_queue import add_work, create_work_queue


async def test_work_is_delivered_with_its_numbers_and_ends_with_its_ack(connection: Connection) -> None:
    await create_work_queue(connection)
    capacity = Capacity()

    async with pulling(connection, capacity, 1):
        await add_work(connection, "one")
        message = await capacity.next()

        assert (message.subject, message.data, message.delivered) == ("work.a", b"one", 1)
        assert (message.stream_sequence, message.source_sequence) == (1, None)
        assert await message.ack_confirmed()
        assert await in_hand(connection) == 0


async def test_returned_work_is_redelivered_after_its_delay(connection: Connection) -> None:
    await create_work_queue(connection)
    capacity = Capacity()

    async with pulling(connection, capacity, 1) as pull:
        await add_work(connection, "one")
        first = await capacity.next()
        began = time.monotonic()
        await first.nak(timedelta(milliseconds=200))
        pull.set_capacity(1)
        second = await capacity.next()

        assert time.monotonic() - began >= 0.19
        assert second.delivered == 2
        assert await second.term("broken\n twice")
        await eventually(lambda: has_in_hand(connection, 0))


async def test_never_more_is_in_hand_than_was_asked_for(connection: Connection) -> None:
    await create_work_queue(connection)
    await add_work(connection, *map(str, range(40)))
    capacity = Capacity()

    async with pulling(connection, capacity, 3) as pull:
        for _ in range(20):
            message = await capacity.next()
            assert await in_hand(connection) <= 3
            assert await message.ack_confirmed()
            pull.set_capacity(3 - capacity.arrived.qsize())

    assert len(set(capacity.names)) == len(capacity.names)


async def test_lowering_what_is_wanted_takes_requests_back(connection: Connection) -> None:
    await create_work_queue(connection)
    capacity = Capacity()

    async with pulling(connection, capacity, 5) as pull:
        await eventually(lambda: pull.state.consuming)
        pull.set_capacity(1)
        await connection.flush()
        await add_work(connection, "one", "two", "three")
        await capacity.next()
        await eventually(lambda: has_in_hand(connection, 1))

        assert capacity.names == ["one"]


async def test_expired_requests_are_renewed_without_a_gap(connection: Connection) -> None:
    await create_work_queue(connection)
    capacity = Capacity()
    states: list[PullState] = []

    second = timedelta(seconds=1)  # a heartbeat that is late by less, on a busy machine, is not a gap
    pull = pulling(connection, capacity, 3, expires=2 * second, idle_heartbeat=second, on_state=states.append)
    async with pull:
        for name in ("one", "two", "three"):
            await asyncio.sleep(
                1.4
            )  # a request ends every two seconds: the pauses fall on both sides of that
            await add_work(connection, name)
            message = await capacity.next()
            await message.ack()

    assert capacity.names == ["one", "two", "three"]
    assert [state.consuming for state in states] == [True, False]


async def test_a_message_that_arrives_after_the_stop_is_given_back(
    connection: Connection, proxied: Connection, proxy: Proxy
) -> None:
    await create_work_queue(connection)
    capacity, others = Capacity(), Capacity()
    async with pulling(proxied, capacity, 1) as pull:
        await eventually(lambda: pull.state.consuming)

        proxy.blackhole("to_client")
        await add_work(connection, "one")
        await eventually(lambda: has_in_hand(connection, 1))
        async with asyncio.timeout(5):  # its pull request would wait for 30 s
            await pull.stop()
        proxy.heal()

        async with pulling(connection, others, 1):
            returned = await others.next()

    assert returned.delivered == 2
    assert capacity.names == []


async def test_stopping_does_not_wait_for_a_server_that_hangs(
    connection: Connection, nats_server: NatsServer
) -> None:
    await create_work_queue(connection)
    async with pulling(connection, Capacity(), 1) as pull:
        await eventually(lambda: pull.state.consuming)
        nats_server.pause()

        async with asyncio.timeout(5):  # its pull request would wait for 30 s
            await pull.stop()

        nats_server.resume()
