"""Pulling work: never asleep while there is work, never more in hand than asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from trellis_nats._nats.api import JsonObject, call
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.pull import Pull, PullState, WorkMessage
from trellis_nats._nats.streams import consumer_info, delete_consumer
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.work_queue import (
    CONSUMER,
    STREAM,
    add_work,
    create_work_consumer,
    create_work_queue,
    create_work_stream,
)

HEARTBEAT = timedelta(milliseconds=200)


class Hands:
    """A worker's hands: what is in them, and what was ever delivered."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[WorkMessage] = asyncio.Queue()
        self.names: list[str] = []

    def take(self, message: WorkMessage) -> None:
        self.names.append(message.data.decode())
        self.arrived.put_nowait(message)

    async def next(self, within: float = 5.0) -> WorkMessage:
        async with asyncio.timeout(within):
            return await self.arrived.get()


@asynccontextmanager
async def pulling(
    connection: Connection,
    hands: Hands,
    free: int,
    *,
    expires: timedelta = timedelta(seconds=30),
    on_state: Callable[[PullState], None] | None = None,
    accept: Callable[[JsonObject], str | None] | None = None,
) -> AsyncGenerator[Pull, None]:
    pull = Pull(
        connection,
        stream=STREAM,
        consumer=CONSUMER,
        deliver=hands.take,
        expires=expires,
        idle_heartbeat=HEARTBEAT,
        on_state=on_state,
        accept=accept,
    )
    pull.start()
    pull.want(free)
    try:
        yield pull
    finally:
        await pull.stop()


async def in_hand(connection: Connection) -> int:
    return await number(connection, "num_ack_pending")


async def has_in_hand(connection: Connection, count: int) -> bool:
    return await in_hand(connection) == count


async def number(connection: Connection, field: str) -> int:
    info = await consumer_info(connection, STREAM, CONSUMER)
    assert info is not None
    count = info[field]
    assert isinstance(count, int)
    return count


async def test_work_is_delivered_with_its_numbers_and_ends_with_its_ack(connection: Connection) -> None:
    await create_work_queue(connection)
    hands = Hands()

    async with pulling(connection, hands, 1):
        await add_work(connection, "one")
        message = await hands.next()

        assert (message.subject, message.data, message.delivered) == ("work.a", b"one", 1)
        assert (message.stream_sequence, message.source_sequence) == (1, None)
        assert await message.ack_confirmed()
        assert await in_hand(connection) == 0


async def test_returned_work_comes_again_after_its_delay(connection: Connection) -> None:
    await create_work_queue(connection)
    hands = Hands()

    async with pulling(connection, hands, 1) as pull:
        await add_work(connection, "one")
        first = await hands.next()
        began = time.monotonic()
        await first.nak(timedelta(milliseconds=200))
        pull.want(1)
        second = await hands.next()

        assert time.monotonic() - began >= 0.19
        assert second.delivered == 2
        assert await second.term("broken\n twice")
        await eventually(lambda: has_in_hand(connection, 0))


async def test_never_more_is_in_hand_than_was_asked_for(connection: Connection) -> None:
    await create_work_queue(connection)
    await add_work(connection, *map(str, range(40)))
    hands = Hands()

    async with pulling(connection, hands, 3) as pull:
        for _ in range(20):
            message = await hands.next()
            assert await in_hand(connection) <= 3
            assert await message.ack_confirmed()
            pull.want(3 - hands.arrived.qsize())

    assert len(set(hands.names)) == len(hands.names)


async def test_lowering_what_is_wanted_takes_requests_back(connection: Connection) -> None:
    await create_work_queue(connection)
    hands = Hands()

    async with pulling(connection, hands, 5) as pull:
        await eventually(lambda: pull.consuming)
        pull.want(1)
        await connection.flush()
        await add_work(connection, "one", "two", "three")
        await hands.next()
        await eventually(lambda: has_in_hand(connection, 1))

        assert hands.names == ["one"]


@pytest.mark.parametrize("how", ["kill", "terminate"])
async def test_work_goes_on_within_a_second_of_a_restart(
    connection: Connection, nats_server: NatsServer, how: str
) -> None:
    """nats-py's fetch with 30 s was deaf for 28.8 s."""
    await create_work_queue(connection)
    hands = Hands()

    async with pulling(connection, hands, 10):
        await add_work(connection, "before")
        await (await hands.next()).ack_confirmed()
        await asyncio.to_thread(getattr(nats_server, how))
        await asyncio.to_thread(nats_server.start)
        back = time.monotonic()
        await add_work(connection, "after")
        await hands.next()

        assert time.monotonic() - back < 1
        assert hands.names == ["before", "after"]


