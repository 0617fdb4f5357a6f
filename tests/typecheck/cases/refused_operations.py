"""What users get wrong with operations: both checkers must refuse the marked lines and no others."""

from everything_participant import (
    AlbumsRebuildOperation,
    Counts,
    EverythingClient,
    EverythingService,
    UploadRequest,
)
from orders_participant import (
    CreateOrderRequest,
    OrdersClient,
    OrdersProcessOperation,
    OrdersService,
    ProcessOrderProgress,
    ProcessOrderRequest,
    ProcessOrderResult,
)
from surfaces_package import Thing, ThingsAssembleOperation, ThingsClient


async def wrong_types(client: OrdersClient, things: ThingsClient) -> int:
    await client.operations.orders.process.start(CreateOrderRequest(customer_id="1", items=[]))  # refused
    run = await client.operations.orders.process.start(ProcessOrderRequest(order_id="1"))
    await run.signal.hurry()  # refused
    assembling = things.operations.things.assemble.ref("1")
    await assembling.signal.add_part("part")  # refused
    await assembling.signal.remove_part(Thing(thing_id="1"))  # refused
    return await run.result()  # refused


def wrong_handlers(service: OrdersService) -> None:
    @service.operations.orders.process.handle  # refused
    async def another_operation(operation: ThingsAssembleOperation) -> ProcessOrderResult:
        return ProcessOrderResult(order_id=operation.id, status="done")

    @service.operations.orders.process.handle  # refused
    async def another_result(operation: OrdersProcessOperation) -> ProcessOrderProgress:
        return ProcessOrderProgress(step=operation.id, message="")

    @service.operations.orders.process.handle
    async def wrong_progress(operation: OrdersProcessOperation) -> ProcessOrderResult:
        await operation.progress(ProcessOrderResult(order_id="1", status=""))  # refused
        return ProcessOrderResult(order_id="1", status="")

    service.operations.orders.process.handle(resume="again")  # refused


async def wrong_uploads(
    orders: OrdersClient, client: EverythingClient, service: EverythingService, request: UploadRequest
) -> None:
    await client.operations.photos.upload.start(request)  # refused
    await client.operations.photos.upload.start(request, upload=3)  # refused
    await orders.operations.orders.process.start(ProcessOrderRequest(order_id="1"), upload=b"")  # refused

    @service.operations.albums.rebuild.handle
    async def rebuild(operation: AlbumsRebuildOperation) -> Counts:
        return Counts(total=len(await operation.upload))  # refused

    @service.operations.albums.rebuild.handle
    async def without_progress(operation: AlbumsRebuildOperation) -> Counts:
        await operation.progress(None)  # refused
        return Counts(total=0)
