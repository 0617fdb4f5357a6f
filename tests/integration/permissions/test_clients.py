"""What clients call, with and without the line of their role that permits it; and the roles of programs that sign."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest
from trellis_nats import (
    AuthError,
    Binding,
    Options,
    PermissionDenied,
    Permissions,
    PermissionsMissing,
    permissions,
)
from trellis_nats._nats.connection import Connection
from trellis_nats._nats.link.settings import ConnectionSettings
from trellis_nats._nats.wire.message import Message
from trellis_nats.auth import Admitted, Caller, RequestProof, SessionKey
from trellis_nats.grants import Operation
from trellis_nats.testing import NatsServer

from tests.support.depot import Depot, DepotClient, accounts, login, register, standing
from tests.support.gadget import OLD_RULES, Gadget, Note, Pref
from tests.support.live import LIVE, CountFrom
from tests.support.orders import REQUEST, OrdersService, Shipped, greet
from tests.support.processing import FIXED, ProcessInput
from tests.support.state_service import state_platform

SOON: Final = timedelta(seconds=10)
KEY: Final = SessionKey.from_seed("IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI")
SERVICE_KEY: Final = SessionKey.from_seed("ERERERERERERERERERERERERERERERERERERERERERE")
ROOT: Final = ConnectionSettings(user="root", password="root")  # noqa: S106 - not a secret
INPUT: Final = ProcessInput(order_id="o1")


async def call(client: DepotClient) -> None:
    await client.create(REQUEST)


async def open_feed(client: DepotClient) -> None:
    async with client.count(CountFrom(customer="c1", first=3)) as counts:
        assert [count.n async for count in counts] == [3]


async def start_operation(client: DepotClient) -> None:
    await client.fixed.start(INPUT)


async def watch_operation(client: DepotClient) -> None:
    run = await client.fixed.start(INPUT)
    assert (await run.result(timeout=SOON)).status == "done"


async def upload(client: DepotClient) -> None:
    run = await client.print.start(INPUT, upload=b"label")
    assert (await run.result(timeout=SOON)).status == "5"


async def download(client: DepotClient) -> None:
    assert await (await client.label(REQUEST)).read() == REQUEST.customer_id.encode()


async def subscribe(client: DepotClient) -> None:
    async with client.shipped.subscribe():
        pass


Act = Callable[[DepotClient], Awaitable[None]]
ACTS: Final[dict[str, tuple[Act, Operation, str]]] = {
    "call an rpc": (call, "publish to", "rpc.v1.Orders.Create"),
    "open a feed": (open_feed, "publish to", LIVE.subject),
    "start an operation": (start_operation, "publish to", FIXED.subject),
    "watch an operation": (watch_operation, "publish to", FIXED.control_subject),
    "upload": (upload, "publish to", "transfer.v1.upload.*.*"),
    "download": (download, "publish to", "transfer.v1.download.*.*"),
    "subscribe to an event": (subscribe, "subscribe to", "events.v1.Orders.Shipped"),
}


def without(granted: Permissions, subject: str) -> Permissions:
    assert subject in {*granted.publish, *granted.subscribe}
    return replace(
        granted,
        publish=tuple(line for line in granted.publish if line != subject),
        subscribe=tuple(line for line in granted.subscribe if line != subject),
    )


@asynccontextmanager
async def serving(url: str, options: Options) -> AsyncGenerator[Depot]:
    async with Depot.connect(url, options=options) as depot:
        register(depot)
        await depot.start()
        yield depot


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    """Run a server with a worker, and a client for each thing that it may not do."""
    client = permissions(DepotClient, "client")
    users: dict[str, Permissions | None] = {
        f"lacks{number}": without(client, subject) for number, (_, _, subject) in enumerate(ACTS.values())
    }
    users |= {"client": client, "worker": permissions(Depot, "worker")}
    users["provisioner"] = permissions(Depot, "provisioner")
    with NatsServer(config=accounts(users)) as running:

        async def provision() -> None:
            async with Depot.connect(running.url, options=login("provisioner")):
                pass

        asyncio.run(provision())
        yield running


@pytest.mark.parametrize("name", ACTS)
async def test_a_client_may_with_its_line_and_not_without(server: NatsServer, name: str) -> None:
    act, operation, subject = ACTS[name]
    lacking = f"lacks{list(ACTS).index(name)}"
    named = subject.partition("*")[0].replace(".", r"\.")
    async with (
        serving(server.url, login("worker")),
        DepotClient.connect(server.url, options=login("client")) as client,
        DepotClient.connect(server.url, options=login(lacking)) as limited,
    ):
        await act(client)
        with pytest.raises(PermissionDenied, match=f'may not {operation} "{named}'):
            await act(limited)


STATE: Final[dict[str, Callable[[Gadget], Awaitable[object]]]] = {
    "Get": lambda gadget: gadget.prefs.get(),
    "Put": lambda gadget: gadget.prefs.put(Pref(theme="dark")),
    "Delete": lambda gadget: gadget.prefs.delete(),
    "List": lambda gadget: anext(gadget.notes.list()),
}


async def test_a_device_may_use_its_state_with_its_lines_and_not_without() -> None:
    allowed = permissions(Gadget, "client")
    users = {f"lacks{name}": without(allowed, f"rpc.v1.State.{name}") for name in STATE}
    with NatsServer(config=accounts({"root": None, "device": allowed, **users})) as server:
        async with (
            state_platform(server.url.replace("://", "://root:root@"), OLD_RULES),
            Gadget.connect(server.url, options=login("device")) as gadget,
        ):
            await gadget.notes.put("a", Note(text="one"))
            for name, act in STATE.items():
                await act(gadget)
                async with Gadget.connect(server.url, options=login(f"lacks{name}")) as limited:
                    with pytest.raises(
                        PermissionDenied, match=rf'may not publish to "rpc\.v1\.State\.{name}"'
                    ):
                        await act(limited)


# --- programs that sign --------------------------------------------------------------------------------------------


class AnyKey:
    """An authority that knows one key."""

    async def judge(self, proof: RequestProof, capabilities: tuple[str, ...]) -> Admitted:
        if proof.session_key != KEY.public:
            raise AuthError("session_not_found")
        caller = Caller(session_key=KEY.public, name="shop", capabilities=frozenset(capabilities))
        return Admitted(caller, is_allowed=True, inbox_prefix=KEY.inbox_prefix)


async def test_programs_that_sign_need_only_the_roles_of_their_keys() -> None:
    users: dict[str, Permissions | None] = {
        "worker": permissions(Depot, "worker", session_key=SERVICE_KEY.public, callers="keys"),
        "client": permissions(DepotClient, "client", session_key=KEY.public),
        "unsigned": permissions(Depot, "worker"),
    }
    signed = replace(login("client"), session_key=KEY)
    async with (
        standing(users) as server,
        serving(server.url, replace(login("worker"), session_key=SERVICE_KEY, callers=AnyKey())) as depot,
        DepotClient.connect(server.url, options=signed) as client,
    ):
        for act, _, _ in ACTS.values():
            await act(client)
        async with client.shipped.subscribe() as shipped:
            await depot.shipped.publish(Shipped(order_id="7"))
            assert (await anext(shipped)).event.order_id == "7"


VALIDATE: Final = "rpc.v1.Auth.Requests.Validate"


async def test_a_service_of_a_control_plane_must_be_allowed_to_ask_it() -> None:
    """The question at the start reaches no control plane. Without the right to trace messages, it cannot be asked."""
    worker = permissions(OrdersService, "worker", binding=Binding(), callers="control-plane")
    traces = "trellis.probes.orders-service"
    users = {
        "root": None,
        "worker": worker,
        "untraced": without(worker, traces),
        "silent": without(worker, VALIDATE),
        "silent_untraced": without(without(worker, VALIDATE), traces),
    }
    asked: list[Message] = []
    async with NatsServer(config=accounts(users)) as server:
        platform = await Connection.open(server.url, settings=ROOT)
        platform.subscribe(VALIDATE, asked.append)
        await platform.flush()
        for user in ("worker", "untraced", "silent_untraced"):
            await start_orders(server, user)
        with pytest.raises(PermissionsMissing, match=rf'publish to "{VALIDATE}" \(to ask the control plane'):
            await start_orders(server, "silent")
        await platform.flush()
        await platform.close()
    assert asked == []


async def start_orders(server: NatsServer, user: str) -> None:
    options = replace(login(user), callers=AnyKey(), provision="off")
    async with OrdersService.connect(server.url, options=options, binding=Binding()) as service:
        service.create.handle(greet)
        await service.start()
