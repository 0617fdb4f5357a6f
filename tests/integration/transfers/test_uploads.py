"""Uploads: stored as a whole, with progress, or ended with the reason."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import timedelta
from pathlib import Path

import pytest
from trellis_nats import InvalidPayload, ObjectInfo, TransferError, TransferProgress
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.request import request
from trellis_nats._nats.wire.message import Message
from trellis_nats.testing import NatsServer
from trellis_nats.transfers.grant import LIFE, TransferGrant
from trellis_nats.transfers.upload import send_upload
from trellis_nats.transfers.upload_session import UploadSession

from tests.support.downloads import WireService
from tests.support.eventually import eventually
from tests.support.files import pieces, stored_counts

CONTENT = os.urandom(600_000)
BUCKET = "wire_uploads"
SOON = timedelta(seconds=5)


@pytest.fixture
async def service(nats_server: NatsServer) -> AsyncIterator[WireService]:
    async with WireService.connect(nats_server.url) as connected:
        yield connected


@pytest.fixture
async def caller(nats_server: NatsServer, service: WireService) -> AsyncIterator[Connection]:
    connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
    yield connection
    await connection.close()


async def opened(
    service: WireService,
    key: str,
    *,
    content_type: str | None = None,
    metadata: Mapping[str, str] | None = None,
    max_bytes: int | None = None,
    life: timedelta = LIFE,
    on_progress: Callable[[TransferProgress], None] | None = None,
) -> UploadSession:
    """Open a session whose grant another connection may use: the server knows that the service listens."""
    session = UploadSession(
        service.runtime,
        service.uploads,
        key,
        content_type=content_type,
        metadata=metadata,
        max_bytes=max_bytes,
        life=life,
        on_progress=on_progress,
    )
    await service.runtime.connection.flush()
    return session


async def upload(caller: Connection, grant: TransferGrant, content: bytes) -> ObjectInfo:
    return await send_upload(caller, grant, content, timeout=SOON)


async def chunk(caller: Connection, grant: TransferGrant, data: bytes, headers: dict[str, str]) -> Message:
    return await request(caller, grant.subject, data, headers=headers, timeout=SOON)


async def is_closed(caller: Connection, grant: TransferGrant) -> bool:
    with pytest.raises(TransferError, match="session_closed"):
        await upload(caller, grant, b"x")
    return True


@pytest.mark.parametrize("size", [0, 1, 262_144, 262_145, 600_000])
async def test_content_of_every_size_is_stored(service: WireService, caller: Connection, size: int) -> None:
    progress: list[TransferProgress] = []
    sent: list[TransferProgress] = []
    session = await opened(
        service,
        "o",
        content_type="text/plain",
        metadata={"owner": "c1"},
        on_progress=progress.append,
    )
    answered = await send_upload(
        caller, session.grant, pieces(CONTENT[:size], 100_000), timeout=SOON, on_progress=sent.append
    )
    completed = await session.completed()

    stored = await service.uploads.get("o")
    assert stored is not None
    assert await stored.read() == CONTENT[:size]
    assert stored.info == completed == answered
    assert (answered.content_type, answered.metadata) == ("text/plain", {"owner": "c1"})
    assert progress == sent
    assert [each.chunk_index for each in progress] == list(range(-(-size // 262_144)))
    assert sum(each.chunk_bytes for each in progress) == size
    assert await is_closed(caller, session.grant)


async def test_a_file_is_uploaded(service: WireService, caller: Connection, tmp_path: Path) -> None:
    file = tmp_path / "content"
    file.write_bytes(CONTENT)
    session = await opened(service, "o")

    assert (await send_upload(caller, session.grant, file, timeout=SOON)).size == len(CONTENT)
    await session.completed()


async def test_the_end_may_be_on_a_chunk_with_content(service: WireService, caller: Connection) -> None:
    session = await opened(service, "o")
    headers = {"trellis-transfer-seq": "0", "trellis-transfer-eof": "true"}
    reply = await chunk(caller, session.grant, b"all of it", headers)

    assert reply.data.startswith(b'{"status":"complete"')
    assert (await session.completed()).size == 9


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [([300_001], "max_bytes_exceeded"), ([262_144, 37_857], "max_bytes_exceeded")],
)
async def test_more_than_the_grant_allows_is_refused(
    nats_server: NatsServer, service: WireService, caller: Connection, sizes: list[int], reason: str
) -> None:
    await service.uploads.put("o", b"old")
    session = await opened(service, "o", max_bytes=300_000)
    with pytest.raises(TransferError) as here:  # the caller knows the limit
        await upload(caller, session.grant, bytes(sum(sizes)))
    with pytest.raises(TransferError, match="abandoned"):  # and the service learns that it stops
        await session.completed()
    session = await opened(service, "o", max_bytes=300_000)
    lenient = session.grant.model_copy(update={"max_bytes": None})
    with pytest.raises(TransferError) as there:
        await upload(caller, lenient, bytes(sum(sizes)))
    with pytest.raises(TransferError):
        await session.completed()

    assert here.value.reason == there.value.reason == reason
    assert there.value.context == {"maxBytes": 300_000, "attemptedBytes": 300_001}
    assert await service.uploads.info("o") is not None
    assert sorted((await stored_counts(nats_server.url, BUCKET)).values()) == [1, 1]


async def test_a_session_expires(nats_server: NatsServer, service: WireService, caller: Connection) -> None:
    session = await opened(service, "o", life=timedelta(milliseconds=100))
    await chunk(caller, session.grant, CONTENT[:1000], {"trellis-transfer-seq": "0"})
    with pytest.raises(TransferError, match="expired"):
        await session.completed()

    assert await is_closed(caller, session.grant)
    assert await service.uploads.info("o") is None
    assert await stored_counts(nats_server.url, BUCKET) == {}


@pytest.mark.parametrize("chunks", [0, 2])
async def test_a_session_that_is_closed_leaves_nothing(
    nats_server: NatsServer, service: WireService, caller: Connection, chunks: int
) -> None:
    session = await opened(service, "o")
    for sequence in range(chunks):
        await chunk(caller, session.grant, CONTENT[:200_000], {"trellis-transfer-seq": str(sequence)})
    await session.close()
    await session.close()

    assert await is_closed(caller, session.grant)
    assert await service.uploads.info("o") is None

    async def is_empty() -> bool:
        return not await stored_counts(nats_server.url, BUCKET)

    await eventually(is_empty)


async def test_the_grant_of_a_download_is_refused(service: WireService, caller: Connection) -> None:
    session = await opened(service, "o")
    grant = session.grant.model_copy(update={"direction": "receive"})
    with pytest.raises(InvalidPayload, match="not that of an upload"):
        await upload(caller, grant, b"x")
    await session.close()


async def test_many_upload_at_the_same_time(service: WireService, caller: Connection) -> None:
    contents = {f"o{number}": os.urandom(400_000 + number) for number in range(20)}

    async def turn(key: str) -> None:
        session = await opened(service, key)
        await upload(caller, session.grant, contents[key])
        stored = await service.uploads.get((await session.completed()).key)
        assert stored is not None
        assert await stored.read() == contents[key]

    await asyncio.gather(*map(turn, contents))


async def test_a_flood_of_chunks_ends_in_an_error(service: WireService, caller: Connection) -> None:
    session = await opened(service, "o")
    replies: list[Message] = []
    inbox = caller.new_inbox()
    caller.subscribe(inbox, replies.append)
    for sequence in range(100):
        headers = {"trellis-transfer-seq": str(sequence)}
        caller.send(session.grant.subject, bytes(1000), headers=headers, reply=inbox)
    await eventually(lambda: any(b"busy" in reply.data for reply in replies))
    await session.close()
