"""What users write with operations: both checkers must accept every line."""

from datetime import timedelta
from typing import assert_type

from orders_participant import (
    OrdersClient,
    OrdersProcessOperation,
    OrdersProcessRun,
    OrdersService,
    ProcessOrderProgress,
    ProcessOrderRequest,
    ProcessOrderResult,
)
from surfaces_package import (
    Thing,
    ThingsAssembleAddPartSignal,
    ThingsAssembleOperation,
    ThingsAssembleStopSignal,
    ThingsClient,
    ThingsService,
)
from trellis_nats import Deferred, RpcError, SignalAccepted


def serve(service: OrdersService) -> None:
    @service.operations.orders.process.handle
    async def process(operation: OrdersProcessOperation) -> ProcessOrderResult:
        assert_type(operation.input, ProcessOrderRequest)
        await operation.progress(ProcessOrderProgress(step="packing", message=""))
        return ProcessOrderResult(order_id=operation.input.order_id, status="done")


def serve_again(service: OrdersService) -> None:
    @service.operations.orders.process.handle(resume="run-again", concurrency=3)
    async def process(operation: OrdersProcessOperation) -> ProcessOrderResult:
        return ProcessOrderResult(order_id=operation.id, status="done")


def serve_things(service: ThingsService) -> None:
    @service.operations.things.assemble.handle
    async def assemble(operation: ThingsAssembleOperation) -> Thing | Deferred:
        async for signal in operation.signals():
            match signal:
                case ThingsAssembleAddPartSignal(input=part):
                    assert_type(part, Thing)
                case ThingsAssembleStopSignal():
                    return signal.input
        return await operation.defer()

    @service.operations.things.carry.handle
    async def carry(operation: object) -> Deferred:
        del operation
        return Deferred()


async def call(client: OrdersClient, things: ThingsClient) -> ProcessOrderResult:
    run = await client.operations.orders.process.start(ProcessOrderRequest(order_id="1"))
    assert_type(run, OrdersProcessRun)
    async for update in run.watch():
        assert_type(update.snapshot.progress, ProcessOrderProgress | None)
        assert_type(update.snapshot.error, RpcError | None)
    later = client.operations.orders.process.ref(run.id)
    assert_type((await later.cancel()).output, ProcessOrderResult)
    assembling = await things.operations.things.assemble.start(Thing(thing_id="1"))
    assert_type(await assembling.signal.add_part(Thing(thing_id="2")), SignalAccepted)
    return await run.result(timeout=timedelta(minutes=1))
