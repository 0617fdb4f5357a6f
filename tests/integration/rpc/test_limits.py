"""Timeouts, the end of a service, too many calls, and lost connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta

import pytest
from trellis_nats import NoResponders, Options, RequestTimeout, RpcContext, UnexpectedError
from trellis_nats.rpc import server as rpc_server
from trellis_nats.testing import LogEvent, LogSignals, NatsServer

from tests.support.eventually import eventually
from tests.support.orders import REQUEST, CreateRequest, CreateResponse, OrdersClient, OrdersService, greet
from tests.support.proxy import Proxy


class Slow:
    """A handler that waits, and records how it ended."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.cancelled = 0
        self.finished = 0

    async def __call__(self, context: RpcContext, request: CreateRequest) -> CreateResponse:
        self.began.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.finished += 1
        return await greet(context, request)


@pytest.fixture
async def service(nats_server: NatsServer) -> AsyncIterator[OrdersService]:
    async with OrdersService.connect(nats_server.url) as connected:
        yield connected


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[OrdersClient]:
    async with OrdersClient.connect(nats_server.url) as connected:
        yield connected


async def test_the_handler_is_cancelled_when_its_caller_stops_waiting(
    service: OrdersService, client: OrdersClient
) -> None:
    slow = Slow()
    service.create.handle(slow)
    await service.start()

    with LogSignals() as signals:
        with pytest.raises(RequestTimeout, match=r"rpc.v1.Orders.Create"):
            await client.create(REQUEST, timeout=timedelta(milliseconds=200))

        await eventually(lambda: slow.cancelled == 1)
        record = await signals.wait_for(LogEvent.CALL_TIMED_OUT, rpc="Orders.Create")
        assert "its caller waited only 0.2 s" in record.getMessage()


async def test_the_options_say_how_long_a_call_waits_by_default(
    nats_server: NatsServer, service: OrdersService
) -> None:
    service.create.handle(Slow())
    await service.start()

    options = Options(request_timeout=timedelta(milliseconds=100))
    async with OrdersClient.connect(nats_server.url, options=options) as client:
        with pytest.raises(RequestTimeout):
            await client.create(REQUEST)


async def test_a_running_call_finishes_within_the_grace_period(
    service: OrdersService, client: OrdersClient
) -> None:
    slow = Slow()
    service.create.handle(slow)
    await service.start()
    call = asyncio.create_task(client.create(REQUEST))
    await slow.began.wait()

    stopping = asyncio.create_task(service.stop(grace=timedelta(seconds=5)))
    await asyncio.sleep(0)
    slow.go_on.set()

    assert await call == CreateResponse(order_id="c1-1")
    await stopping
    assert (slow.finished, slow.cancelled) == (1, 0)


async def test_a_call_that_outlasts_the_grace_period_is_cancelled_and_answered(
    service: OrdersService, client: OrdersClient, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Slow()
    service.create.handle(slow)
    await service.start()
    call = asyncio.create_task(client.create(REQUEST))
    await slow.began.wait()

    await service.stop(grace=timedelta(milliseconds=50))

    with pytest.raises(UnexpectedError) as caught:
        await call
    assert slow.cancelled == 1
    assert caught.value.id is not None
    assert f"{caught.value.id}: the service stopped before the handler ended" in caplog.text


async def test_a_stop_without_a_grace_period_answers_every_received_call(
    service: OrdersService, client: OrdersClient
) -> None:
    slow = Slow()
    service.create.handle(slow)
    await service.start()
    calls = [asyncio.create_task(client.create(REQUEST)) for _ in range(150)]
    await slow.began.wait()

    await service.stop(grace=timedelta(0))

    async with asyncio.timeout(3):
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} <= {UnexpectedError, NoResponders}
    assert slow.finished == 0


async def test_a_stopped_service_can_start_again(service: OrdersService, client: OrdersClient) -> None:
    service.create.handle(greet)

    for _ in range(2):
        await service.start()
        assert await client.create(REQUEST) == CreateResponse(order_id="c1-1")
        await service.stop()
        await service.stop()


async def test_more_calls_than_can_wait_are_refused_at_once(
    service: OrdersService, client: OrdersClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_server, "_RUNNING_MAX", 1)
    monkeypatch.setattr(rpc_server, "_WAITING_MAX", 1)
    slow = Slow()
    service.create.handle(slow)
    await service.start()
    calls = [asyncio.create_task(client.create(REQUEST)) for _ in range(3)]

    (refused,), _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    slow.go_on.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(refused.exception(), UnexpectedError)
    assert outcomes.count(CreateResponse(order_id="c1-1")) == 2


async def test_more_bytes_than_can_wait_are_refused_at_once(
    service: OrdersService, client: OrdersClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_server, "_RUNNING_MAX", 2)
    monkeypatch.setattr(rpc_server, "_WAITING_BYTES_MAX", 1_500)
    slow = Slow()
    service.create.handle(slow)
    await service.start()
    large = CreateRequest(customer_id="c" * 1_000, items=[])
    calls = [asyncio.create_task(client.create(large)) for _ in range(3)]

    (refused,), _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    slow.go_on.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)

    assert isinstance(refused.exception(), UnexpectedError)
    assert sum(isinstance(outcome, CreateResponse) for outcome in outcomes) == 2
    assert await client.create(large)


async def test_a_call_survives_a_connection_that_is_cut_in_the_middle(
    nats_server: NatsServer, client: OrdersClient
) -> None:
    slow = Slow()
    async with Proxy(nats_server.port) as proxy, OrdersService.connect(proxy.url) as service:
        service.create.handle(slow)
        await service.start()
        call = asyncio.create_task(client.create(REQUEST))
        await slow.began.wait()

        with LogSignals() as signals:
            proxy.cut()
            await signals.wait_for(LogEvent.CONNECTION_LOST)
        slow.go_on.set()

        assert await call == CreateResponse(order_id="c1-1")
        assert await client.create(REQUEST) == CreateResponse(order_id="c1-1")
    assert slow.finished == 2


async def test_a_service_answers_again_after_the_server_is_back(
    nats_server: NatsServer, service: OrdersService, client: OrdersClient
) -> None:
    service.create.handle(greet)
    await service.start()

    await asyncio.to_thread(nats_server.restart)

    async def answered() -> bool:
        # What is written to the old connection before its end is noticed has no answer.
        with suppress(RequestTimeout):
            return await client.create(REQUEST, timeout=timedelta(seconds=1)) == CreateResponse(
                order_id="c1-1"
            )
        return False

    assert await eventually(answered)
