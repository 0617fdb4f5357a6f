"""Writes that meet others, fail, are cancelled or lose their connection."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from trellis_nats import Options, StoreError, TransportError, WriteUnknown
from trellis_nats._nats.jetstream.streams import update_stream
from trellis_nats.testing import NatsServer
from typing_extensions import override

from tests.support.eventually import eventually
from tests.support.files import BUCKET, FilesService, pieces, stored_counts
from tests.support.proxy import Direction, Proxy

CONTENT = os.urandom(3_000_000)
QUICK = Options(request_timeout=timedelta(milliseconds=300))


@pytest.fixture
async def proxy(nats_server: NatsServer) -> AsyncIterator[Proxy]:
    async with Proxy(nats_server.port) as standing:
        yield standing


@pytest.fixture
async def other(nats_server: NatsServer) -> AsyncIterator[FilesService]:
    """The same service, on an undisturbed connection."""
    async with FilesService.connect(nats_server.url) as connected:
        yield connected


@pytest.fixture
async def service(proxy: Proxy, other: FilesService) -> AsyncIterator[FilesService]:
    async with FilesService.connect(proxy.url, options=QUICK) as connected:
        yield connected


async def halting(
    content: bytes, *, at: int, reached: asyncio.Event, go_on: asyncio.Event
) -> AsyncIterator[bytes]:
    """Yield the content, but wait in the middle of it."""
    yield content[:at]
    reached.set()
    await go_on.wait()
    yield content[at:]


async def read(service: FilesService, key: str) -> bytes | None:
    stored = await service.files.get(key)
    return None if stored is None else await stored.read()


async def test_of_two_writers_at_once_one_whole_object_stays(nats_server: NatsServer) -> None:
    contents = [os.urandom(300_000 + number) for number in range(10)]
    async with FilesService.connect(nats_server.url) as one, FilesService.connect(nats_server.url) as two:
        await asyncio.gather(
            *((one if number % 2 else two).files.put("o", content) for number, content in enumerate(contents))
        )

        assert await read(one, "o") in contents
    assert sorted((await stored_counts(nats_server.url)).values()) == [1, 3]


async def test_a_put_that_overtakes_another_is_replaced_by_it(nats_server: NatsServer) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    async with FilesService.connect(nats_server.url) as service:
        slow = asyncio.create_task(
            service.files.put("o", halting(CONTENT, at=1_000_000, reached=reached, go_on=go_on))
        )
        await reached.wait()
        await service.files.put("o", b"fast")
        assert await read(service, "o") == b"fast"
        go_on.set()
        await slow

        assert await read(service, "o") == CONTENT
    assert sorted((await stored_counts(nats_server.url)).values()) == [1, 23]


async def test_nothing_is_visible_of_a_put_that_has_not_ended(nats_server: NatsServer) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    async with FilesService.connect(nats_server.url) as service:
        writing = asyncio.create_task(
            service.files.put("o", halting(CONTENT, at=1_000_000, reached=reached, go_on=go_on))
        )
        await reached.wait()

        assert await service.files.info("o") is None
        assert await service.files.list() == []

        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await service.files.info("o") is None
        assert await stored_counts(nats_server.url) == {}


async def test_a_source_that_fails_leaves_the_old_object(nats_server: NatsServer) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield CONTENT
        raise OSError("the disk is gone")

    async with FilesService.connect(nats_server.url) as service:
        await service.files.put("o", b"old")
        with pytest.raises(OSError, match="the disk is gone"):
            await service.files.put("o", failing())

        assert await read(service, "o") == b"old"
    assert sorted((await stored_counts(nats_server.url)).values()) == [1, 1]


async def test_a_generator_is_closed_when_the_put_fails(nats_server: NatsServer) -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield CONTENT
        finally:
            closed.set()

    async with FilesService.connect(nats_server.url) as service:
        with pytest.raises(StoreError):
            await service.small.put("o", endless())
        assert closed.is_set()


@pytest.mark.parametrize("cuts", [1, 3])
async def test_a_put_survives_a_lost_connection(
    proxy: Proxy, service: FilesService, other: FilesService, nats_server: NatsServer, cuts: int
) -> None:
    content = os.urandom(8_000_000)

    async def cutting() -> AsyncIterator[bytes]:
        yielded = 0
        async for piece in pieces(content, 1_000_000):
            yield piece
            yielded += 1
            if yielded in range(3, 3 + cuts):
                proxy.cut()

    await service.files.put("o", cutting())

    assert await read(other, "o") == content
    counts = await stored_counts(nats_server.url)
    assert sorted(counts.values()) == [1, -(-len(content) // 131_072)]


async def test_a_put_whose_acknowledgements_were_lost_stores_every_chunk_once(
    proxy: Proxy, service: FilesService, other: FilesService, nats_server: NatsServer
) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()
    writing = asyncio.create_task(
        service.files.put("o", halting(CONTENT, at=500_000, reached=reached, go_on=go_on))
    )
    await reached.wait()
    proxy.blackhole("to_client")
    go_on.set()
    before = proxy.accepted
    await asyncio.sleep(0.5)  # longer than a request may take: chunks are sent again
    proxy.heal()
    await writing

    assert await read(other, "o") == CONTENT
    assert proxy.accepted == before
    assert sorted((await stored_counts(nats_server.url)).values()) == [1, 23]


async def test_a_put_without_a_server_fails_and_leaves_nothing(
    proxy: Proxy, service: FilesService, other: FilesService, nats_server: NatsServer
) -> None:
    await other.files.put("o", b"old")
    reached, go_on = asyncio.Event(), asyncio.Event()
    writing = asyncio.create_task(
        service.files.put("o", halting(CONTENT, at=500_000, reached=reached, go_on=go_on))
    )
    await reached.wait()
    proxy.blackhole()
    go_on.set()
    with pytest.raises(TransportError):
        await writing

    assert await read(other, "o") == b"old"


class SilentAfterRecord(Proxy):
    """Holds back the answers to the first record of an object, for half a second."""

    is_spent = False

    @override
    def let_through(self, line: int, direction: Direction, chunk: bytes) -> bytes:
        if direction == "to_server" and b'"deleted":false' in chunk and not self.is_spent:
            self.is_spent = True
            self.blackhole("to_client")
            asyncio.get_running_loop().call_later(0.5, self.heal)
        return chunk


async def test_a_put_whose_last_answer_was_lost_is_recognised_as_its_own(
    nats_server: NatsServer, other: FilesService
) -> None:
    await other.files.put("o", CONTENT)
    async with (
        SilentAfterRecord(nats_server.port) as proxy,
        FilesService.connect(proxy.url, options=QUICK) as service,
    ):
        await service.files.put("o", b"new")

        assert proxy.is_spent
        assert proxy.sent_to_server.count(b'"deleted":false') > 1
    assert await read(other, "o") == b"new"
    assert sorted((await stored_counts(nats_server.url)).values()) == [1, 1]


async def test_a_put_that_is_cancelled_at_any_moment_leaves_one_whole_object(nats_server: NatsServer) -> None:
    async with FilesService.connect(nats_server.url) as service:
        await service.files.put("o", b"old")
        for turns in range(0, 120, 3):
            writing = asyncio.create_task(service.files.put("o", CONTENT[:400_000]))
            for _ in range(turns):
                await asyncio.sleep(0)
            writing.cancel()
            await asyncio.wait([writing])

            async def is_clean() -> bool:
                return len(await stored_counts(nats_server.url)) == 2

            await eventually(is_clean)
            assert await read(service, "o") in {b"old", CONTENT[:400_000]}


async def test_chunks_that_would_be_stored_twice_fail_the_put(
    proxy: Proxy, service: FilesService, other: FilesService, nats_server: NatsServer
) -> None:
    """A stream whose window for duplicates is shorter than the outage stores a repeated chunk again."""
    await update_stream(
        other.runtime.connection,
        {
            "name": f"OBJ_{BUCKET}",
            "subjects": [f"$O.{BUCKET}.C.>", f"$O.{BUCKET}.M.>"],
            "discard": "new",
            "allow_rollup_hdrs": True,
            "allow_direct": True,
            "duplicate_window": 100_000_000,
        },
    )
    reached, go_on = asyncio.Event(), asyncio.Event()
    writing = asyncio.create_task(
        service.files.put("o", halting(CONTENT, at=500_000, reached=reached, go_on=go_on))
    )
    await reached.wait()
    proxy.blackhole("to_client")
    go_on.set()
    await asyncio.sleep(0.6)
    proxy.heal()
    with pytest.raises(WriteUnknown, match="not stored in order"):
        await writing

    assert await read(other, "o") is None
    assert await stored_counts(nats_server.url) == {}
