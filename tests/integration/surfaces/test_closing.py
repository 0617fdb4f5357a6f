"""Readers that still wait when the `connect` block of their service or client ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime

import pytest
from everything_participant import (
    ChangesRequest,
    DownloadRequest,
    EverythingClient,
    EverythingService,
    Photo,
)
from trellis_nats import FeedInterrupted, NotConnected, TransferError
from trellis_nats.testing import NatsServer, service_under_test

from tests.support.archive import Archive
from tests.support.shop import Parcel, Shop

PHOTO = Photo(photo_id="p-1", album="summer", taken=datetime(2026, 11, 29, tzinfo=UTC), tags=[])
PICTURE = os.urandom(5_000_000)
"""More than is sent ahead of a reader."""


@pytest.fixture
async def archive(nats_server: NatsServer) -> AsyncIterator[Archive]:
    async with service_under_test(EverythingService, nats_server.url) as everything:
        archive = Archive(everything.service)
        await everything.start()
        await archive.add(PHOTO, PICTURE)
        yield archive


class Reader:
    """Reads without an end."""

    def __init__(self, values: AsyncIterable[object]) -> None:
        self._has_begun = asyncio.Event()
        self._reading = asyncio.create_task(self._read(values))

    async def wait_begun(self) -> None:
        """Wait until it has read something."""
        await self._has_begun.wait()

    async def wait_failed(self) -> BaseException | None:
        """Return why it has ended."""
        async with asyncio.timeout(5):
            await asyncio.wait([self._reading])
        return self._reading.exception()

    async def _read(self, values: AsyncIterable[object]) -> None:
        async for _ in values:
            self._has_begun.set()


async def test_readers_fail_when_the_connection_is_closed(nats_server: NatsServer, archive: Archive) -> None:
    async with AsyncExitStack() as subscriptions:
        async with (
            EverythingClient.connect(nats_server.url) as client,
            EverythingService.connect(nats_server.url) as service,
        ):
            added = await subscriptions.enter_async_context(client.events.photos.added.subscribe())
            changes = await subscriptions.enter_async_context(
                client.feeds.photos.changes(ChangesRequest(album="summer"))
            )
            readers = [Reader(added), Reader(changes), Reader(service.kv.photos.watch())]
            waiting = asyncio.create_task(service.stores.originals.wait_for("p-2"))
            await archive.add(PHOTO, PICTURE)
            for reader in readers:
                await reader.wait_begun()
            download = aiter(await client.rpc.photos.download(DownloadRequest(photo_id="p-1")))
            await anext(download)

        errors = [await reader.wait_failed() for reader in [*readers, Reader(download)]]
        with pytest.raises(NotConnected, match="the connection is closed"):
            await asyncio.wait_for(waiting, 5)

    assert [type(error) for error in errors] == [NotConnected, FeedInterrupted, NotConnected, TransferError]


async def test_who_waits_for_a_job_is_told_at_once_that_the_connection_is_closed(
    nats_server: NatsServer,
) -> None:
    async with Shop.connect(nats_server.url) as shop:
        ref = await shop.jobs.pack.create(Parcel(number=1))
        waiting = asyncio.create_task(ref.wait())
        await anext(ref.events())  # by then, the other one waits

    with pytest.raises(NotConnected, match="the connection is closed"):
        await asyncio.wait_for(waiting, 5)
