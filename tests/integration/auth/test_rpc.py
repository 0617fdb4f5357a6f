"""Calls of a service that checks who calls: each refusal, and its reason."""

from dataclasses import dataclass, field
from typing import Final

import pytest
from trellis_nats import AuthError, Options, RpcContext
from trellis_nats.auth import Admitted, Caller, RequestProof, SessionKey
from trellis_nats.testing import NatsServer

from tests.support.orders import REQUEST, CreateRequest, CreateResponse, OrdersClient, OrdersService

KEY: Final = SessionKey.from_seed("IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI")


@dataclass
class KnownKeys:
    """An authority that knows some keys."""

    capabilities: dict[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])

    async def judge(self, proof: RequestProof, capabilities: tuple[str, ...]) -> Admitted:
        held = self.capabilities.get(proof.session_key)
        if held is None:
            raise AuthError("session_not_found")
        caller = Caller(session_key=proof.session_key, name="shop", capabilities=held)
        return Admitted(caller, held.issuperset(capabilities), f"_INBOX.{proof.session_key[:16]}")


async def test_a_handler_knows_who_called(nats_server: NatsServer) -> None:
    callers = KnownKeys({KEY.public: frozenset({"orders.write"})})
    seen: list[Caller | None] = []

    async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
        seen.append(context.caller)
        return CreateResponse(order_id=request.customer_id)

    async with (
        OrdersService.connect(nats_server.url, options=Options(callers=callers)) as service,
        OrdersClient.connect(nats_server.url, options=Options(session_key=KEY)) as client,
    ):
        service.create.handle(create)
        await service.start()
        assert (await client.create(REQUEST)).order_id == "c1"
    assert seen == [Caller(session_key=KEY.public, name="shop", capabilities=frozenset({"orders.write"}))]


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
