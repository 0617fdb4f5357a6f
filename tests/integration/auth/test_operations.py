"""Operations of a service that checks who calls: each action has its capabilities, and only the starter controls."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

import pytest
from trellis_nats import AuthError, Options
from trellis_nats.auth import Caller
from trellis_nats.testing import NatsServer

from tests.support.callers import OTHER, SHOP, KnownKeys
from tests.support.eventually import eventually
from tests.support.vault import ALL, GrindRun, Nudge, Thing, VaultClient, running

WAIT: Final = Thing(name="wait")
DONE: Final = Thing(name="done")


async def get(run: GrindRun) -> None:
    await run.get()


async def watch(run: GrindRun) -> None:
    await anext(run.watch())


async def cancel(run: GrindRun) -> None:
    await run.cancel()


async def signal(run: GrindRun) -> None:
    await run.send_signal(Nudge, DONE)


ACTIONS: Final[Mapping[str, tuple[Callable[[GrindRun], Awaitable[None]], str]]] = MappingProxyType(
    {
        "get": (get, "vault::observe"),
        "watch": (watch, "vault::observe"),
        "signal": (signal, "vault::control"),
        "cancel": (cancel, "vault::cancel"),
    }
)


async def test_only_the_session_that_started_an_operation_controls_it(nats_server: NatsServer) -> None:
    callers = KnownKeys.of(SHOP, OTHER, capabilities=ALL)
    async with (
        running(nats_server.url, callers),
        VaultClient.connect(nats_server.url, options=Options(session_key=SHOP)) as starter,
        VaultClient.connect(nats_server.url, options=Options(session_key=OTHER)) as other,
    ):
        run = await starter.grind.start(WAIT)
        for act, _ in ACTIONS.values():
            with pytest.raises(AuthError) as refused:
                await act(other.grind.ref(run.id))
            assert refused.value.reason == "forbidden"
            assert refused.value.context["ownerSessionKey"] == SHOP.public

        await signal(starter.grind.ref(run.id))
        assert await run.result() == DONE


async def test_each_action_needs_its_capability(nats_server: NatsServer) -> None:
    callers = KnownKeys.of(SHOP, capabilities=("vault::call",))
    async with (
        running(nats_server.url, callers),
        VaultClient.connect(nats_server.url, options=Options(session_key=SHOP)) as client,
    ):
        for act, needed in ACTIONS.values():
            callers.capabilities[SHOP.public] = frozenset(ALL) - {needed}
            run = await client.grind.start(WAIT)
            with pytest.raises(AuthError) as refused:
                await act(run)
            assert refused.value.reason == "insufficient_permissions"
            assert refused.value.context["requiredCapabilities"] == [needed]
            callers.capabilities[SHOP.public] = frozenset({needed})
            await act(run)

        # Where a contract says nothing about observing, the capabilities for starting are needed.
        kept = await start_with(callers, client, {"vault::call"})
        callers.capabilities[SHOP.public] = frozenset({"vault::observe"})
        with pytest.raises(AuthError, match="insufficient_permissions"):
            await client.keep.ref(kept).get()


async def start_with(callers: KnownKeys, client: VaultClient, capabilities: set[str]) -> str:
    callers.capabilities[SHOP.public] = frozenset(capabilities)
    return (await client.keep.start(Thing(name="a"), upload=b"x")).id


async def test_an_operation_knows_its_caller_after_a_restart_and_its_caller_waits_through_it(
    nats_server: NatsServer,
) -> None:
    caller = Caller(session_key=SHOP.public, name="shop", capabilities=frozenset(ALL))
    callers = KnownKeys.of(SHOP, capabilities=ALL)
    async with VaultClient.connect(nats_server.url, options=Options(session_key=SHOP)) as client:
        async with running(nats_server.url, callers) as first:
            run = await client.grind.start(WAIT)
            waiting = asyncio.create_task(run.result())
            await eventually(lambda: first.callers == [caller])
        async with running(nats_server.url, callers) as second:
            await eventually(lambda: second.callers == [caller])
            await signal(run)
            assert await waiting == DONE


async def test_an_operation_that_was_started_unsigned_has_no_owner(nats_server: NatsServer) -> None:
    callers = KnownKeys.of(SHOP, capabilities=ALL)
    async with running(nats_server.url, None), VaultClient.connect(nats_server.url) as unsigned:
        run = await unsigned.grind.start(WAIT)
    async with (
        running(nats_server.url, callers) as service,
        VaultClient.connect(nats_server.url, options=Options(session_key=SHOP)) as client,
    ):
        await signal(client.grind.ref(run.id))
        assert await client.grind.ref(run.id).result() == DONE
        assert service.callers == [None]
