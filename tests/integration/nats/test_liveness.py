"""A connection that looks alive and is dead, and one that looks dead and is alive."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.link import Link
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats.errors import NotConnected, RequestTimeout
from trellis_nats.testing import NatsServer

from tests.integration.nats.conftest import QUICK
from tests.support.eventually import eventually
from tests.support.proxy import Proxy

SECOND = timedelta(seconds=1)
UNHURRIED = replace(QUICK, ping_interval=timedelta(seconds=10))


async def echo(connection: Connection) -> None:
    def answer(message: Message) -> None:
        connection.send(message.reply, message.data)

    connection.subscribe("echo", answer)
    await connection.flush()


async def works(connection: Connection) -> bool:
    return (await request(connection, "echo", b"1", timeout=5 * SECOND)).data == b"1"


def link_of(connection: Connection) -> Link:
    link = connection.link
    assert link is not None
    return link


async def test_a_flush_that_timed_out_leaves_a_working_connection(nats_server: NatsServer) -> None:
    """With nats-py the late pong kills the reader, and every request times out while it says that it is connected."""
    connection = await Connection.open(nats_server.url, settings=UNHURRIED)
    await echo(connection)
    link = link_of(connection)

    nats_server.pause()
    with pytest.raises(RequestTimeout):
        await connection.flush(timedelta(milliseconds=50))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await connection.flush()
    link.ping().cancel()
    nats_server.resume()

    assert await works(connection)
    assert link_of(connection) is link, "it had to connect again"
    await connection.close()


async def test_a_callback_that_raises_does_not_deafen_the_connection(connection: Connection) -> None:
    def fail(_: Message) -> None:
        raise RuntimeError("a mistake of the user")

    connection.subscribe("mistake", fail)
    await echo(connection)

    await connection.publish("mistake", b"")

    assert await works(connection)


async def test_a_reader_that_ended_is_replaced_at_once(nats_server: NatsServer) -> None:
    connection = await Connection.open(nats_server.url, settings=UNHURRIED)
    await echo(connection)
    reader = next(task for task in asyncio.all_tasks() if "_read_loop" in repr(task.get_coro()))

    reader.cancel()
    await asyncio.wait([reader])

    async with asyncio.timeout(2):
        assert await works(connection)
    await connection.close()


async def test_an_error_that_closes_nats_py_permanently_is_only_a_reconnect(connection: Connection) -> None:
    """A message above `max_payload` with its headers: nats-py 2.16 sends it, the server ends the connection."""
    await echo(connection)
    size_bytes = connection.max_payload + 1
    before = link_of(connection)

    before.send(b"PUB a %d\r\n%b\r\n" % (size_bytes, b"x" * size_bytes))
    await eventually(lambda: not before.is_usable)

    assert "maximum payload" in before.lost.result()
    assert await works(connection)


async def test_the_connection_comes_back_however_often_the_server_goes(
    connection: Connection, nats_server: NatsServer
) -> None:
    reconnects: list[int] = []
    disconnects: list[int] = []
    connection.on_reconnect(lambda: reconnects.append(1))
    connection.on_disconnect(lambda: disconnects.append(1))
    await echo(connection)

    for _ in range(5):
        await asyncio.to_thread(nats_server.kill)
        await eventually(lambda: not connection.is_connected)
        await asyncio.to_thread(nats_server.start)
        assert await works(connection)

    assert len(reconnects) == len(disconnects) == 5


async def test_the_connection_comes_back_after_many_failed_attempts(
    nats_server: NatsServer, proxy: Proxy
) -> None:
    """nats-py's own count ends at 60 unless told otherwise."""
    restless = replace(QUICK, reconnect_wait=SECOND / 1000, max_reconnect_wait=SECOND / 1000)
    connection = await Connection.open(proxy.url, settings=restless)
    await echo(connection)

    await asyncio.to_thread(nats_server.kill)
    await eventually(lambda: proxy.accepted > 70)
    await asyncio.to_thread(nats_server.start)

    assert await works(connection)
    await connection.close()


async def test_a_silent_server_is_left_after_three_ping_intervals(proxy: Proxy) -> None:
    connection = await Connection.open(proxy.url, settings=replace(QUICK, ping_interval=SECOND))
    await echo(connection)
    silent = link_of(connection)

    proxy.blackhole()
    await eventually(lambda: not silent.is_usable, within=4 * SECOND)

    proxy.cut()
    proxy.heal()
    assert await works(connection)
    await connection.close()


