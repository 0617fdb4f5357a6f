"""Calls that are sent late, or twice: their proofs are made when they are sent, and none is taken for a replay."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from functools import partial

import pytest
from trellis_nats import Options
from trellis_nats.auth import Signer
from trellis_nats.testing import NatsServer

from tests.support.callers import SHOP, KnownKeys
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.vault import ALL, Thing, VaultClient, VaultService, running

THING = Thing(name="a")


class Clock:
    """The clock of callers and services, which a test moves."""

    def __init__(self) -> None:
        self.moved = 0.0

    def time(self) -> float:
        """Return the seconds since 1970."""
        return time.time() + self.moved


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("trellis_nats.auth.admission.time", clock)
    monkeypatch.setattr("trellis_nats.runtime.Signer", partial(Signer, clock=clock.time))
    return clock


@pytest.fixture
async def proxy(nats_server: NatsServer) -> AsyncIterator[Proxy]:
    async with Proxy(nats_server.port) as proxy:
        yield proxy


async def test_a_call_that_waited_for_its_connection_is_signed_when_it_is_sent(
    nats_server: NatsServer, proxy: Proxy, clock: Clock
) -> None:
    async with (
        running(nats_server.url, KnownKeys.of(SHOP, capabilities=ALL)) as service,
        VaultClient.connect(proxy.url, options=Options(session_key=SHOP)) as client,
    ):
        await service.things.put("a", b"stored")
        run, download = await client.grind.start(THING), await client.fetch(THING)
        proxy.blackhole()
        proxy.cut()
        await eventually(lambda: not client.runtime.connection.is_connected)
        calls: list[Awaitable[object]] = [
            client.read(THING),
            read_feed(client),
            client.grind.start(THING),
            run.get(),
            run.result(),
            download.read(),
        ]
        waiting = asyncio.gather(*calls)
        await asyncio.sleep(0)  # each has begun, and waits
        clock.moved = 40.0
        proxy.heal()
        await waiting


async def read_feed(client: VaultClient) -> list[Thing]:
    async with client.watch(THING) as events:
        return [event async for event in events]


async def test_a_call_that_no_process_served_is_signed_again(
    nats_server: NatsServer, proxy: Proxy, clock: Clock
) -> None:
    async with (
        VaultService.connect(
            nats_server.url, options=Options(callers=KnownKeys.of(SHOP, capabilities=ALL))
        ) as service,
        VaultClient.connect(proxy.url, options=Options(session_key=SHOP)) as client,
    ):
        service.read.handle(service.on_read)
        call = asyncio.create_task(client.read(THING))
        await eventually(lambda: b"HPUB rpc.v1.Vault.Read " in bytes(proxy.sent_to_server))
        proxy.blackhole("to_server")  # the next one arrives when the service has started
        clock.moved = 40.0
        await service.start()
        proxy.heal()
        assert await call == THING
    assert len(service.callers) == 1


async def test_a_request_that_is_repeated_by_others_is_served_once(nats_server: NatsServer) -> None:
    async with (
        Proxy(nats_server.port) as proxy,
        running(nats_server.url, KnownKeys.of(SHOP, capabilities=ALL)) as service,
        VaultClient.connect(proxy.url, options=Options(session_key=SHOP)) as client,
    ):
        await client.read(THING)
        sent = bytes(proxy.sent_to_server)
        start = sent.index(b"HPUB rpc.v1.Vault.Read ")
        command, _, rest = sent[start:].partition(b"\r\n")
        size = int(command.split()[-1])
        link = client.runtime.connection.link
        assert link is not None
        link.send(command + b"\r\n" + rest[:size] + b"\r\n")
        await client.read(THING)
    assert len(service.callers) == 2
