"""Calls of a service that checks who calls: each refusal, and its reason."""

import pytest
from trellis_nats import AuthError, Options, RpcContext, UnexpectedError
from trellis_nats.auth import Admitted, Caller, RequestProof, SessionKey
from trellis_nats.testing import NatsServer

from tests.support.callers import SHOP, KnownKeys
from tests.support.desk import DeskApp
from tests.support.orders import REQUEST, CreateRequest, CreateResponse, OrdersClient, OrdersService, greet


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


async def test_a_caller_gets_an_answer_when_the_authority_fails(
    nats_server: NatsServer, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(KnownKeys):
        async def judge(self, proof: RequestProof, capabilities: tuple[str, ...]) -> Admitted:
            raise LookupError(f"no such table: {proof.subject} {capabilities}")

    async with (
        OrdersService.connect(nats_server.url, options=Options(callers=Broken())) as service,
        OrdersClient.connect(nats_server.url, options=Options(session_key=SHOP)) as client,
    ):
        service.create.handle(never)
        await service.start()
        with pytest.raises(UnexpectedError) as failed:
            await client.create(REQUEST)
    assert "no such table" not in str(failed.value)
    assert "the authority failed: LookupError: no such table" in caplog.text
    assert str(failed.value.id) in caplog.text


async def test_calls_of_a_used_contract_are_signed(nats_server: NatsServer) -> None:
    async with (
        OrdersService.connect(nats_server.url, options=Options(callers=KnownKeys.of(SHOP))) as service,
        DeskApp.connect(nats_server.url, options=Options(session_key=SHOP)) as app,
    ):
        service.create.handle(greet)
        await service.start()
        assert app.uses.orders is not None
        assert (await app.uses.orders.create(REQUEST)).order_id == "c1-1"


async def never(context: RpcContext, request: CreateRequest) -> CreateResponse:
    raise AssertionError("the handler must not run")
