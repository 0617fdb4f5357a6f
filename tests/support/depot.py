"""A service with every surface and its client, and a server with a user for each role."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import ClassVar, Final

from trellis_nats import (
    RUNTIME_API,
    ActiveJob,
    ActiveUpload,
    Bucket,
    BucketSpec,
    Client,
    Contract,
    Credentials,
    DownloadCall,
    DownloadEndpoint,
    DownloadSpec,
    EventPublisher,
    EventSource,
    FeedCall,
    FeedContext,
    FeedEndpoint,
    Maintenance,
    OperationCall,
    OperationEndpoint,
    OperationSpec,
    Options,
    Permissions,
    RpcCall,
    RpcContext,
    RpcEndpoint,
    Runtime,
    Service,
    Store,
    StoredObject,
    StoreSpec,
    UploadCall,
    UploadEndpoint,
    UploadSpec,
    permissions,
)
from trellis_nats.testing import NatsServer

from tests.support.live import LIVE, Count, CountFrom
from tests.support.orders import (
    ORDERS_CREATE,
    ORDERS_MOVED,
    ORDERS_SHIPPED,
    CreateRequest,
    CreateResponse,
    Moved,
    Order,
    Shipped,
    greet,
)
from tests.support.processing import (
    FIXED,
    FixedOperation,
    FixedRun,
    ProcessInput,
    ProcessOutput,
)
from tests.support.shop import Parcel, ParcelJob, Receipt, ShopJobs, WeighJob, Weight
from tests.support.versions import binary_of

__all__ = ["Depot", "DepotClient", "accounts", "login", "register", "role_accounts", "standing", "violations"]

CONTRACT: Final = Contract(
    id="depot@v1", digest="y" * 43, generator="0", runtime_api=RUNTIME_API, has_heartbeats=True
)
LABEL: Final = DownloadSpec(name="Labels.Get", subject="rpc.v1.Labels.Get", input=CreateRequest)
PRINT: Final = OperationSpec(
    name="Labels.Print",
    subject="operations.v1.Labels.Print",
    input=ProcessInput,
    output=ProcessOutput,
    upload=UploadSpec(store="labels", key="/order_id"),
)
SortJob = ActiveJob[Parcel, None]
NO_MAINTENANCE: Final = Maintenance(rescue_every=None, purge_every=None)


class Depot(Service):
    """The service."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.jobs: Final = ShopJobs(runtime)
        self.create: Final = RpcEndpoint[CreateRequest, CreateResponse](runtime, ORDERS_CREATE)
        self.count: Final = FeedEndpoint[CountFrom, Count](runtime, LIVE)
        self.fixed: Final = OperationEndpoint[ProcessInput, None, ProcessOutput, None](runtime, FIXED)
        self.shipped: Final = EventPublisher[Shipped](runtime, ORDERS_SHIPPED)
        self.moved: Final = EventPublisher[Moved](runtime, ORDERS_MOVED)
        self.orders: Final = Bucket[Order](runtime, BucketSpec(name="orders", value=Order))
        self.labels: Final = Store(runtime, StoreSpec(name="labels"))
        self.label: Final = DownloadEndpoint[CreateRequest](runtime, LABEL)
        self.print: Final = UploadEndpoint[ProcessInput, None, ProcessOutput, None](runtime, PRINT)


class DepotClient(Client):
    """The client."""

    contract: ClassVar[Contract] = CONTRACT

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.create: Final = RpcCall[CreateRequest, CreateResponse](runtime, ORDERS_CREATE)
        self.count: Final = FeedCall[CountFrom, Count](runtime, LIVE)
        self.label: Final = DownloadCall[CreateRequest](runtime, LABEL)
        self.fixed: Final = OperationCall[ProcessInput, FixedRun](runtime, FIXED, FixedRun)
        self.print: Final = UploadCall[ProcessInput, FixedRun](runtime, PRINT, FixedRun)
        self.shipped: Final = EventSource[Shipped](runtime, ORDERS_SHIPPED)
        self.moved: Final = EventSource[Moved](runtime, ORDERS_MOVED)