@pytest.mark.parametrize("direction", ["to_server", "to_client"])
async def test_a_link_that_is_silent_in_one_direction_is_left(
    proxied: Connection, proxy: Proxy, direction: str
) -> None:
    await echo(proxied)
    silent = link_of(proxied)

    proxy.blackhole("to_server" if direction == "to_server" else "to_client")
    await eventually(lambda: not silent.is_usable, within=2 * SECOND)
    proxy.cut()
    proxy.heal()

    assert await works(proxied)


async def test_a_full_send_buffer_does_not_keep_a_dead_link_alive(proxied: Connection, proxy: Proxy) -> None:
    """nats-py hangs in `wait_closed` while unsent bytes wait (issue 671)."""
    await echo(proxied)
    chunk = b"x" * 500_000
    proxy.blackhole()

    async def fill() -> None:
        while True:
            await proxied.publish("a", chunk)

    with pytest.raises(NotConnected):
        async with asyncio.timeout(5):
            await fill()
    proxy.cut()
    proxy.heal()

    assert await works(proxied)


async def test_a_suspected_link_is_tried_and_kept_when_it_answers(connection: Connection) -> None:
    before = link_of(connection)

    connection.probe()
    await connection.flush()

    assert link_of(connection) is before


async def test_a_blocked_event_loop_is_not_a_dead_server(nats_server: NatsServer) -> None:
    connection = await Connection.open(nats_server.url, settings=replace(QUICK, ping_interval=SECOND / 10))
    await echo(connection)
    before = link_of(connection)

    connection.probe()
    time.sleep(2.2)  # noqa: ASYNC251 - blocking is the point: longer than the probe waits
    await asyncio.sleep(0.3)

    assert link_of(connection) is before
    await connection.close()


@pytest.mark.parametrize("state", ["alive", "paused", "killed"])
async def test_closing_never_hangs(nats_server: NatsServer, state: str) -> None:
    connection = await Connection.open(nats_server.url, settings=UNHURRIED)
    connection.subscribe("deaf", lambda _: None)
    waiting = asyncio.create_task(request(connection, "deaf", timeout=60 * SECOND))
    await connection.flush()
    if state == "paused":
        nats_server.pause()
    if state == "killed":
        await asyncio.to_thread(nats_server.kill)
        await eventually(lambda: not connection.is_connected)

    async with asyncio.timeout(10):  # the request would wait for 60 s
        await connection.close()
        await connection.close()

    with pytest.raises(RequestTimeout, match="before the connection was closed"):
        await waiting
    with pytest.raises(NotConnected):
        await connection.publish("a", b"")
    with pytest.raises(NotConnected):
        await connection.wait_connected()
    if state == "paused":
        nats_server.resume()


async def test_closing_sends_what_was_published(connection: Connection, nats_server: NatsServer) -> None:
    other = await Connection.open(nats_server.url, settings=QUICK)
    heard: asyncio.Queue[Message] = asyncio.Queue()
    connection.subscribe("bye", heard.put_nowait)
    await connection.flush()

    await other.publish("bye", b"1")
    await other.close()

    assert (await asyncio.wait_for(heard.get(), 1)).data == b"1"


async def test_nothing_is_left_running_after_the_close(nats_server: NatsServer) -> None:
    before = asyncio.all_tasks()
    connection = await Connection.open(nats_server.url, settings=QUICK)
    await echo(connection)

    await connection.close()
    await asyncio.sleep(0)

    await eventually(lambda: asyncio.all_tasks() == before, within=SECOND)


async def test_unsubscribing_ends_the_callbacks(connection: Connection) -> None:
    heard: list[Message] = []
    subscription = connection.subscribe("a", heard.append)
    await connection.publish("a", b"")
    await connection.flush()

    await subscription.unsubscribe()
    await subscription.unsubscribe()
    await connection.publish("a", b"")
    await connection.flush()

    assert len(heard) == 1


async def test_a_queue_group_shares_its_messages(connection: Connection) -> None:
    heard: list[Message] = []
    for _ in range(3):
        connection.subscribe("a", heard.append, queue="workers")

    for _ in range(10):
        await connection.publish("a", b"")
    await connection.flush()

    assert len(heard) == 10


async def test_settings_do_not_show_secrets() -> None:
    settings = ConnectionSettings(password="very-secret", token="very-secret")  # noqa: S106 - none

    assert "very-secret" not in repr(settings)
