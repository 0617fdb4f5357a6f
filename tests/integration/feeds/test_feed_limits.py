"""Many subscribers, slow ones, and what does not fit."""

import asyncio
from datetime import timedelta

import pytest
from trellis_nats import (
    UnexpectedError,
)
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.live import (
    CountFrom,
    flush,
    read_all,
    running,
)
from tests.support.orders import NotFoundError

REQUEST = CountFrom(customer="c1")
LONG = timedelta(seconds=60)
"""For a thousand at once, on a loaded machine."""


async def test_a_slow_reader_is_told_that_events_are_missing(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, source, client), client.count(REQUEST) as events:
        for n in range(5000):
            source.send(n)
        source.finish()
        await eventually(lambda: source.closed == 1)
        await flush(client)
        received, error = await read_all(events)

    assert received == list(range(4096))
    assert "too slow" in str(error)


async def test_a_thousand_subscribers_in_one_process(nats_server: NatsServer) -> None:
    async with running(nats_server.url) as (_, source, client):

        async def read() -> list[int]:
            async with client.count(REQUEST, timeout=LONG) as events:
                return [event.n async for event in events]

        readers = [asyncio.create_task(read()) for _ in range(1000)]
        await eventually(lambda: source.open == 1000, within=LONG)
        for n in range(3):
            source.send(n)
        source.finish()

        assert await asyncio.gather(*readers) == [[0, 1, 2]] * 1000


async def test_beyond_its_limit_a_process_opens_no_more_feeds(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis_nats.feeds.server._OPEN_MAX", 1)
    async with running(nats_server.url) as (_, source, client), client.count(REQUEST):
        with pytest.raises(UnexpectedError):
            async with client.count(REQUEST):
                pass

    assert len(source.opened) == 1


async def test_beyond_its_limit_of_bytes_a_process_opens_no_more_feeds(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trellis_nats.feeds.server._OPEN_BYTES_MAX", 1_000)
    large = CountFrom(customer="c" * 1_000)
    async with running(nats_server.url) as (_, source, client), client.count(large):
        with pytest.raises(UnexpectedError):
            async with client.count(REQUEST):
                pass

    assert len(source.opened) == 1


async def test_an_error_that_is_too_large_for_a_frame_ends_the_feed_all_the_same(
    nats_server: NatsServer,
) -> None:
    async with running(nats_server.url) as (_, source, client), client.count(REQUEST) as events:
        source.fail(NotFoundError("gone", resource="x" * 2_000_000, resource_id="c1"))
        with pytest.raises(UnexpectedError):
            await anext(events)
