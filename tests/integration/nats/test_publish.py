"""Publishing that ends: acknowledged, refused, or unknown."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.publish import (
    ExpectedLast,
    PubAck,
    publish_acked,
    supports_fence,
)
from trellis_nats._nats.jetstream.streams import (
    create_stream,
    get_last_message,
    get_last_message_from_leader,
    get_stream_info,
)
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.errors import (
    ApiError,
    NoResponders,
    NotConnected,
    PermissionDenied,
    WriteUnknown,
    WrongLastSequence,
)
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.pending import count_pending
from tests.support.proxy import Proxy

QUICKLY = timedelta(milliseconds=200)

CONFINED = """
authorization { users: [ { user: tight, password: tight, permissions: { publish: ["$JS.API.>"], subscribe: [">"] } } ] }
"""


async def make_stream(connection: Connection, **config: int | str) -> None:
    await create_stream(connection, {"name": "LOG", "subjects": ["log.>"], "allow_direct": True, **config})


async def stored(connection: Connection) -> int:
    info = await get_stream_info(connection, "LOG")
    assert info is not None
    state = info["state"]
    assert isinstance(state, dict)
    count = state["messages"]
    assert isinstance(count, int)
    return count


async def test_an_acknowledged_message_can_be_read_back(connection: Connection) -> None:
    await make_stream(connection)

    ack = await publish_acked(connection, "log.a.one", b"data", headers={"k": "v"}, message_id="1")
    direct = await get_last_message(connection, "LOG", "log.a.>")
    leader = await get_last_message_from_leader(connection, "LOG", "log.a.one")

    assert ack == PubAck("LOG", 1, duplicate=False)
    assert direct == leader
    assert direct is not None
    assert (direct.subject, direct.sequence, direct.data) == ("log.a.one", 1, b"data")
    assert direct.headers == {"k": "v", "Nats-Msg-Id": "1"}


async def test_a_message_under_no_subject_is_none(connection: Connection) -> None:
    await make_stream(connection)

    assert await get_last_message(connection, "LOG", "log.b.>") is None
    assert await get_last_message_from_leader(connection, "LOG", "log.b") is None


async def test_the_same_id_is_stored_once(connection: Connection) -> None:
    await make_stream(connection)

    first = await publish_acked(connection, "log.a", b"", message_id="1")
    second = await publish_acked(connection, "log.a", b"", message_id="1")

    assert second == PubAck("LOG", first.sequence, duplicate=True)


async def test_one_of_many_racing_writers_wins(connection: Connection) -> None:
    if not supports_fence(connection):
        pytest.skip("servers before 2.11 know no fence with wildcards")
    await make_stream(connection)
    fence = ExpectedLast(0, "log.job.>")

    outcomes = await asyncio.gather(
        *(
            publish_acked(
                connection, f"log.job.event{number}", b"", expected_last=fence, message_id=str(number)
            )
            for number in range(30)
        ),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, PubAck) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, WrongLastSequence) for outcome in outcomes) == 29
    assert await stored(connection) == 1


async def test_one_of_many_racing_writers_to_one_subject_wins(connection: Connection) -> None:
    """On every server version."""
    await make_stream(connection)

    outcomes = await asyncio.gather(
        *(publish_acked(connection, "log.a", b"", expected_last_on_subject=0) for _ in range(30)),
        return_exceptions=True,
    )

    assert sum(isinstance(outcome, PubAck) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, WrongLastSequence) for outcome in outcomes) == 29


async def test_a_lost_acknowledgement_is_unknown_and_the_repeat_shows_that_it_was_stored(
    connection: Connection, proxied: Connection, proxy: Proxy
) -> None:
    await make_stream(connection)

    proxy.blackhole("to_client")
    publish = asyncio.create_task(publish_acked(proxied, "log.a", b"", message_id="1"))
    await eventually(lambda: stored(connection))
    proxy.cut()
    with pytest.raises(WriteUnknown, match="may be stored"):
        await asyncio.wait_for(publish, 1)
    proxy.heal()
    repeat = await publish_acked(proxied, "log.a", b"", message_id="1")

    assert repeat == PubAck("LOG", 1, duplicate=True)


async def test_a_publish_that_is_not_acknowledged_in_time_is_unknown(
    connection: Connection, proxied: Connection, proxy: Proxy
) -> None:
    await make_stream(connection)
    proxy.blackhole("to_client")

    with pytest.raises(WriteUnknown):
        await publish_acked(proxied, "log.a", b"", timeout=timedelta(milliseconds=100))

    proxy.heal()


async def test_a_publish_while_disconnected_is_not_sent_later(
    connection: Connection, nats_server: NatsServer
) -> None:
    """nats-py buffers it, so that a publish that has failed is stored after the reconnect."""
    await make_stream(connection)
    await asyncio.to_thread(nats_server.kill)
    await eventually(lambda: not connection.is_connected)

    with pytest.raises(NotConnected, match="nothing was sent"):
        await publish_acked(connection, "log.a", b"ghost", timeout=QUICKLY)
    await asyncio.to_thread(nats_server.start)
    await publish_acked(connection, "log.a", b"real")

    assert await stored(connection) == 1


async def test_a_publish_waits_for_the_connection(connection: Connection, nats_server: NatsServer) -> None:
    await make_stream(connection)
    await asyncio.to_thread(nats_server.kill)
    await eventually(lambda: not connection.is_connected)

    publish = asyncio.create_task(publish_acked(connection, "log.a", b""))
    await asyncio.to_thread(nats_server.start)

    assert (await publish).sequence == 1


async def test_many_publishes_are_under_way_at_once_and_all_end(connection: Connection) -> None:
    await make_stream(connection, storage="memory")

    acks = await asyncio.gather(*[publish_acked(connection, "log.a", b"x" * 200) for _ in range(5000)])

    assert [ack.sequence for ack in acks] == list(range(1, 5001))
    assert count_pending(connection) == 0


async def test_all_publishes_under_way_are_unknown_when_the_server_dies(
    connection: Connection, nats_server: NatsServer
) -> None:
    await make_stream(connection)
    nats_server.pause()
    under_way = [asyncio.create_task(publish_acked(connection, "log.a", b"")) for _ in range(100)]
    await asyncio.sleep(0)

    await asyncio.to_thread(nats_server.kill)
    async with asyncio.timeout(1):
        outcomes = await asyncio.gather(*under_way, return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {WriteUnknown}
    assert count_pending(connection) == 0


async def test_a_subject_without_a_stream_is_an_error_at_once(connection: Connection) -> None:
    with pytest.raises(NoResponders, match="no stream listens"):
        await publish_acked(connection, "nowhere", b"")


async def test_a_full_stream_tells_why_it_refuses(connection: Connection) -> None:
    await make_stream(connection, max_msgs=1, discard="new")
    await publish_acked(connection, "log.a", b"")

    with pytest.raises(ApiError, match="maximum messages exceeded"):
        await publish_acked(connection, "log.a", b"")


async def test_a_denied_publish_fails_at_once() -> None:
    async with NatsServer(config=CONFINED) as server:
        connection = await Connection.open(
            f"nats://tight:tight@127.0.0.1:{server.port}", settings=ConnectionSettings()
        )

        with pytest.raises(PermissionDenied, match="publish to"):
            async with asyncio.timeout(1):
                await publish_acked(connection, "Trellis.jobs.a", b"")

        await connection.close()


async def test_an_answer_of_a_plain_subscriber_is_not_an_acknowledgement(connection: Connection) -> None:
    def answer(message: Message) -> None:
        connection.send(message.reply, b"[" * 100)

    connection.subscribe("plain", answer)

    with pytest.raises(WriteUnknown, match="is not an acknowledgement"):
        await publish_acked(connection, "plain", b"")


async def test_a_publish_into_a_full_socket_ends_in_time_and_was_not_sent(
    proxied: Connection, proxy: Proxy
) -> None:
    proxied.send("fill", b"x" * 900_000)
    proxy.blackhole()
    for _ in range(20):
        proxied.send("fill", b"x" * 900_000)

    with pytest.raises(NotConnected, match="nothing was sent"):
        async with asyncio.timeout(0.5):
            await publish_acked(proxied, "log.a", b"", timeout=timedelta(milliseconds=100))
