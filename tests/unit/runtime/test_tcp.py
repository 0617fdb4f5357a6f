"""A TCP connection is made to the first address of a host that can be used."""

import asyncio
import socket

import pytest
from trellis_nats._support.tcp import connect_tcp


async def test_an_address_of_a_family_that_the_kernel_does_not_have_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    address = server.sockets[0].getsockname()

    def look_up(*_: object, **__: object) -> list[object]:
        families = (socket.AF_APPLETALK, socket.AF_INET)
        return [(family, socket.SOCK_STREAM, 0, "", address) for family in families]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with server:
        with await connect_tcp("localhost", 1) as sock:
            assert sock.getpeername() == address
