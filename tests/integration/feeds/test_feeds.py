"""Feeds that are opened, read, and ended by either side."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import cast

import pytest
from trellis_nats import (
    ConfigurationError,
    FeedContext,
    FeedInterrupted,
    HandlerConflict,
    InvalidPayload,
    NoResponders,
    RequestTimeout,
    UnexpectedError,
    ValidationError,
)
from trellis_nats._calls.incoming import read_call
from trellis_nats._calls.presence import PresenceChecks
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.clock import now
from trellis_nats.context import Context, current_context
from trellis_nats.feeds.session import ServedFeed, Session
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.live import (
    CONTRACT,
    LIVE,
    Count,
    CountFrom,
    LiveClient,
    LiveService,
    Source,
    flush,
    read_all,
    running,
)
from tests.support.orders import NotFoundError
from tests.support.proxy import Proxy

REQUEST = CountFrom(customer="c1")


@asynccontextmanager
async def listening(
    server: NatsServer, data: bytes, headers: dict[str, str] | None = None
) -> AsyncGenerator[tuple[list[Message], Connection]]:
    """Open a feed as another runtime does, without signals."""
    frames: list[Message] = []
    connection = await Connection.open(server.url, settings=ConnectionSettings())
    inbox = connection.new_inbox()
    subscription = connection.subscribe(inbox, frames.append)
    connection.send(LIVE.subject, data, headers=headers, reply=inbox)
    try:
        yield frames, connection
        await subscription.unsubscribe()
        await connection.flush()
    finally:
        await connection.close()


async def test_events_arrive_in_order_until_the_handler_returns(nats_server: NatsServer) -> None:
    async with (
        running(nats_server.url) as (service, source, client),
        client.count(CountFrom(customer="c1", first=3)) as events,
    ):
        for n in range(100):
            source.send(n)
        source.finish()
        received = [event async for event in events]
        assert [event async for event in events] == []

    assert received == [Count(n=n, customer="c1") for n in range(100)]
    assert source.opened == [CountFrom(customer="c1", first=3)]
    assert service.count.spec is LIVE


async def test_the_handler_inherits_the_trace_of_its_caller(nats_server: NatsServer) -> None:
    contexts: list[FeedContext] = []
    inherited: list[Context | None] = []

    async with LiveService.connect(nats_server.url) as service, LiveClient.connect(nats_server.url) as client:

        @service.count.handle
        async def count(context: FeedContext, request: CountFrom) -> AsyncIterator[Count]:
            contexts.append(context)
            inherited.append(current_context())
            yield Count(n=0, customer=request.customer)

        await service.start()
        async with client.count(REQUEST) as events:
            assert [event.n async for event in events] == [0]

    assert [context.trace_id for context in inherited if context is not None] == [contexts[0].trace_id]


async def test_replicas_share_the_callers(nats_server: NatsServer) -> None:
    async with (
        running(nats_server.url) as (_, first, client),
        running(nats_server.url) as (_, second, _),
        client.count(REQUEST),
        client.count(REQUEST),
        client.count(REQUEST),
    ):
        assert first.open + second.open == 3


async def test_the_frames_are_those_of_other_runtimes(nats_server: NatsServer) -> None:
    async with (
        running(nats_server.url) as (_, source, _),
        listening(nats_server, b'{"customer":"c1","mode":"x"}') as (frames, connection),
    ):
        await eventually(lambda: source.open == 1)
        source.send(1)
        await eventually(lambda: len(frames) == 2)
        source.fail(NotFoundError("customer c1 not found", resource="customer", resource_id="c1"))
        await eventually(lambda: len(frames) == 3)
        await connection.flush()

    ready, event, error = frames
    assert (dict(ready.headers), ready.data) == (
        {"feed-status": "ready", "trellis-contract-digest": CONTRACT.digest},
        b"",
    )
    assert (dict(event.headers), event.data) == (
        {"trellis-contract-digest": CONTRACT.digest},
        b'{"n":1,"customer":"c1"}',
    )
    assert dict(error.headers) == {"status": "error", "trellis-contract-digest": CONTRACT.digest}
    body = cast("dict[str, object]", json.loads(error.data))
    assert (body["type"], body["resourceId"]) == ("NotFoundError", "c1")
    assert cast("dict[str, object]", body["context"])["feed"] == "Live.Count"


async def test_a_caller_without_signals_gets_no_end(nats_server: NatsServer) -> None:
    async with (
        running(nats_server.url) as (_, source, _),
        listening(nats_server, b'{"customer":"c1"}') as (frames, connection),
    ):
        await eventually(lambda: source.open == 1)
        source.finish()
        await eventually(lambda: source.closed == 1)
        await connection.flush()

    assert [dict(frame.headers) for frame in frames] == [
        {"feed-status": "ready", "trellis-contract-digest": CONTRACT.digest}
    ]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"customer":5}', b'{"customer":"c1","first":-1}'])
async def test_a_bad_request_is_refused_before_the_feed_is_ready(
    nats_server: NatsServer, data: bytes
) -> None:
    async with running(nats_server.url) as (_, source, _), listening(nats_server, data) as (frames, _):
        await eventually(lambda: frames)

    assert dict(frames[0].headers) == {"status": "error", "trellis-contract-digest": CONTRACT.digest}
    assert json.loads(frames[0].data)["type"] in {"ValidationError", "UnexpectedError"}
    assert source.opened == []


async def test_a_declared_error_reaches_the_caller_as_its_class(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, source, client), client.count(REQUEST) as events:
        source.send(1)
        source.fail(NotFoundError("gone", resource="customer", resource_id="c1"))
        assert (await anext(events)).n == 1
        with pytest.raises(NotFoundError, match="gone") as error:
            await anext(events)
        with pytest.raises(StopAsyncIteration):
            await anext(events)

    assert error.value.resource_id == "c1"


class Aborted(BaseException):
    """No `Exception`, as the errors by which test and task libraries abort."""


@pytest.mark.parametrize("raised", [RuntimeError, SystemExit, GeneratorExit, Aborted])
async def test_of_another_exception_the_caller_gets_only_an_id(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture, raised: type[BaseException]
) -> None:
    async with running(nats_server.url) as (_, source, client), client.count(REQUEST) as events:
        source.fail(raised("the password is 1234"))
        with pytest.raises(UnexpectedError) as error:
            await anext(events)

    assert "1234" not in str(error.value)
    assert error.value.id is not None
    assert error.value.id in caplog.text


async def test_an_invalid_event_ends_the_feed(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, source, client), client.count(REQUEST) as events:
        source.send(1)
        source.send(-1)
        assert (await anext(events)).n == 1
        with pytest.raises(ValidationError, match="#/n"):
            await anext(events)
        await eventually(lambda: source.closed == 1)


async def test_an_event_that_the_caller_cannot_read_is_an_error_and_the_feed_goes_on(
    nats_server: NatsServer,
) -> None:
    async with LiveClient.connect(nats_server.url) as client:
        service = await Connection.open(nats_server.url, settings=ConnectionSettings())

        def serve(call: Message) -> None:
            service.send(
                call.reply, b"", headers={"feed-status": "ready", "trellis-contract-digest": CONTRACT.digest}
            )
            service.send(call.reply, b'{"n":"one"}')
            service.send(call.reply, b'{"n":2,"customer":"c1"}')

        service.subscribe(LIVE.subject, serve)
        await service.flush()
        async with client.count(REQUEST) as events:
            with pytest.raises(InvalidPayload, match="feed"):
                await anext(events)
            assert (await anext(events)).n == 2
        await service.close()


async def test_a_feed_that_no_process_serves_is_an_error(nats_server: NatsServer) -> None:
    async with LiveClient.connect(nats_server.url) as client:
        with pytest.raises(NoResponders, match=r"Live\.Count"):
            async with client.count(REQUEST):
                pass


async def test_a_service_that_does_not_answer_is_an_error(nats_server: NatsServer) -> None:
    async with LiveClient.connect(nats_server.url) as client:
        service = await Connection.open(nats_server.url, settings=ConnectionSettings())
        service.subscribe(LIVE.subject, lambda _: None)
        await service.flush()
        with pytest.raises(RequestTimeout, match=r"Live\.Count.*0\.2 s"):
            async with client.count(REQUEST, timeout=timedelta(seconds=0.2)):
                pass
        await service.close()


async def test_leaving_the_block_ends_the_handler(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, source, client):
        async with client.count(REQUEST):
            source.send(0)
        await flush(client)
        source.send(1)  # the server answers with "no responders", and to the question a second later too

        await eventually(lambda: source.closed == 1)


async def test_a_subscriber_of_another_runtime_that_is_gone_is_noticed(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, source, _):
        async with listening(nats_server, b'{"customer":"c1"}'):
            await eventually(lambda: source.open == 1)
        source.send(1)

        await eventually(lambda: source.closed == 1)


async def test_a_stop_interrupts_open_feeds(nats_server: NatsServer) -> None:
    async with LiveClient.connect(nats_server.url) as client:
        async with running(nats_server.url) as (_, source, _):
            feed = client.count(REQUEST)
            events = await feed.__aenter__()
            source.send(1)
        assert (await anext(events)).n == 1
        with pytest.raises(FeedInterrupted, match="stopped"):
            await anext(events)
        await feed.__aexit__(None, None, None)

    assert source.closed == 1


async def test_a_lost_connection_of_the_caller_interrupts_its_feed(nats_server: NatsServer) -> None:
    async with (
        Proxy(nats_server.port) as proxy,
        LiveClient.connect(proxy.url) as client,
        running(nats_server.url) as (_, source, _),
        client.count(REQUEST) as events,
    ):
        source.send(1)
        assert (await anext(events)).n == 1
        proxy.cut()
        with pytest.raises(FeedInterrupted, match="connection"):
            await anext(events)


async def test_a_lost_connection_of_the_service_interrupts_its_feeds(nats_server: NatsServer) -> None:
    async with (
        Proxy(nats_server.port) as proxy,
        LiveClient.connect(nats_server.url) as client,
        running(proxy.url) as (_, source, _),
        client.count(REQUEST) as events,
    ):
        source.send(1)
        assert (await anext(events)).n == 1
        proxy.cut()
        with pytest.raises(FeedInterrupted, match="connection"):
            await anext(events)
        await eventually(lambda: source.closed == 1)


async def test_a_handler_that_swallows_its_cancellation_sends_nothing_more(nats_server: NatsServer) -> None:
    async with LiveService.connect(nats_server.url) as service, LiveClient.connect(nats_server.url) as client:
        stubborn = asyncio.Event()

        @service.count.handle
        async def count(context: FeedContext, request: CountFrom) -> AsyncIterator[Count]:
            yield Count(n=0, customer="c1")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                stubborn.set()
            yield Count(n=1, customer="c1")

        await service.start()
        async with client.count(REQUEST) as events:
            assert (await anext(events)).n == 0
            await service.stop()
            assert stubborn.is_set()
            received, error = await read_all(events)

    assert received == []
    assert "stopped" in str(error)


async def test_a_handler_that_waits_for_nothing_leaves_turns_to_others(nats_server: NatsServer) -> None:
    async with LiveService.connect(nats_server.url) as service, LiveClient.connect(nats_server.url) as client:
        ended = asyncio.Event()

        @service.count.handle
        async def count(context: FeedContext, request: CountFrom) -> AsyncIterator[Count]:
            try:
                for n in itertools.count(1):
                    yield Count(n=n, customer="c1")
            finally:
                ended.set()

        await service.start()
        async with client.count(REQUEST) as events:
            assert [(await anext(events)).n for _ in range(3)] == [1, 2, 3]
        await ended.wait()  # it noticed that its subscriber is gone


async def test_frames_that_follow_each_other_at_once_share_the_turns_of_the_loop(
    nats_server: NatsServer,
) -> None:
    async with LiveService.connect(nats_server.url) as service, LiveClient.connect(nats_server.url) as client:
        loop, turns, ended = asyncio.get_running_loop(), 0, asyncio.Event()

        def on_turn() -> None:
            nonlocal turns
            turns += 1
            if not ended.is_set():
                loop.call_soon(on_turn)

        @service.count.handle
        async def count(context: FeedContext, request: CountFrom) -> AsyncIterator[Count]:
            on_turn()
            for n in range(4000):
                yield Count(n=n, customer="c1")
            ended.set()

        await service.start()
        async with client.count(REQUEST) as events:
            received = [event.n async for event in events]

    assert received == list(range(4000))
    assert 1 < turns < 2000


async def test_a_feed_that_is_interrupted_before_it_began_tells_its_caller(nats_server: NatsServer) -> None:
    source = Source()
    async with LiveClient.connect(nats_server.url) as client:
        connection, frames = client.runtime.connection, list[Message]()
        checks = PresenceChecks(connection)
        inbox = connection.new_inbox()
        connection.subscribe(inbox, frames.append)
        call = read_call(Message(LIVE.subject, b'{"customer":"c1"}', {}, inbox), at=now())

        session = Session(connection, ServedFeed(LIVE, client.contract, source.handle), call, checks)
        session.interrupt("the service lost its connection")
        await asyncio.wait([session.task])
        await connection.flush()
        await checks.stop()

    assert source.opened == []
    assert [json.loads(frame.data)["type"] for frame in frames] == ["FeedInterrupted"]


async def test_a_handler_must_be_an_async_generator(nats_server: NatsServer) -> None:
    async with LiveService.connect(nats_server.url) as service:

        async def count(context: FeedContext, request: CountFrom) -> Count:
            return Count(n=0, customer="c1")

        def count_blocking(context: FeedContext, request: CountFrom) -> Iterator[Count]:
            yield Count(n=0, customer="c1")

        with pytest.raises(ConfigurationError, match="async generator"):
            service.count.handle(count)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - it is refused
        with pytest.raises(ConfigurationError, match="async generator"):
            service.count.handle(count_blocking)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - it is refused
        service.count.handle(Source().handle)
        with pytest.raises(HandlerConflict, match="already has"):
            service.count.handle(Source().handle)


async def test_a_call_that_names_a_subject_of_the_service_as_its_inbox_is_ignored(
    nats_server: NatsServer,
) -> None:
    async with running(nats_server.url) as (_, source, _):
        connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
        with LogSignals() as signals:
            connection.send(LIVE.subject, b'{"customer":"c1"}', reply="events.v1.X")
            await signals.wait_for(LogEvent.CALL_REFUSED, subject="events.v1.X")
        await connection.close()

    assert source.opened == []
