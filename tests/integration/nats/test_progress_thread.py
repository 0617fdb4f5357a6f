"""Progress acks from a thread: a handler that blocks the event loop keeps its message."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.progress_thread import ProgressThread
from trellis_nats._nats.jetstream.pull import Delivery, Pull
from trellis_nats._nats.jetstream.streams import create_stream, get_last_message
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.errors import CannotConnect
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.work_queue import CONSUMER, STREAM, add_work, create_work_queue

ACK_WAIT = timedelta(milliseconds=600)
INTERVAL = ACK_WAIT / 3


async def deliveries(
    connection: Connection, blocked: timedelta, heartbeats: ProgressThread | None
) -> list[int]:
    """Take one message, block the event loop with it in hand, and tell every delivery that there was."""
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()
    pull = Pull(connection, stream=STREAM, consumer=CONSUMER, deliver=arrived.put_nowait)
    pull.start()
    pull.set_capacity(2)
    message = await arrived.get()
    hold = None if heartbeats is None else heartbeats.hold(message.reply, INTERVAL)
    time.sleep(blocked.total_seconds())  # noqa: ASYNC251 - blocking is the point
    await connection.flush()
    await message.ack_confirmed()
    if hold is not None:
        hold.release()
    await pull.stop()
    return [message.delivered, *(arrived.get_nowait().delivered for _ in range(arrived.qsize()))]


async def test_a_blocked_handler_keeps_its_message(connection: Connection) -> None:
    await create_work_queue(connection, ack_wait=ACK_WAIT)
    await add_work(connection, "one")
    heartbeats = ProgressThread(connection.settings)
    await heartbeats.start()

    assert await deliveries(connection, 3 * ACK_WAIT, heartbeats) == [1]

    await heartbeats.stop()


async def test_without_the_thread_it_would_be_delivered_again(connection: Connection) -> None:
    """Proves that the test above tests something."""
    await create_work_queue(connection, ack_wait=ACK_WAIT)
    await add_work(connection, "one")

    assert await deliveries(connection, 3 * ACK_WAIT, None) == [1, 2]


async def test_progress_is_sent_until_released_also_across_a_restart(
    connection: Connection, nats_server: NatsServer
) -> None:
    heard: list[Message] = []
    connection.subscribe("ack.me", heard.append)
    await connection.flush()
    heartbeats = ProgressThread(connection.settings)
    await heartbeats.start()
    hold = heartbeats.hold("ack.me", timedelta(milliseconds=20))

    await eventually(lambda: len(heard) >= 3)
    await asyncio.to_thread(nats_server.restart)
    before = len(heard)
    await eventually(lambda: len(heard) >= before + 3)
    assert {message.data for message in heard} == {b"+WPI"}

    hold.release()
    hold.release()
    await asyncio.sleep(0.05)  # one that was being sent may still arrive
    after = len(heard)
    await asyncio.sleep(0.1)
    assert len(heard) == after
    await heartbeats.stop()


async def test_progress_that_fell_into_an_outage_is_sent_at_its_end(
    connection: Connection, nats_server: NatsServer
) -> None:
    await create_stream(connection, {"name": "HEARD", "subjects": ["ack.me"], "allow_direct": True})
    heartbeats = ProgressThread(replace(connection.settings, max_reconnect_wait=INTERVAL))
    await heartbeats.start()
    began = time.monotonic()

    heartbeats.hold("ack.me", timedelta(seconds=2))
    await asyncio.to_thread(nats_server.kill)
    await asyncio.sleep(2.1)  # past the moment at which it was due
    await asyncio.to_thread(nats_server.start)
    await eventually(lambda: get_last_message(connection, "HEARD", "ack.me"))

    assert time.monotonic() - began < 3.9, "it waited for the next turn"
    await heartbeats.stop()


async def test_many_holds_of_several_threads_are_kept(connection: Connection) -> None:
    heard: set[str] = set()
    connection.subscribe("ack.>", lambda message: heard.add(message.subject))
    await connection.flush()
    heartbeats = ProgressThread(connection.settings)
    await heartbeats.start()

    def hold_some(thread: int) -> None:
        for number in range(50):
            heartbeats.hold(f"ack.{thread}.{number}", timedelta(milliseconds=30))

    threads = [threading.Thread(target=hold_some, args=(each,)) for each in range(4)]
    for thread in threads:
        thread.start()

    await eventually(lambda: len(heard) == 200)
    await heartbeats.stop()


@pytest.mark.parametrize("state", ["alive", "paused", "killed"])
async def test_stopping_never_hangs_and_ends_the_thread(nats_server: NatsServer, state: str) -> None:
    heartbeats = ProgressThread(ConnectionSettings(servers=(nats_server.url,), name="stopping"))
    await heartbeats.start()
    heartbeats.hold("ack.me", timedelta(milliseconds=10))
    if state == "paused":
        nats_server.pause()
    if state == "killed":
        await asyncio.to_thread(nats_server.kill)

    async with asyncio.timeout(10):
        await heartbeats.stop()
        await heartbeats.stop()

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("stopping")]
    if state == "paused":
        nats_server.resume()


async def test_starting_fails_when_it_cannot_connect() -> None:
    settings = ConnectionSettings(
        servers=("nats://127.0.0.1:1",), connect_timeout=timedelta(milliseconds=200), name="unreachable"
    )

    with pytest.raises(CannotConnect):
        await ProgressThread(settings).start()

    assert not [thread for thread in threading.enumerate() if thread.name.startswith("unreachable")]
