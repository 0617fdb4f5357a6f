"""Downloads: complete, verified, bounded, and ended for every reason."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from typing import cast

import pytest
from trellis_nats import (
    ConfigurationError,
    Download,
    HandlerConflict,
    RpcContext,
    StoredObject,
    TransferError,
    UnexpectedError,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.testing import LogEvent, LogSignals, NatsServer
from trellis_nats.transfers import download as client_side
from trellis_nats.transfers import download_session as service_side
from trellis_nats.transfers import downloads

from tests.support.downloads import FileRequest, MissingFile, WireClient, WireService, serve_files
from tests.support.eventually import eventually
from tests.support.proxy import Proxy

CONTENT = os.urandom(6_000_000)
FILE = FileRequest(key="o")


@pytest.fixture
async def service(nats_server: NatsServer) -> AsyncIterator[WireService]:
    async with WireService.connect(nats_server.url) as connected:
        await serve_files(connected)
        await connected.uploads.put("o", CONTENT, content_type="text/plain", metadata={"owner": "c1"})
        yield connected


@pytest.fixture
async def client(nats_server: NatsServer, service: WireService) -> AsyncIterator[WireClient]:
    async with WireClient.connect(nats_server.url) as connected:
        yield connected


def never(headers: Mapping[str, str]) -> bool:
    return False


def without_headers(sequence: int) -> dict[str, str]:
    return {}


async def reason_of(download: Download) -> str:
    with pytest.raises(TransferError) as failed:
        await download.read()
    return failed.value.reason


async def test_a_caller_gets_the_object_and_what_is_known_about_it(
    service: WireService, client: WireClient
) -> None:
    download = await client.download(FILE)
    chunks = [chunk async for chunk in download]

    assert b"".join(chunks) == CONTENT
    assert max(map(len, chunks)) <= 262_144
    assert download.info == await service.uploads.info("o")
    assert await (await client.download(FILE)).read() == CONTENT


@pytest.mark.parametrize("size", [0, 1, 131_072, 131_073])
async def test_objects_of_every_size_are_downloaded(
    service: WireService, client: WireClient, size: int
) -> None:
    await service.uploads.put("sized", CONTENT[:size])

    assert await (await client.download(FileRequest(key="sized"))).read() == CONTENT[:size]


async def test_an_error_of_the_handler_reaches_the_caller(client: WireClient) -> None:
    with pytest.raises(MissingFile, match="file nothing not found"):
        await client.download(FileRequest(key="nothing"))


async def test_a_handler_without_an_object_fails(nats_server: NatsServer) -> None:
    async with WireService.connect(nats_server.url) as service, WireClient.connect(nats_server.url) as client:

        @service.download.handle
        async def nothing(context: RpcContext, request: FileRequest) -> StoredObject:
            return cast("StoredObject", None)

        with pytest.raises(HandlerConflict):
            service.download.handle(nothing)
        await service.start()
        with pytest.raises(UnexpectedError):
            await client.download(FILE)


async def test_a_handler_must_be_async(nats_server: NatsServer) -> None:
    def plain(context: RpcContext, request: FileRequest) -> StoredObject:
        raise NotImplementedError

    async with WireService.connect(nats_server.url) as service:
        with pytest.raises(ConfigurationError, match="must be an `async def`"):
            service.download.handle(
                cast("Callable[[RpcContext, FileRequest], Awaitable[StoredObject]]", plain)
            )


async def test_a_grant_serves_one_download(client: WireClient) -> None:
    download = await client.download(FILE)
    await download.read()

    assert await reason_of(download) == "session_closed"


async def test_a_grant_that_is_not_used_expires(
    service: WireService, client: WireClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_side, "LIFE", timedelta(milliseconds=50))
    download = await client.download(FILE)
    await eventually(lambda: service.download.open_count == 0)

    assert await reason_of(download) == "session_closed"


async def test_an_object_that_is_replaced_meanwhile_is_not_mixed(
    service: WireService, client: WireClient
) -> None:
    download = await client.download(FILE)
    await service.uploads.put("o", b"new")

    assert await reason_of(download) == "object_replaced"


async def test_a_slow_reader_holds_up_the_service(
    nats_server: NatsServer, service: WireService, client: WireClient
) -> None:
    """The service sends at most 16 frames ahead, so a slow reader keeps little in memory."""
    frames: list[Message] = []
    watcher = await Connection.open(nats_server.url, settings=ConnectionSettings())
    watcher.subscribe("_INBOX_wire.client.>", frames.append)
    await watcher.flush()
    chunks = aiter(await client.download(FILE))
    first = await anext(chunks)
    await eventually(lambda: sum("trellis-transfer-seq" in frame.headers for frame in frames) == 16)
    await service.runtime.connection.flush()
    await watcher.flush()
    assert sum("trellis-transfer-seq" in frame.headers for frame in frames) == 16
    await watcher.close()

    rest = [chunk async for chunk in chunks]
    assert first + b"".join(rest) == CONTENT


async def test_the_downloads_of_a_client_share_what_is_under_way(
    nats_server: NatsServer, service: WireService, client: WireClient
) -> None:
    """With 16 frames each, a server would have 80 MiB for the client, and end its connection if it is slow."""
    frames: list[Message] = []
    watcher = await Connection.open(nats_server.url, settings=ConnectionSettings())
    watcher.subscribe("_INBOX_wire.client.>", frames.append)
    await watcher.flush()
    readers = [aiter(await client.download(FILE)) for _ in range(40)]
    for chunks in readers:
        await anext(chunks)
    await service.runtime.connection.flush()
    await watcher.flush()
    await watcher.close()

    assert sum(len(frame.data) for frame in frames) < 24 * 1024 * 1024
    assert len(b"".join([chunk async for chunk in readers[-1]])) > len(CONTENT) - 262_144


async def test_a_caller_that_stops_ends_the_download(service: WireService, client: WireClient) -> None:
    with LogSignals() as signals:
        chunks = cast("AsyncGenerator[bytes, None]", aiter(await client.download(FILE)))
        await anext(chunks)
        await chunks.aclose()
        await signals.wait_for(LogEvent.DOWNLOAD_ENDED)

    assert service.download.open_count == 0


async def test_a_caller_that_uses_nothing_counts_as_gone(
    client: WireClient, service: WireService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_side, "_PATIENCE", timedelta(milliseconds=50))
    download = await client.download(FILE)
    chunks = aiter(download)
    await anext(chunks)
    await eventually(lambda: service.download.open_count == 0)

    with pytest.raises(TransferError, match="session_closed"):
        await rest_of(chunks)


async def rest_of(chunks: AsyncIterator[bytes]) -> None:
    async for _ in chunks:
        pass


@pytest.mark.parametrize("side", ["service", "client"])
async def test_a_lost_connection_interrupts_a_download(nats_server: NatsServer, side: str) -> None:
    async with Proxy(nats_server.port) as proxy:
        urls = {"service": nats_server.url, "client": nats_server.url, side: proxy.url}
        async with (
            WireService.connect(urls["service"]) as service,
            WireClient.connect(urls["client"]) as client,
        ):
            await serve_files(service)
            await service.uploads.put("o", CONTENT)
            chunks = aiter(await client.download(FILE))
            await anext(chunks)
            proxy.cut()
            with pytest.raises(TransferError, match=r"interrupted|session_closed"):
                await rest_of(chunks)

            await eventually(lambda: service.download.open_count == 0)
            assert await (await client.download(FILE)).read() == CONTENT


async def test_a_stop_ends_downloads(nats_server: NatsServer) -> None:
    async with WireService.connect(nats_server.url) as service, WireClient.connect(nats_server.url) as client:
        await serve_files(service)
        await service.uploads.put("o", CONTENT)
        unused = await client.download(FILE)
        chunks = aiter(await client.download(FILE))
        await anext(chunks)
        await service.stop(grace=timedelta(0))

        with pytest.raises(TransferError, match="session_closed"):
            await rest_of(chunks)
        assert await reason_of(unused) == "session_closed"


async def test_a_running_download_may_end_within_the_grace_period(nats_server: NatsServer) -> None:
    async with WireService.connect(nats_server.url) as service, WireClient.connect(nats_server.url) as client:
        await serve_files(service)
        await service.uploads.put("o", CONTENT)
        chunks = aiter(await client.download(FILE))
        first = await anext(chunks)
        stopping = asyncio.create_task(service.stop(grace=timedelta(seconds=20)))
        rest = [chunk async for chunk in chunks]
        await stopping

    assert first + b"".join(rest) == CONTENT


async def test_many_download_at_the_same_time(client: WireClient) -> None:
    async def turn() -> bytes:
        return await (await client.download(FILE)).read()

    assert set(await asyncio.gather(*(turn() for _ in range(20)))) == {CONTENT}


async def test_more_downloads_than_allowed_are_refused(
    service: WireService, client: WireClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "_SENDING_MAX", 1)
    chunks = aiter(await client.download(FILE))
    first = await anext(chunks)
    assert await reason_of(await client.download(FILE)) == "busy"
    assert first + b"".join([chunk async for chunk in chunks]) == CONTENT

    monkeypatch.setattr(downloads, "_GRANTED_MAX", 0)
    with pytest.raises(UnexpectedError):
        await client.download(FILE)


async def test_a_service_that_does_not_wait_for_its_reader_is_bounded(
    nats_server: NatsServer, client: WireClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_side, "wants_acks", never)
    monkeypatch.setattr(client_side, "_BYTES_MAX", 1_000_000)
    chunks = aiter(await client.download(FILE))
    await anext(chunks)
    await asyncio.sleep(0.2)  # everything arrives
    with pytest.raises(TransferError, match="reader_too_slow"):
        await rest_of(chunks)


async def test_silence_is_noticed(
    service: WireService,
    client: WireClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)
    monkeypatch.setattr(client_side, "_SILENT_AFTER", timedelta(milliseconds=100))
    monkeypatch.setattr(service_side, "_AHEAD_MAX", 2)
    monkeypatch.setattr(client_side, "ack_headers", without_headers)
    with pytest.raises(Exception, match="no frame of the download came within"):
        await (await client.download(FILE)).read()
