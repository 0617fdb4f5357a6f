"""What a service and a caller notice of each other while a feed has no events."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from trellis_nats import Credentials, FeedInterrupted, Options
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.live import CONTRACT, LIVE, CountFrom, LiveClient, LiveService, Source
from tests.support.versions import VERSIONS, binary_of

OFTEN = timedelta(milliseconds=50)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trellis_nats._calls.presence.ALIVE_EVERY", OFTEN)


@asynccontextmanager
async def running(url: str) -> AsyncGenerator[Source]:
    source = Source()
    async with LiveService.connect(url) as service:
        service.count.handle(source.handle)
        await service.start()
        yield source


class Subscriber:
    """Opens a feed as another runtime does."""

    def __init__(self, connection: Connection) -> None:
        self.frames: list[Message] = []
        self._connection = connection
        inbox = connection.new_inbox()
        self._subscription = connection.subscribe(inbox, self.frames.append)
        connection.send(LIVE.subject, b'{"customer":"c1"}', reply=inbox)

    async def leave(self) -> None:
        """End the subscription."""
        await self._subscription.unsubscribe()
        await self._connection.flush()


@pytest.mark.parametrize("version", [None, *VERSIONS])
async def test_a_subscriber_of_another_runtime_that_is_gone_is_noticed_without_an_event(
    version: str | None,
) -> None:
    async with NatsServer(binary=None if version is None else binary_of(version)) as server:
        connection = await Connection.open(server.url, settings=ConnectionSettings())
        async with running(server.url) as source:
            subscriber = Subscriber(connection)
            await eventually(lambda: source.open == 1)
            await subscriber.leave()
            can_be_asked = connection.server_version >= (2, 11, 0)

            def has_noticed() -> bool:
                if not can_be_asked:
                    source.send(1)  # two events without a receiver, a second apart, show it too
                return source.closed == 1

            await eventually(has_noticed)
        await connection.close()


@pytest.mark.parametrize("version", [None, *VERSIONS])
async def test_the_question_is_not_delivered_as_an_event(version: str | None) -> None:
    async with NatsServer(binary=None if version is None else binary_of(version)) as server:
        connection = await Connection.open(server.url, settings=ConnectionSettings())
        async with (
            running(server.url) as source,
            LiveClient.connect(server.url) as client,
            client.count(CountFrom(customer="c1")),
        ):
            subscriber = Subscriber(connection)
            await eventually(lambda: len(subscriber.frames) == 1)
            await wait_for_signs(connection)  # by then both were asked
            source.send(1)
            await eventually(lambda: len(subscriber.frames) == 2)
            await subscriber.leave()

        assert [dict(frame.headers) for frame in subscriber.frames] == [
            {"feed-status": "ready", "trellis-contract-digest": CONTRACT.digest},
            {"trellis-contract-digest": CONTRACT.digest},
        ]
        await connection.close()


async def wait_for_signs(connection: Connection) -> None:
    """Wait for three signs of life on the inboxes of clients."""
    received: list[Message] = []
    subscription = connection.subscribe("_INBOX_live.client.>", received.append)
    await eventually(lambda: sum("alive" in message.headers.values() for message in received) >= 3)
    await subscription.unsubscribe()


async def test_a_service_that_is_silent_interrupts_the_feed(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis_nats.feeds.call.SILENT_AFTER", 5 * OFTEN)
    service = await Connection.open(nats_server.url, settings=ConnectionSettings())
    service.subscribe(
        LIVE.subject,
        lambda call: service.send(
            call.reply, b"", headers={"feed-status": "ready", "trellis-feed-signals": "1"}
        ),
    )
    await service.flush()
    async with (
        LiveClient.connect(nats_server.url) as client,
        client.count(CountFrom(customer="c1")) as events,
    ):
        with pytest.raises(FeedInterrupted, match="silent"):
            await anext(events)
    await service.close()


async def test_signs_of_life_keep_a_quiet_feed_open(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis_nats.feeds.call.SILENT_AFTER", 40 * OFTEN)
    connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
    async with (
        running(nats_server.url) as source,
        LiveClient.connect(nats_server.url) as client,
        client.count(CountFrom(customer="c1")) as events,
    ):
        first = asyncio.ensure_future(anext(events))
        await wait_for_signs(connection)
        source.send(1)
        assert (await first).n == 1
    await connection.close()


async def test_an_account_that_may_not_trace_serves_feeds_all_the_same() -> None:
    """It notices that a subscriber is gone at the next events, and asks no more."""
    subject = "trellis.feed_traces.live.*.*"
    config = (
        f'accounts {{ APP {{ users: [{{ user: a, password: a, permissions: {{ publish: {{ deny: ["{subject}"] }}, '
        f'subscribe: {{ deny: ["{subject}"] }} }} }}, {{ user: b, password: b }}] }} }}'
    )
    limited, full = (Options(credentials=Credentials(user=name, password=name)) for name in "ab")
    async with NatsServer(config=config, jetstream=False) as server:
        connection = await Connection.open(
            server.url,
            settings=ConnectionSettings(user="b", password="b"),  # noqa: S106 - not a secret
        )
        source = Source()
        async with (
            LiveService.connect(server.url, options=limited) as service,
            LiveClient.connect(server.url, options=full) as client,
        ):
            service.count.handle(source.handle)
            await service.start()
            async with client.count(CountFrom(customer="c1")):
                subscriber = Subscriber(connection)
                await eventually(lambda: source.open == 2)
                await wait_for_signs(connection)
                source.send(1)
                await eventually(lambda: len(subscriber.frames) == 2)
                await subscriber.leave()
        await connection.close()
