"""Reading many messages of a stream: all of them, once each and in order, whatever happens to the server."""

from __future__ import annotations

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.jetstream.api import call
from trellis_nats._nats.jetstream.bulk_reader import BulkReader, Stored
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.errors import ApiError
from trellis_nats.testing import NatsServer

from tests.support.eventually import eventually
from tests.support.versions import binary_of

COUNT = 4_500
"""Three pages."""


async def filled(server: NatsServer, count: int = COUNT, *, size: int = 1) -> Connection:
    connection = await Connection.open(server.url, settings=ConnectionSettings())
    await call(connection, "STREAM.CREATE.S", {"name": "S", "subjects": ["s.>"], "storage": "file"})
    for number in range(count):
        connection.send(f"s.{number % 2}", b"%d" % number + b" " * size)
        if number % 50 == 0:
            await connection.wait_writable()

    async def is_filled() -> bool:
        match await call(connection, "STREAM.INFO.S"):
            case {"state": {"messages": int(stored)}}:
                return stored == count
            case _:
                return False

    await eventually(is_filled)
    return connection


async def read_all(reader: BulkReader) -> list[Stored]:
    found: list[Stored] = []
    while page := await reader.read():
        found += page
    return found


async def consumers(connection: Connection) -> list[str]:
    match await call(connection, "CONSUMER.NAMES.S"):
        case {"consumers": [*names]}:
            return [str(name) for name in names]
        case _:
            return []


@pytest.mark.parametrize("server_version", [None, "2.10.26", "2.12.8"])
async def test_every_message_is_read_once_and_in_order(server_version: str | None) -> None:
    binary = None if server_version is None else binary_of(server_version)
    async with NatsServer(binary=binary) as server:
        connection = await filled(server)
        async with BulkReader(connection, "S", ["s.0", "s.1"]) as reader:
            assert reader.left == COUNT
            found = await read_all(reader)
        some = BulkReader(connection, "S", ["s.1"], after=9, until=100, headers_only=True)
        async with some:
            first = await some.read()
        left = await consumers(connection)
        await connection.close()

    assert [stored.sequence for stored in found] == list(range(1, COUNT + 1))
    assert [int(stored.message.data) for stored in found] == list(range(COUNT))
    assert [stored.sequence for stored in first if stored.sequence <= 100] == list(range(10, 101, 2))
    assert {stored.message.data for stored in first} == {b""}
    assert left == []


@pytest.mark.parametrize("server_version", [None, "2.10.26", "2.12.8"])
async def test_pages_are_limited_in_bytes(server_version: str | None) -> None:
    binary = None if server_version is None else binary_of(server_version)
    async with NatsServer(binary=binary) as server:
        connection = await filled(server, 40, size=900_000)
        async with BulkReader(connection, "S", ["s.>"]) as reader:
            pages: list[int] = []
            while page := await reader.read():
                pages.append(len(page))
        await connection.close()

    assert sum(pages) == 40
    assert max(pages) <= 9


async def test_reading_goes_on_with_another_consumer_and_after_a_restart(nats_server: NatsServer) -> None:
    connection = await filled(nats_server)
    async with BulkReader(connection, "S", ["s.>"]) as reader:
        found = await reader.read()
        (consumer,) = await consumers(connection)
        await call(connection, f"CONSUMER.DELETE.S.{consumer}")
        found += await reader.read()
        found += await reader.read()
        nats_server.restart()
        found += await read_all(reader)
    await connection.close()

    assert [stored.sequence for stored in found] == list(range(1, COUNT + 1))


async def test_what_is_purged_while_it_is_read_is_left_out(nats_server: NatsServer) -> None:
    connection = await filled(nats_server)
    async with BulkReader(connection, "S", ["s.>"]) as reader:
        found = await reader.read()
        await call(connection, "STREAM.PURGE.S", {"seq": 4_401})
        found += await read_all(reader)
    await connection.close()

    sequences = [stored.sequence for stored in found]
    assert sequences == sorted(set(sequences))
    assert sequences[-100:] == list(range(4_401, 4_501))


async def test_a_stream_that_does_not_exist_is_an_error(nats_server: NatsServer) -> None:
    connection = await Connection.open(nats_server.url, settings=ConnectionSettings())
    with pytest.raises(ApiError, match="stream not found"):
        async with BulkReader(connection, "S", ["s.>"]):
            pass
    await connection.close()
