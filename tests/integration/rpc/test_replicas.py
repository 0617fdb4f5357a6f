"""Calls shared by replicas, and by handlers that run at the same time."""

import asyncio

from trellis_nats import (
    RpcContext,
)
from trellis_nats.testing import NatsServer

from tests.support.orders import (
    REQUEST,
    CreateRequest,
    CreateResponse,
    OrdersClient,
    OrdersService,
    greet,
)


async def test_two_replicas_share_the_calls(nats_server: NatsServer) -> None:
    answered = [0, 0]

    async with (
        OrdersService.connect(nats_server.url) as one,
        OrdersService.connect(nats_server.url) as two,
        OrdersClient.connect(nats_server.url) as client,
    ):
        for number, service in enumerate((one, two)):

            @service.create.handle
            async def create(
                context: RpcContext, request: CreateRequest, number: int = number
            ) -> CreateResponse:
                answered[number] += 1
                return await greet(context, request)

            await service.start()
        await asyncio.gather(*(client.create(REQUEST) for _ in range(200)))

    assert sum(answered) == 200
    assert min(answered) > 20


async def test_a_replica_that_stops_loses_no_call(nats_server: NatsServer) -> None:
    async with (
        OrdersService.connect(nats_server.url) as one,
        OrdersService.connect(nats_server.url) as two,
        OrdersClient.connect(nats_server.url) as client,
    ):
        for service in (one, two):
            service.create.handle(greet)
            await service.start()
        calls = [asyncio.create_task(client.create(REQUEST)) for _ in range(300)]
        await asyncio.sleep(0)
        await one.stop()

        responses = await asyncio.gather(*calls)

    assert responses == [CreateResponse(order_id="c1-1")] * 300


async def test_handlers_run_at_the_same_time(nats_server: NatsServer) -> None:
    running, most = 0, 0
    all_here = asyncio.Event()

    async with (
        OrdersService.connect(nats_server.url) as service,
        OrdersClient.connect(nats_server.url) as client,
    ):

        @service.create.handle
        async def create(context: RpcContext, request: CreateRequest) -> CreateResponse:
            nonlocal running, most
            running += 1
            most = max(most, running)
            if running == 100:
                all_here.set()
            await all_here.wait()
            running -= 1
            return await greet(context, request)

        await service.start()
        await asyncio.gather(*(client.create(REQUEST) for _ in range(150)))

    assert most == 100
