"""Every surface of a service that checks who calls: strangers are refused before its handler runs, and it knows the others."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

import pytest
from trellis_nats import AuthError, Options
from trellis_nats.auth import Caller
from trellis_nats.testing import NatsServer

from tests.support.callers import OTHER, SHOP, KnownKeys
from tests.support.vault import ALL, Thing, VaultClient, running

THING: Final = Thing(name="a")


async def read(client: VaultClient) -> None:
    assert await client.read(THING) == THING


async def watch(client: VaultClient) -> None:
    async with client.watch(THING) as events:
        assert [event async for event in events] == [THING]


async def grind(client: VaultClient) -> None:
    assert await (await client.grind.start(THING)).result() == THING


async def keep(client: VaultClient) -> None:
    run = await client.keep.start(THING, upload=b"x" * 300_000)
    assert await run.result() == THING


async def fetch(client: VaultClient) -> None:
    download = await client.fetch(THING)
    assert await download.read() == b"stored"


SURFACES: Final[Mapping[str, Callable[[VaultClient], Awaitable[None]]]] = MappingProxyType(
    {"rpc": read, "feed": watch, "operation": grind, "upload": keep, "download": fetch}
)


@pytest.mark.parametrize("surface", SURFACES)
async def test_only_a_caller_with_the_capability_is_served(nats_server: NatsServer, surface: str) -> None:
    callers = KnownKeys({SHOP.public: frozenset(ALL), OTHER.public: frozenset({"vault::other"})})
    use = SURFACES[surface]
    async with running(nats_server.url, callers) as service:
        await service.things.put("a", b"stored")
        assert await refusal(nats_server, Options(), use) == "missing_session_key"
        assert await refusal(nats_server, Options(session_key=OTHER), use) == "insufficient_permissions"
        del callers.capabilities[OTHER.public]
        assert await refusal(nats_server, Options(session_key=OTHER), use) == "session_not_found"
        assert service.callers == []

        async with VaultClient.connect(nats_server.url, options=Options(session_key=SHOP)) as client:
            await use(client)
    assert service.callers == [Caller(session_key=SHOP.public, name="shop", capabilities=frozenset(ALL))]


async def refusal(server: NatsServer, options: Options, use: Callable[[VaultClient], Awaitable[None]]) -> str:
    """Return the reason with which a client is refused."""
    async with VaultClient.connect(server.url, options=options) as client:
        with pytest.raises(AuthError) as refused:
            await use(client)
    return refused.value.reason


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_client_that_signs_is_served_in_open_mode(nats_server: NatsServer, surface: str) -> None:
    async with running(nats_server.url, None) as service:
        await service.things.put("a", b"stored")
        async with VaultClient.connect(nats_server.url, options=Options(session_key=SHOP)) as client:
            await SURFACES[surface](client)
    assert service.callers == [None]