def accounts(users: Mapping[str, Permissions | None]) -> str:
    """Write one account with these users, whose passwords are their names; None: a user that may do everything."""
    written = "\n".join(
        f"{{ user: {name}, password: {name}\n{'' if allowed is None else allowed.to_config()} }}"
        for name, allowed in users.items()
    )
    return f"accounts {{ APP {{ jetstream: enabled, users: [\n{written}\n] }} }}"


def role_accounts() -> dict[str, Permissions | None]:
    """Return a user for each role."""
    return {
        "root": None,
        "provisioner": permissions(Depot, "provisioner"),
        "worker": permissions(Depot, "worker"),
        "producer": permissions(Depot, "producer"),
        "operator": permissions(Depot, "operator"),
        "maintainer": permissions(Depot, "worker") | permissions(Depot, "operator"),
        "viewer": permissions(Depot, "viewer"),
        "auditor": permissions(Depot, "auditor"),
        "client": permissions(DepotClient, "client"),
    }


def login(user: str, *, maintenance: Maintenance = NO_MAINTENANCE) -> Options:
    """Return the options of a user."""
    return Options(
        credentials=Credentials(user=user, password=user),
        maintenance=maintenance,
        request_timeout=timedelta(seconds=5),
        shutdown_grace=timedelta(seconds=1),
    )


@asynccontextmanager
async def standing(
    users: Mapping[str, Permissions | None] | None = None, *, version: str | None = None, config: str = ""
) -> AsyncGenerator[NatsServer]:
    """Run a server, with additional configuration, on which the provisioner has created everything."""
    binary = None if version is None else binary_of(version)
    listed = {
        "provisioner": permissions(Depot, "provisioner"),
        **(role_accounts() if users is None else users),
    }
    async with NatsServer(config=f"{accounts(listed)}\n{config}", binary=binary) as server:
        async with Depot.connect(server.url, options=login("provisioner")):
            pass
        yield server


def violations(server: NatsServer) -> list[str]:
    """Return every subject that the server has denied to an account, in order."""
    return re.findall(r'Violation.*? (?:Subject|Reply) "([^"]*)"', server.log)


async def print_label(operation: ActiveUpload[ProcessInput, None, ProcessOutput, None]) -> ProcessOutput:
    """Store what the caller uploads."""
    info = await operation.upload
    return ProcessOutput(order_id=operation.input.order_id, status=str(info.size))


def register(depot: Depot) -> None:
    """Register a handler for each thing that handlers do."""

    @depot.jobs.pack.handle
    async def pack(job: ParcelJob) -> Receipt:
        await job.progress(step="packing", current=job.tries, total=2)
        await job.log("a line")
        if job.tries == 1:
            raise ConnectionError("the belt stands still")
        number = job.payload.number
        await depot.orders.put(f"order-{number}", Order(order_id=str(number), total=number))
        await depot.shipped.publish(Shipped(order_id=str(number)))
        await depot.moved.publish(Moved(order_id=str(number), region="eu"))
        child = await depot.jobs.weigh.create(job.payload)
        return await child.result(timeout=timedelta(seconds=10))

    @depot.jobs.weigh.handle
    async def weigh(job: WeighJob) -> Receipt:
        await job.emit_update(Weight(grams=100))
        return Receipt(total=job.payload.number)

    @depot.jobs.charge.handle
    async def charge(job: ParcelJob) -> Receipt:
        await job.cancelled.wait()
        raise ConnectionAbortedError

    @depot.jobs.ship.handle
    async def ship(job: ParcelJob) -> Receipt:
        await job.progress(step="shipping")
        return Receipt(total=job.payload.number)

    @depot.jobs.sort.handle
    async def sort(job: SortJob) -> None:
        job.raise_if_cancelled()

    @depot.count.handle
    async def count(context: FeedContext, request: CountFrom) -> AsyncIterator[Count]:
        yield Count(n=request.first, customer=request.customer)

    @depot.label.handle
    async def label(context: RpcContext, request: CreateRequest) -> StoredObject:
        await depot.labels.put("label", request.customer_id.encode())
        stored = await depot.labels.get("label")
        assert stored is not None
        return stored

    depot.print.handle(print_label)

    @depot.fixed.handle
    async def fixed(operation: FixedOperation) -> ProcessOutput:
        return ProcessOutput(order_id=operation.input.order_id, status="done")

    depot.create.handle(greet)
