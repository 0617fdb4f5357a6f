"""Objects of a store: written, found, read, listed, deleted and refused."""

import asyncio
import hashlib
import os
import re
from base64 import urlsafe_b64encode
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

import pytest
from trellis_nats import (
    ConfigurationError,
    InvalidObjectKey,
    ObjectExists,
    ObjectSource,
    ObjectTooLarge,
    ProvisioningError,
    Runtime,
    Store,
    StoreFull,
    StoreSpec,
)
from trellis_nats.clock import now
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.files import SMALL_OBJECT_BYTES, FilesService, pieces, stored_counts

LARGE = os.urandom(700_000)


async def test_what_was_put_is_found_with_what_is_known_about_it(nats_server: NatsServer) -> None:
    async with FilesService.connect(nats_server.url) as service:
        written = await service.files.put(
            "docs/readme.txt", b"hello", content_type="text/plain", metadata={"owner": "c1"}
        )
        found = await service.files.get("docs/readme.txt")
        info = await service.files.info("docs/readme.txt")

        assert found is not None
        assert await found.read() == b"hello"

    assert found.info == info == written
    assert written.digest == f"SHA-256={urlsafe_b64encode(hashlib.sha256(b'hello').digest()).decode()}"
    assert (written.key, written.size, written.content_type) == ("docs/readme.txt", 5, "text/plain")
    assert written.metadata == {"owner": "c1"}
    assert abs(now() - written.updated) < timedelta(seconds=30)


async def test_metadata_that_no_reader_could_read_is_refused(nats_server: NatsServer) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"metadata": {"pages": 5}}, r"metadata\[\'pages\'\]: a text is expected, got 5"),
        ({"metadata": {5: "pages"}}, "metadata: a text is expected, got 5"),
        ({"metadata": {"__trellis_content_type": "text/plain"}}, "give content_type"),
        ({"content_type": 5}, "content_type: a text is expected, got 5"),
    ]
    async with FilesService.connect(nats_server.url) as service:
        for arguments, text in wrong:
            for write in (service.files.put, service.files.create):
                with pytest.raises(ConfigurationError, match=text):
                    await write("a", b"hello", **arguments)
        assert await service.files.get("a") is None


@pytest.mark.parametrize("size", [0, 1, 131_071, 131_072, 131_073, 262_144, 700_000])
async def test_objects_of_every_size_are_read_as_they_were_written(
    nats_server: NatsServer, size: int
) -> None:
    content = LARGE[:size]
    async with FilesService.connect(nats_server.url) as service:
        await service.files.put("o", pieces(content, 50_000))
        stored = await service.files.get("o")

        assert stored is not None
        chunks = [chunk async for chunk in stored]
        assert b"".join(chunks) == await stored.read() == content
        assert all(len(chunk) == 131_072 for chunk in chunks[:-1])


async def test_content_comes_from_bytes_files_and_iterators(nats_server: NatsServer, tmp_path: Path) -> None:
    file = tmp_path / "content"
    file.write_bytes(LARGE)
    sources: list[ObjectSource] = [
        LARGE,
        bytearray(LARGE),
        memoryview(LARGE),
        file,
        pieces(LARGE, 1),
        pieces(LARGE, 300_000),
    ]
    async with FilesService.connect(nats_server.url) as service:
        for source in sources[:4] + sources[5:]:
            await service.files.put("o", source)
            stored = await service.files.get("o")

            assert stored is not None
            assert await stored.read() == LARGE

        await service.files.put("o", pieces(LARGE[:1000], 1))
        stored = await service.files.get("o")
        assert stored is not None
        assert await stored.read() == LARGE[:1000]


async def test_other_content_is_refused(nats_server: NatsServer, tmp_path: Path) -> None:
    async def texts() -> object:
        yield "text"

    async with FilesService.connect(nats_server.url) as service:
        with pytest.raises(TypeError, match=r"bytes, a pathlib\.Path or an async iterator of bytes, got str"):
            await service.files.put("o", cast("bytes", str(tmp_path)))
        with pytest.raises(TypeError, match="the iterator yields str"):
            await service.files.put("o", cast("bytes", texts()))
        with pytest.raises(FileNotFoundError):
            await service.files.put("o", tmp_path / "nothing")

        assert await service.files.info("o") is None
    assert await stored_counts(nats_server.url) == {}


async def test_a_key_without_an_object_has_none(nats_server: NatsServer) -> None:
    async with FilesService.connect(nats_server.url) as service:
        assert await service.files.get("nothing") is None
        assert await service.files.info("nothing") is None
        await service.files.delete("nothing")
        assert await service.files.list() == []


async def test_create_refuses_a_key_that_has_an_object(nats_server: NatsServer) -> None:
    async with FilesService.connect(nats_server.url) as service:
        await service.files.create("o", b"first")

        with pytest.raises(ObjectExists, match='there is one already: object "o" of store "files"'):
            await service.files.create("o", b"second")
        await service.files.delete("o")
        await service.files.create("o", b"third")
        stored = await service.files.get("o")

        assert stored is not None
        assert await stored.read() == b"third"


async def test_one_of_many_that_create_an_object_wins(nats_server: NatsServer) -> None:
    async with FilesService.connect(nats_server.url) as service:
        contents = [f"content {number}".encode() for number in range(20)]
        creates = (service.files.create("o", content) for content in contents)
        outcomes = await asyncio.gather(*creates, return_exceptions=True)
        stored = await service.files.get("o")

        assert sum(isinstance(outcome, ObjectExists) for outcome in outcomes) == 19
        winner = next(number for number, each in enumerate(outcomes) if not isinstance(each, BaseException))
        assert stored is not None
        assert await stored.read() == contents[winner]
    assert sorted((await stored_counts(nats_server.url)).values()) == [1, 1]


