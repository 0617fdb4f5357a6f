"""Handlers that are registered, and services that start."""

from collections.abc import Awaitable

import pytest
from trellis_nats import (
    ConfigurationError,
    HandlerConflict,
    PermissionsMissing,
    RpcContext,
)
from trellis_nats.testing import NatsServer

from tests.support.orders import (
    CreateRequest,
    CreateResponse,
    OrdersService,
    greet,
)


def plain(context: RpcContext, request: CreateRequest) -> Awaitable[CreateResponse]:
    return greet(context, request)


async def test_an_endpoint_takes_one_handler_and_only_before_the_start(nats_server: NatsServer) -> None:
    async with OrdersService.connect(nats_server.url) as service:
        service.create.handle(greet)

        with pytest.raises(HandlerConflict, match=r'rpc "Orders.Create" already has a handler'):
            service.create.handle(greet)
        with pytest.raises(ConfigurationError, match="must be an `async def`"):
            service.peek.handle(plain)
        await service.start()
        with pytest.raises(HandlerConflict, match=r'rpc "Orders.Peek": register its handler before'):
            service.peek.handle(greet)
        with pytest.raises(ConfigurationError, match=r"orders-service@v1 has started already"):
            await service.start()


async def test_a_service_that_may_not_subscribe_does_not_start() -> None:
    config = (
        'authorization { users = [ { user: a, password: b, permissions { subscribe { deny: "rpc.>" } } } ] }'
    )
    with NatsServer(config=config) as server:
        url = server.url.replace("nats://", "nats://a:b@")
        async with OrdersService.connect(url) as service:
            service.create.handle(greet)

            with pytest.raises(PermissionsMissing, match=r'subscribe to "rpc.v1.Orders.Create"'):
                await service.start()
