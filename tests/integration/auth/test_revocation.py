"""A key that is taken away: the next request is refused, and what was accepted goes on (docs/guides/security.md)."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import AuthError, FeedContext, Options
from trellis_nats.testing import NatsServer

from tests.support.callers import SHOP, KnownKeys
from tests.support.vault import ALL, Nudge, Thing, VaultClient, VaultService

FIRST, SECOND, WAIT = Thing(name="first"), Thing(name="second"), Thing(name="wait")
GRACE: Final = timedelta(0)


async def test_what_a_revoked_key_has_open_goes_on_and_no_request_is_served(nats_server: NatsServer) -> None:
    callers, revoked = KnownKeys.of(SHOP, capabilities=ALL), asyncio.Event()

    async def follow(context: FeedContext, request: Thing) -> AsyncIterator[Thing]:
        yield FIRST
        await revoked.wait()
        yield SECOND

    async with (
        VaultService.connect(
            nats_server.url, options=Options(callers=callers, shutdown_grace=GRACE)
        ) as service,
        VaultClient.connect(nats_server.url, options=Options(session_key=SHOP)) as client,
    ):
        service.watch.handle(follow)
        service.grind.handle(resume="run-again")(service.on_grind)
        service.read.handle(service.on_read)
        await service.start()
        run = await client.grind.start(WAIT)
        async with client.watch(WAIT) as things:
            assert await anext(things) == FIRST
            callers.capabilities.clear()
            revoked.set()
            assert await anext(things) == SECOND
        for request in (
            client.read(FIRST),
            run.get(),
            run.cancel(),
            run.send_signal(Nudge, FIRST),
        ):
            with pytest.raises(AuthError, match="session_not_found"):
                await request

        callers.capabilities[SHOP.public] = frozenset(ALL)
        assert not (await run.get()).state.is_terminal
        await run.send_signal(Nudge, SECOND)
        assert await run.result() == SECOND
