"""NATS' own clients read what we store, and we read what they store."""

import asyncio
import os
from collections.abc import AsyncIterator

import nats
import pytest
from nats.js.api import ObjectMeta, ObjectMetaOptions
from nats.js.errors import ObjectNotFoundError
from nats.js.object_store import ObjectStore
from trellis_nats import ObjectDamaged, ObjectExists
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats.testing import NatsServer

from tests.support.files import BUCKET, FilesService, stored_counts
from tests.support.versions import VERSIONS, binary_of

CONTENT = os.urandom(300_000)


@pytest.fixture
async def service(nats_server: NatsServer) -> AsyncIterator[FilesService]:
    async with FilesService.connect(nats_server.url) as connected:
        yield connected


@pytest.fixture
async def theirs(nats_server: NatsServer, service: FilesService) -> AsyncIterator[ObjectStore]:
    client = await nats.connect(nats_server.url)  # pyright: ignore[reportUnknownMemberType] - nats-py annotates in part
    yield await client.jetstream().object_store(BUCKET)  # pyright: ignore[reportUnknownMemberType] - likewise
    await client.close()


async def test_nats_py_reads_what_we_store(service: FilesService, theirs: ObjectStore) -> None:
    written = await service.files.put("a b/ä", CONTENT)
    result = await theirs.get("a b/ä")
    listed = await theirs.list()

    assert result.data == CONTENT
    assert result.info.digest == written.digest
    assert (result.info.size, result.info.chunks, result.info.name) == (300_000, 3, "a b/ä")
    assert [info.name for info in listed] == ["a b/ä"]


async def test_we_read_what_nats_py_stores(service: FilesService, theirs: ObjectStore) -> None:
    await theirs.put("a b/ä", CONTENT, ObjectMeta(options=ObjectMetaOptions(max_chunk_size=10_000)))
    stored = await service.files.get("a b/ä")
    (listed,) = await service.files.list()

    assert stored is not None
    assert [len(chunk) async for chunk in stored] == [10_000] * 30
    assert await stored.read() == CONTENT
    assert listed == stored.info
    assert (listed.size, listed.content_type) == (300_000, None)


async def test_each_replaces_and_deletes_what_the_other_stored(
    nats_server: NatsServer, service: FilesService, theirs: ObjectStore
) -> None:
    await theirs.put("o", CONTENT)
    await service.files.put("o", b"ours")
    assert (await theirs.get("o")).data == b"ours"

    await theirs.put("o", b"theirs")
    assert len(await stored_counts(nats_server.url)) == 2
    with pytest.raises(ObjectExists):
        await service.files.create("o", b"ours")
    await theirs.delete("o")
    assert await service.files.get("o") is None

    await service.files.create("o", b"ours")
    await service.files.delete("o")
    with pytest.raises(ObjectNotFoundError):
        await theirs.get_info("o")


@pytest.mark.parametrize("version", VERSIONS)
async def test_older_servers_have_stores_too(version: str) -> None:
    async with (
        NatsServer(binary=binary_of(version)) as server,
        FilesService.connect(server.url) as service,
    ):
        for content in (CONTENT, CONTENT[:200_000]):
            await service.files.put("o", content)
            stored = await service.files.get("o")
            assert stored is not None
            assert await stored.read() == content
        waiting = asyncio.create_task(service.files.wait_for("later"))
        written = await service.files.create("later", b"x")
        assert await waiting == written
        assert [info.key for info in await service.files.list()] == ["later", "o"]
        await service.files.delete("o")
        assert sorted((await stored_counts(server.url)).values()) == [1, 1, 1]


async def test_a_link_is_refused_and_can_be_replaced(service: FilesService, theirs: ObjectStore) -> None:
    connection = service.runtime.connection
    link = b'{"name":"o","bucket":"%b","nuid":"x","options":{"link":{"bucket":"other"}}}' % BUCKET.encode()
    for record in (link, b"not JSON", b'{"name":"o","size":-1}'):
        await publish_acked(connection, f"$O.{BUCKET}.M.bw==", record)

        with pytest.raises(ObjectDamaged):
            await service.files.get("o")
        with pytest.raises(ObjectExists):
            await service.files.create("o", b"x")
        assert await service.files.list() == []
        await service.files.put("o", b"x")
        assert (await theirs.get("o")).data == b"x"
        await publish_acked(connection, f"$O.{BUCKET}.M.bw==", record)
        await service.files.delete("o")
        assert await service.files.get("o") is None