async def test_what_is_replaced_or_deleted_leaves_no_chunks(nats_server: NatsServer) -> None:
    async with FilesService.connect(nats_server.url) as service:
        await service.files.put("o", LARGE)
        await service.files.put("o", LARGE[:300_000])

        counts = await stored_counts(nats_server.url)
        assert sorted(counts.values()) == [1, 3]

        await service.files.delete("o")
        assert await service.files.get("o") is None
        (record,) = await stored_counts(nats_server.url)
        assert ".M." in record


async def test_objects_are_listed_by_prefix(nats_server: NatsServer) -> None:
    async with FilesService.connect(nats_server.url) as service:
        for key in ("b/2", "a/1", "b/1", "c"):
            await service.files.put(key, key.encode())
        await service.files.delete("c")

        assert [info.key for info in await service.files.list()] == ["a/1", "b/1", "b/2"]
        assert [info.key for info in await service.files.list("b/")] == ["b/1", "b/2"]
        assert await service.files.list("nothing") == []


async def test_hundreds_of_objects_are_listed(nats_server: NatsServer) -> None:
    async with FilesService.connect(nats_server.url) as service:
        for first in range(0, 1200, 100):
            await asyncio.gather(
                *(service.files.put(f"{number}", b"x") for number in range(first, first + 100))
            )

        assert len(await service.files.list()) == 1200


async def test_wait_for_returns_when_the_object_is_there(nats_server: NatsServer) -> None:
    async with FilesService.connect(nats_server.url) as service:
        await service.files.put("o", b"old")
        await service.files.delete("o")
        waiting = asyncio.create_task(service.files.wait_for("o", timeout=timedelta(seconds=20)))
        await service.files.put("other", b"x")
        written = await service.files.put("o", b"new")

        assert await waiting == written
        assert await service.files.wait_for("o") == written
        with pytest.raises(TimeoutError):
            await service.files.wait_for("nothing", timeout=timedelta(milliseconds=50))


@pytest.mark.parametrize("key", ["", "a\nb", "a\x00", "\x7f", "ä" * 257, "\ud800"])
async def test_an_illegal_key_is_refused(nats_server: NatsServer, key: str) -> None:
    async with FilesService.connect(nats_server.url) as service:
        for refused in (
            service.files.put(key, b"x"),
            service.files.create(key, b"x"),
            service.files.get(key),
            service.files.info(key),
            service.files.delete(key),
            service.files.wait_for(key),
        ):
            with pytest.raises(InvalidObjectKey, match="a key must be 1 to 512 bytes"):
                await refused


@pytest.mark.parametrize("key", ["a b", "*", ">", "$x", "..", "häß/日本.txt", "x" * 512])
async def test_other_text_is_a_key(nats_server: NatsServer, key: str) -> None:
    async with FilesService.connect(nats_server.url) as service:
        await service.files.put(key, b"x")

        assert [info.key for info in await service.files.list()] == [key]


async def test_an_object_that_is_too_large_is_refused(nats_server: NatsServer) -> None:
    too_large = bytes(SMALL_OBJECT_BYTES + 1)
    async with FilesService.connect(nats_server.url) as service:
        await service.small.put("o", b"before")
        for source in (too_large, pieces(too_large, 10_000)):
            with pytest.raises(ObjectTooLarge, match="larger than the 200000 bytes"):
                await service.small.put("o", source)
        await service.small.put("edge", too_large[1:])

        stored = await service.small.get("o")
        assert stored is not None
        assert await stored.read() == b"before"
    counts = await stored_counts(nats_server.url, "files-service_small")
    assert sorted(counts.values()) == [1, 1, 1, 2]


async def test_a_full_store_refuses_and_keeps_what_it_has(nats_server: NatsServer) -> None:
    content = LARGE[:SMALL_OBJECT_BYTES]
    async with FilesService.connect(nats_server.url) as service:
        await service.small.put("a", content)
        await service.small.put("b", content)
        with pytest.raises(StoreFull, match='no room for it: object "c" of store "small"'):
            await service.small.put("c", content)

        assert [info.key for info in await service.small.list()] == ["a", "b"]
        await service.small.delete("a")
        await service.small.put("c", content)
    counts = await stored_counts(nats_server.url, "files-service_small")
    assert sorted(counts.values()) == [1, 1, 1, 2, 2]


async def test_objects_expire(nats_server: NatsServer) -> None:
    async with FilesService.connect(nats_server.url) as service:
        await service.brief.put("o", b"x")

        async def is_gone() -> bool:
            return await service.brief.info("o") is None

        await eventually(is_gone)


SMALL_ACCOUNT = (
    "accounts { A { jetstream { max_file: 67108864 }, users: [{ user: a, password: a }] } }\nno_auth_user: a"
)


@pytest.mark.parametrize("config", ["", SMALL_ACCOUNT])
async def test_a_store_that_does_not_fit_says_what_it_reserves(config: str) -> None:
    class HugeService(FilesService):
        def __init__(self, runtime: Runtime) -> None:
            super().__init__(runtime)
            self.huge: Final = Store(runtime, StoreSpec(name="huge", max_total_bytes=2**50))

    async with NatsServer(config=config) as server:
        with pytest.raises(ProvisioningError) as refused:
            async with HugeService.connect(server.url):
                pass

    assert re.search(
        r'store "files-service_huge" cannot be created: .*; it reserves 1,125,899,906,842,624 bytes: lower that, or give',
        str(refused.value),
    )
