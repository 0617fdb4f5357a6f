"""Reads that are interrupted, overtaken by writers, or find damage."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator

import pytest
from trellis_nats import ObjectDamaged, ObjectReplaced
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.object_names import meta_subject
from trellis_nats._nats.jetstream.publish import publish_acked
from trellis_nats._nats.jetstream.streams import get_next_message_from_leader, purge_stream
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.files import BUCKET, FilesService, stored_counts
from tests.support.proxy import Proxy

CONTENT = os.urandom(8_000_000)
MEMORY_MAX_MIB = 64
LARGE_BYTES = 128 * 1024 * 1024


@pytest.fixture
async def service(nats_server: NatsServer) -> AsyncIterator[FilesService]:
    async with FilesService.connect(nats_server.url) as connected:
        yield connected


async def collect(chunks: AsyncIterator[bytes], read: list[bytes]) -> None:
    """Add the chunks to those that were read, up to the end or an error."""
    async for chunk in chunks:
        read.append(chunk)  # noqa: PERF401 - a comprehension adds nothing when it ends with an error


@pytest.mark.parametrize("every", [9, 16])
async def test_a_read_continues_after_each_lost_connection(
    nats_server: NatsServer, service: FilesService, every: int
) -> None:
    await service.files.put("o", CONTENT)
    read: list[bytes] = []
    async with Proxy(nats_server.port) as proxy, FilesService.connect(proxy.url) as reader:
        stored = await reader.files.get("o")
        assert stored is not None
        async for chunk in stored:
            read.append(chunk)
            if len(read) % every == 0 and len(read) <= 3 * every:
                proxy.cut()
        assert proxy.accepted > 3

    assert b"".join(read) == CONTENT


async def test_many_readers_do_not_cut_the_connection() -> None:
    lost: list[str] = []
    with NatsServer(config="max_pending: 8MB") as server:
        async with FilesService.connect(server.url) as service:
            await service.files.put("o", CONTENT[:3_000_000])
            service.runtime.connection.on_disconnect(lambda: lost.append("lost"))
            found = [await service.files.get("o") for _ in range(20)]
            contents = await asyncio.gather(*(stored.read() for stored in found if stored is not None))

            assert (len(contents), set(map(len, contents)), lost) == (20, {3_000_000}, [])


async def test_a_read_continues_when_its_consumer_was_removed(service: FilesService) -> None:
    """As the server does when a reader asks for nothing for a minute."""
    await service.files.put("o", CONTENT)
    stored = await service.files.get("o")
    assert stored is not None
    read: list[bytes] = []
    async for chunk in stored:
        read.append(chunk)
        if len(read) == 5:
            await remove_consumers(service)

    assert b"".join(read) == CONTENT


async def remove_consumers(service: FilesService) -> None:
    connection = service.runtime.connection
    answer = await call(connection, f"CONSUMER.NAMES.OBJ_{BUCKET}")
    match answer:
        case {"consumers": [*names]}:
            for name in names:
                await call(connection, f"CONSUMER.DELETE.OBJ_{BUCKET}.{name}")
        case _:
            raise AssertionError(answer)


@pytest.mark.parametrize("change", ["replaced", "deleted"])
async def test_an_object_that_changes_while_it_is_read_is_never_mixed(
    service: FilesService, change: str
) -> None:
    await service.files.put("o", CONTENT)
    stored = await service.files.get("o")
    assert stored is not None
    chunks = aiter(stored)
    read = [await anext(chunks) for _ in range(5)]
    await (service.files.delete("o") if change == "deleted" else service.files.put("o", b"new"))
    with pytest.raises(ObjectReplaced, match='replaced or deleted while it was read: object "o"'):
        await collect(chunks, read)
    assert CONTENT.startswith(b"".join(read))
    assert 5 <= len(read) < 60

    with pytest.raises(ObjectReplaced):
        await stored.read()


async def test_an_object_without_its_chunks_is_damaged(service: FilesService) -> None:
    written = await service.files.put("o", CONTENT)
    await purge_stream(service.runtime.connection, f"OBJ_{BUCKET}", f"$O.{BUCKET}.C.>")
    stored = await service.files.get("o")
    assert stored is not None
    assert stored.info == written
    with pytest.raises(ObjectDamaged, match="chunks are missing"):
        await stored.read()


async def test_content_that_does_not_match_its_digest_is_reported_after_the_last_chunk(
    service: FilesService,
) -> None:
    await tamper(service, b"digest", b"AAAA")
    stored = await service.files.get("o")
    assert stored is not None
    read: list[bytes] = []
    with pytest.raises(ObjectDamaged, match="does not match its digest"):
        await collect(aiter(stored), read)
    assert b"".join(read) == CONTENT[:300_000]

    with pytest.raises(ObjectDamaged, match="does not match its digest"):
        await stored.read()


async def tamper(service: FilesService, member: bytes, value: bytes) -> None:
    """Store an object, and write another value into its record."""
    await service.files.put("o", CONTENT[:300_000])
    connection = service.runtime.connection
    subject = f"$O.{BUCKET}.M.bw=="
    record = await get_next_message_from_leader(connection, f"OBJ_{BUCKET}", subject, 1)
    assert record is not None
    before, _, after = record.data.partition(b'"%b":"SHA-256=' % member)
    await publish_acked(connection, subject, before + b'"%b":"SHA-256=%b' % (member, value) + after[4:])


@pytest.mark.parametrize("size", [299_999, 300_001])
async def test_content_of_another_size_is_damaged(service: FilesService, size: int) -> None:
    await service.files.put("o", CONTENT[:300_000])
    connection = service.runtime.connection
    subject = f"$O.{BUCKET}.M.bw=="
    record = await get_next_message_from_leader(connection, f"OBJ_{BUCKET}", subject, 1)
    assert record is not None
    await publish_acked(connection, subject, record.data.replace(b"300000", str(size).encode()))
    stored = await service.files.get("o")
    assert stored is not None
    with pytest.raises(ObjectDamaged, match="bytes"):
        await stored.read()


async def test_a_read_that_ends_early_removes_its_consumer(
    service: FilesService, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await service.files.put("o", CONTENT)
    stored = await service.files.get("o")
    assert stored is not None
    for _ in range(3):
        async for _chunk in stored:
            break
    reading = asyncio.create_task(stored.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])

    async def has_none() -> bool:
        answer = await call(service.runtime.connection, f"CONSUMER.NAMES.OBJ_{BUCKET}")
        return not answer.get("consumers")

    await eventually(has_none)
    assert caplog.records == []


async def test_many_read_and_write_at_the_same_time(nats_server: NatsServer, service: FilesService) -> None:
    contents = {f"o{number}": os.urandom(500_000 + number) for number in range(20)}

    async def turn(key: str) -> None:
        await service.files.put(key, contents[key])
        stored = await service.files.get(key)
        assert stored is not None
        assert await stored.read() == contents[key]

    await asyncio.gather(*map(turn, contents))
    assert sum((await stored_counts(nats_server.url)).values()) == 20 + 20 * 4


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory from /proc")
async def test_a_large_object_passes_through_a_small_process(nats_server: NatsServer) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.files_process",
        nats_server.url,
        str(LARGE_BYTES),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()

    assert process.returncode == 0
    assert float(output) < MEMORY_MAX_MIB


@pytest.mark.parametrize("object_id", [">", "*", "a.b", "", "a b"])
async def test_a_record_cannot_name_the_chunks_of_other_objects(
    service: FilesService, object_id: str
) -> None:
    """Replacing and deleting an object remove its chunks: with `>` for an id, those of all objects."""
    await service.files.put("kept", b"content")
    await service.files.put("forged", b"content")
    record = json.dumps({"name": "forged", "bucket": BUCKET, "nuid": object_id, "size": 7, "chunks": 1})
    await publish_acked(service.runtime.connection, meta_subject(BUCKET, "forged"), record.encode())

    with pytest.raises(ObjectDamaged):
        await service.files.get("forged")
    await service.files.put("forged", b"new")
    await service.files.delete("forged")

    kept = await service.files.get("kept")
    assert kept is not None
    assert await kept.read() == b"content"
