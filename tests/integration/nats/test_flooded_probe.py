"""A server whose answers stand behind a flood of messages is there, and the connection is kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings

from tests.support.eventually import eventually
from tests.support.listening import listening

INFO = b'INFO {"server_id":"a","version":"2.12.8","max_payload":1048576,"headers":true,"proto":1}\r\n'
LIMIT = timedelta(milliseconds=400)


async def test_a_connection_with_messages_is_kept_and_a_silent_one_is_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("trellis_nats._nats.connection._PROBE", LIMIT)
    sends = asyncio.Event()
    sends.set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        for _ in range(2):  # the login, and the first flush
            await reader.readuntil(b"PING\r\n")
            writer.write(b"PONG\r\n")
        while not writer.is_closing():
            await sends.wait()
            writer.write(b"MSG other 99 2\r\nhi\r\n")
            await writer.drain()
            await asyncio.sleep(LIMIT.total_seconds() / 20)

    async with listening(serve) as port:
        connection = await Connection.open(f"nats://127.0.0.1:{port}", settings=ConnectionSettings())
        link = connection.link
        assert link is not None
        connection.probe()
        await asyncio.sleep(2 * LIMIT.total_seconds())
        assert link.is_usable

        sends.clear()
        await eventually(lambda: not link.is_usable)
        assert link.lost.result() == "the server did not answer a ping"
        await connection.close()
