"""What users write with operations: both checkers must accept every line."""

from datetime import timedelta
from pathlib import Path
from typing import assert_type

from everything_participant import (
    EverythingClient,
    EverythingService,
    PhotosUploadOperation,
    PhotosUploadRun,
    UploadRequest,
    UploadResult,
)
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
from trellis_nats import Deferred, ObjectInfo, RpcError, SignalAccepted, TransferProgress


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


def serve_uploads(service: EverythingService) -> None:
    @service.operations.photos.upload.handle(resume="run-again")
    async def upload(operation: PhotosUploadOperation) -> UploadResult:
        picture = await operation.upload
        assert_type(picture, ObjectInfo)
        return UploadResult(photo_id=operation.input.photo_id, bytes=picture.size)


async def send(client: EverythingClient, request: UploadRequest) -> UploadResult:
    def show(progress: TransferProgress) -> None:
        assert_type(progress.transferred_bytes, int)

    await client.operations.photos.upload.start(request, upload=b"picture")
    run = await client.operations.photos.upload.start(request, upload=Path("picture"), on_progress=show)
    assert_type(run, PhotosUploadRun)
    assert_type((await run.get()).transfer, TransferProgress | None)
    return await client.operations.photos.upload.ref(run.id).result()
