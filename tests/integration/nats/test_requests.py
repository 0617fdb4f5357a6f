"""Requests and their replies, through every kind of failure."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats.errors import NoResponders, NotConnected, PayloadTooLarge, PermissionDenied, RequestTimeout
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.pending import count_pending
from tests.support.proxy import Proxy

SECOND = timedelta(seconds=1)

CONFINED = """
authorization {
  users: [
    { user: tight, password: tight, permissions: {
        publish: ["allowed.>"], subscribe: ["_INBOX_tight.>", "allowed.>"] } }
  ]
}
"""
TIGHT = ConnectionSettings(inbox_prefix="_INBOX_tight")
OTHER = ConnectionSettings(inbox_prefix="_INBOX_other")


def as_tight(server: NatsServer) -> str:
    return f"nats://tight:tight@127.0.0.1:{server.port}"


async def echo(connection: Connection, subject: str) -> None:
    def answer(message: Message) -> None:
        connection.send(message.reply, b"echo " + message.data, headers=message.headers)

    connection.subscribe(subject, answer)
    await connection.flush()


async def test_a_request_is_answered_with_its_headers(connection: Connection) -> None:
    await echo(connection, "service.echo")

    answer = await request(connection, "service.echo", b"hello", headers={"lang": "Grüße"}, timeout=SECOND)

    assert answer.data == b"echo hello"
    assert answer.headers == {"lang": "Grüße"}


async def test_a_request_without_subscribers_fails_at_once(connection: Connection) -> None:
    with pytest.raises(NoResponders, match="no process listens"):
        async with asyncio.timeout(10):
            await request(connection, "unused.subject", timeout=50 * SECOND)


async def test_a_request_without_an_answer_times_out(connection: Connection) -> None:
    connection.subscribe("deaf", lambda _: None)

    with pytest.raises(RequestTimeout, match="deaf"):
        await request(connection, "deaf", timeout=timedelta(milliseconds=50))


async def test_a_denied_request_fails_at_once_and_names_the_subject_as_written() -> None:
    async with NatsServer(config=CONFINED) as server:
        connection = await Connection.open(as_tight(server), settings=TIGHT)

        with pytest.raises(PermissionDenied, match=r"publish to \"\$JS\.API\.STREAM\.INFO\.Jobs\""):
            async with asyncio.timeout(10):
                await request(connection, "$JS.API.STREAM.INFO.Jobs", timeout=50 * SECOND)

        assert connection.is_connected
        await connection.close()


async def test_a_denied_subscription_shows_at_the_next_flush() -> None:
    async with NatsServer(config=CONFINED) as server:
        connection = await Connection.open(as_tight(server), settings=TIGHT)

        connection.subscribe("Forbidden.>", lambda _: None)
        with pytest.raises(PermissionDenied, match=r"subscribe to \"Forbidden\.>\""):
            await connection.flush()

        await connection.flush()
        await connection.close()


async def test_an_account_that_may_not_hear_answers_cannot_open_a_connection() -> None:
    async with NatsServer(config=CONFINED) as server:
        with pytest.raises(PermissionDenied, match=r"_INBOX_other"):
            await Connection.open(as_tight(server), settings=OTHER)


async def test_an_answer_that_comes_after_a_reconnect_is_taken(
    connection: Connection, proxied: Connection, proxy: Proxy
) -> None:
    asked: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    reconnected = asyncio.Event()
    proxied.on_reconnect(reconnected.set)
    connection.subscribe("slow", asked.set_result)
    await connection.flush()

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(request(proxied, "slow", timeout=5 * SECOND))
        question = await asked
        proxy.cut()
        await reconnected.wait()
        await proxied.flush()
        connection.send(question.reply, b"late")

    assert waiting.result().data == b"late"


async def test_a_repeatable_request_is_asked_again_after_a_reconnect(
    connection: Connection, proxied: Connection, proxy: Proxy
) -> None:
    heard: asyncio.Queue[Message] = asyncio.Queue()
    connection.subscribe("read", heard.put_nowait)
    await connection.flush()

    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(request(proxied, "read", timeout=5 * SECOND, repeat=True))
        first = await heard.get()
        proxy.cut()
        second = await heard.get()
        connection.send(second.reply, b"here")

    assert waiting.result().data == b"here"
    assert first.reply != second.reply


async def test_a_request_while_disconnected_waits_and_then_says_that_nothing_was_sent(
    connection: Connection, nats_server: NatsServer
) -> None:
    await asyncio.to_thread(nats_server.kill)
    await eventually(lambda: not connection.is_connected)

    with pytest.raises(NotConnected, match="nothing was sent"):
        await request(connection, "service.echo", timeout=timedelta(milliseconds=100))


async def test_cancelling_a_request_leaves_nothing_behind(connection: Connection) -> None:
    connection.subscribe("deaf", lambda _: None)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await request(connection, "deaf", timeout=10 * SECOND)

    assert count_pending(connection) == 0


async def test_what_is_too_large_is_refused_before_it_is_sent(connection: Connection) -> None:
    """The limit includes headers, and a server closes the connection over a larger message."""
    await echo(connection, "service.echo")

    with pytest.raises(PayloadTooLarge) as refused:
        await request(
            connection,
            "service.echo",
            b"x" * (connection.max_payload - 600),
            headers={"h": "y" * 600},
            timeout=SECOND,
        )

    assert refused.value.size_bytes > refused.value.limit_bytes
    assert (await request(connection, "service.echo", b"small", timeout=SECOND)).data == b"echo small"


@pytest.mark.parametrize("subject", ["", "with space", "line\r\nPUB x 0", "x" * 2000])
async def test_a_malformed_subject_is_refused(connection: Connection, subject: str) -> None:
    with pytest.raises(ValueError, match="is not a valid subject"):
        await connection.publish(subject, b"")


async def test_a_header_cannot_forge_another(connection: Connection) -> None:
    with pytest.raises(ValueError, match="contains a line break"):
        await connection.publish("a", b"", headers={"one": "1\r\nNats-Msg-Id: 2"})