async def test_a_deleted_consumer_is_noticed_at_once_and_worked_again_when_it_is_back(
    connection: Connection,
) -> None:
    """nats-py's fetch returns an empty list after its whole timeout."""
    await create_work_queue(connection)
    hands = Hands()

    async with pulling(connection, hands, 1) as pull:
        await eventually(lambda: pull.consuming)
        await delete_consumer(connection, STREAM, CONSUMER)
        await eventually(lambda: not pull.consuming, within=timedelta(seconds=1))
        assert pull.last_error is not None
        assert CONSUMER in pull.last_error
        await create_work_consumer(connection)
        await add_work(connection, "one")

        assert (await hands.next()).data == b"one"
        assert pull.consuming


async def test_a_recreated_stream_is_worked_again(connection: Connection) -> None:
    await create_work_queue(connection)
    hands = Hands()

    async with pulling(connection, hands, 1) as pull:
        await eventually(lambda: pull.consuming)
        await call(connection, f"STREAM.DELETE.{STREAM}")
        await eventually(lambda: not pull.consuming)
        await create_work_queue(connection)
        await add_work(connection, "one")

        assert (await hands.next()).data == b"one"


async def test_a_consumer_that_comes_back_changed_is_not_worked(connection: Connection) -> None:
    await create_work_queue(connection)
    hands = Hands()

    async with pulling(connection, hands, 1, accept=lambda _: "its ack wait is not ours") as pull:
        await eventually(lambda: pull.consuming)
        await delete_consumer(connection, STREAM, CONSUMER)
        await eventually(lambda: not pull.consuming)
        await create_work_consumer(connection)
        await add_work(connection, "one")
        await eventually(lambda: pull.last_error == "its ack wait is not ours")

        assert hands.names == []


async def test_a_consumer_that_is_missing_at_the_start_is_found_when_it_appears(
    connection: Connection,
) -> None:
    await create_work_stream(connection)
    hands = Hands()

    async with pulling(connection, hands, 1) as pull:
        await eventually(lambda: pull.last_error is not None and CONSUMER in pull.last_error)
        assert not pull.consuming
        await create_work_consumer(connection)
        await add_work(connection, "one")

        assert (await hands.next()).data == b"one"


async def test_expired_requests_are_renewed_without_a_gap(connection: Connection) -> None:
    await create_work_queue(connection)
    hands = Hands()
    states: list[PullState] = []

    async with pulling(connection, hands, 3, expires=timedelta(seconds=1), on_state=states.append):
        for name in ("one", "two", "three"):
            await asyncio.sleep(
                0.7
            )  # a request ends every second: the pauses must fall on both sides of that
            await add_work(connection, name)
            message = await hands.next(0.3)
            await message.ack()

    assert hands.names == ["one", "two", "three"]
    assert [state.consuming for state in states] == [True, False]


async def test_a_silent_network_is_left_for_another(
    connection: Connection, proxied: Connection, proxy: Proxy
) -> None:
    await create_work_queue(connection)
    hands = Hands()

    async with pulling(proxied, hands, 1) as pull:
        await eventually(lambda: pull.consuming)
        proxy.blackhole()
        await eventually(lambda: not pull.consuming, within=timedelta(seconds=2))
        proxy.cut()
        proxy.heal()
        await add_work(connection, "one")

        assert (await hands.next()).data == b"one"


async def test_a_message_that_arrives_after_the_stop_is_given_back(
    connection: Connection, proxied: Connection, proxy: Proxy
) -> None:
    await create_work_queue(connection)
    hands, others = Hands(), Hands()
    async with pulling(proxied, hands, 1) as pull:
        await eventually(lambda: pull.consuming)

        proxy.blackhole("to_client")
        await add_work(connection, "one")
        await eventually(lambda: has_in_hand(connection, 1))
        began = time.monotonic()
        await pull.stop()
        assert time.monotonic() - began < 0.2
        proxy.heal()

        async with pulling(connection, others, 1):
            returned = await others.next()

    assert returned.delivered == 2
    assert hands.names == []


async def test_stopping_does_not_wait_for_a_server_that_hangs(
    connection: Connection, nats_server: NatsServer
) -> None:
    await create_work_queue(connection)
    async with pulling(connection, Hands(), 1) as pull:
        await eventually(lambda: pull.consuming)
        nats_server.pause()
        began = time.monotonic()

        await pull.stop()

        assert time.monotonic() - began < 0.2
        nats_server.resume()
