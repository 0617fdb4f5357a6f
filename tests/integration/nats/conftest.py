"""A server, a connection to it, and the settings that make failures quick to see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats.testing import NatsServer

from tests.support.proxy import Proxy

QUICK = ConnectionSettings(
    name="test",
    inbox_prefix="_INBOX_test",
    ping_interval=timedelta(milliseconds=200),
    connect_timeout=timedelta(seconds=3),
)


@pytest.fixture
async def connection(nats_server: NatsServer) -> AsyncIterator[Connection]:
    opened = await Connection.open(nats_server.url, settings=QUICK)
    yield opened
    await opened.close()


@pytest.fixture
async def proxy(nats_server: NatsServer) -> AsyncIterator[Proxy]:
    async with Proxy(nats_server.port) as standing:
        yield standing


@pytest.fixture
async def proxied(proxy: Proxy) -> AsyncIterator[Connection]:
    opened = await Connection.open(proxy.url, settings=QUICK)
    yield opened
    await opened.close()
