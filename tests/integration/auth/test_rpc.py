"""Calls of a service that checks who calls: each refusal, and its reason."""

import pytest
from trellis_nats import AuthError, Options, RpcContext
from trellis_nats.auth import Caller, SessionKey
from trellis_nats.testing import NatsServer

from tests.support.callers import SHOP, KnownKeys
from tests.support.orders import REQUEST, CreateRequest, CreateResponse, OrdersClient, OrdersService


async def test_a_handler_knows_who_called(nats_server: NatsServer) -> None:
    callers = KnownKeys({SHOP.public: frozenset({"orders.write"})})
    seen: list[Caller | None] = []

    async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
        seen.append(context.caller)
        return CreateResponse(order_id=request.customer_id)

    async with (
        OrdersService.connect(nats_server.url, options=Options(callers=callers)) as service,
        OrdersClient.connect(nats_server.url, options=Options(session_key=SHOP)) as client,
    ):
        service.create.handle(create)
        await service.start()
        assert (await client.create(REQUEST)).order_id == "c1"
    assert seen == [Caller(session_key=SHOP.public, name="shop", capabilities=frozenset({"orders.write"}))]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (Options(), "missing_session_key"),
        (Options(session_key=SessionKey.generate()), "session_not_found"),
    ],
)
async def test_a_stranger_is_refused(nats_server: NatsServer, options: Options, reason: str) -> None:
    async with (
        OrdersService.connect(nats_server.url, options=Options(callers=KnownKeys())) as service,
        OrdersClient.connect(nats_server.url, options=options) as client,
    ):
        service.create.handle(never)
        await service.start()
        with pytest.raises(AuthError) as refused:
            await client.create(REQUEST)
    assert refused.value.reason == reason


async def never(context: RpcContext, request: CreateRequest) -> CreateResponse:
    raise AssertionError("the handler must not run")
